"""Grades of attacks on all pixels: honest models get A, and models that mislead attacks are found out."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.api import run as harness
from robustbench_wb.api.verify import verify
from robustbench_wb.engine.credibility.segmentation_probe import SegmentationProbe
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.models.segmentation_shape import VOID, SegmentationShape
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.pixel_outcomes import count_pixels, image_ious
from robustbench_wb.stressors.sample_batch import SampleBatch
from tests.tasks.scenes import write_scenes

pytestmark = pytest.mark.full_probe

MODEL = """
import torch


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Bright(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor({scale}))

    def forward(self, images):
        images = {seen}
        ink = self.scale * (images.mean(1, keepdim=True) - 0.5)
        return torch.cat([-ink, ink], 1)


def make(shape):
    return Bright()
"""
"""Segmentation model of two classes: dark and bright pixels."""


@pytest.mark.parametrize(
    ("seen", "scale", "grade", "checks"),
    [
        ("images", "8.0", "A", set()),
        ("(5 * images).round() / 5", "8.0", "F", {"gradient", "large ball"}),
        ("Reversed.apply(images)", "8.0", "F", {"slope", "large ball"}),
        ("images", "4000.0", "C", {"cross-entropy"}),
    ],
)
def test_models_that_mislead_attacks_are_found_out(
    seen: str, scale: str, grade: str, checks: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bright.py").write_text(MODEL.format(seen=seen, scale=scale))
    write_scenes(tmp_path / "scenes", count=12)
    found = harness.run(
        RunRequest(
            suite="clean", tasks=("folder-segmentation:scenes;size=16",), variants=("bright.py:make",), recipe="none",
            stressors=("segpgd-linf;steps=8", "pixel-ensemble-linf;steps=8"), epsilons=("1/20",), device="cpu",
        )
    )  # fmt: skip
    row = found.rows[-1]
    assert (row.stressor, row.grade) == ("pixel-ensemble-linf", grade)
    bad = {check["name"] for check in json.loads(row.checks) if check["grade"] in ("C", "F")}
    assert checks <= bad
    assert bool(checks) == bool(bad)
    assert verify("latest").exit_code == 0


class Dots(nn.Module):
    """Model that only a search can attack: its logits are those of rounded pixels."""

    def forward(self, images: Tensor) -> Tensor:
        ink = (10 * images.mean(1, keepdim=True)).round() - 4.5
        return torch.cat([-ink, ink], 1)


def batch(count: int = 6) -> SampleBatch:
    """Images of two grey levels, and their masks; a row does not count."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(count, 6, 6, generator=generator) > 0.5).long()
    images = (0.38 + 0.14 * labels)[:, None].repeat(1, 3, 1, 1)
    labels[:, 0] = VOID
    shape = SegmentationShape(channels=3, height=6, width=6, classes=2, patch=3)
    return SampleBatch(inputs=images, labels=labels, ids=torch.arange(count), seed=0, shape=shape)


def evidence(model: nn.Module, batch_size: int, eps: str = "1/10") -> Mapping[str, float]:
    probe = SegmentationProbe(eps=eps, queries=200)
    return probe.apply(batch(), ModelAccess(model=model, batch_size=batch_size)).evidence


def test_the_search_over_squares_breaks_what_gradients_cannot_whatever_the_batch() -> None:
    found = evidence(Dots(), 6)
    assert (found["probed"], found["blind_ce"], found["blind_margin"]) == (6, 6, 6)
    assert found["large_ball_held"] == 6
    assert found["black_box_only"] >= 4
    assert found == evidence(Dots(), 4)
    assert evidence(Dots(), 6, eps="1/200")["black_box_only"] == 0
    images, shown = batch().inputs, batch()
    assert (image_ious(count_pixels(Dots()(images), shown.labels)) == 1).all()
