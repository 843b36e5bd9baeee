"""Samples near the boundary are asked twice, all others once, and no outcome or count depends on that."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.engine.batch import FEW, BatchSize
from robustbench_wb.engine.measure import MOVED, ROUNDING, LadderStep, measure
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.records.record import Record, State
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_access import ModelAccess
from tests.store.make import identity

COUNT = 100
NEAR = 20
"""Samples whose two logits are closer than the bound: the even ones of the first forty."""


class Planted(nn.Module):
    """Logits (v, -v) for an image of one value v - 1/2; ``error`` changes them from pass to pass."""

    def __init__(self, error: Callable[[int, Tensor], Tensor | float]) -> None:
        super().__init__()
        self.error, self.asked = error, list[Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(images.flatten())
        value = images.flatten(1) - 0.5
        return torch.cat([value, -value], 1) + torch.tensor([1.0, 0.0]) * self.error(len(self.asked), value)


def measured(model: nn.Module, draws: int = 1) -> Record:
    """The clean cell: values far from the boundary, but for twenty near it, all of class 0."""
    values = np.linspace(0.6, 1.0, COUNT, dtype=np.float32)
    values[: 2 * NEAR : 2] = 0.5 + 2e-7 * np.arange(1, NEAR + 1)
    samples = TaskSamples(
        ids=np.arange(COUNT, dtype=np.int32), inputs=values.reshape(-1, 1, 1, 1), labels=np.zeros(COUNT, np.int64)
    )
    step = LadderStep(rungs=(parse_stressor("clean"),), identities=(identity(signature="clean"),))
    batch = BatchSize(COUNT, draws)
    asked = MeasuredModel(model=model, batch=batch, device=torch.device("cpu"))
    (record,) = measure(step, asked, samples, before=None, advance=lambda count: None)
    return record


def test_only_samples_within_the_bound_are_asked_again() -> None:
    model = Planted(lambda number, value: 0.0)
    record = measured(model)
    whole, again = model.asked
    assert (len(whole), again.tolist()) == (COUNT, whole.flip(0)[: 2 * NEAR : 2].tolist())
    assert set(record.forwards) == {1}
    assert (record.states == State.ROBUST).all()
    assert record.wobble == 0


@pytest.mark.parametrize("draws", [1, 2])
def test_the_first_pass_decides_and_disagreements_are_counted(draws: int) -> None:
    """The second pass lowers the first logit by at most what rounding may: twelve samples change sides."""
    exact = measured(Planted(lambda number, value: 0.0))
    model = Planted(lambda number, value: -0.48 * MOVED * (number > draws))
    record = measured(model, draws)
    assert len(model.asked) == 2 * draws
    assert record.states.tobytes() == exact.states.tobytes()
    assert record.losses.tobytes() == exact.losses.tobytes()
    assert record.wobble == 12


@pytest.mark.parametrize(
    ("error", "draws"),
    [(lambda number, value: 2 * MOVED * (number == 2), 1), (lambda number, value: 0.0, 2)],
    ids=["inexact", "random"],
)
def test_a_model_that_is_less_exact_is_asked_twice_about_all(error: Callable[[int, Tensor], float], draws: int) -> None:
    model = Planted(error)
    record = measured(model, draws)
    assert [len(asked) for asked in model.asked[-2:]] == [COUNT, COUNT] if draws > 1 else [NEAR, COUNT]
    assert set(record.forwards) == {draws}


def test_a_few_samples_are_always_asked_twice() -> None:
    far = Planted(lambda number, value: 5.0)
    measured(far)
    assert [len(asked) for asked in far.asked] == [COUNT, FEW]


@pytest.mark.parametrize("variant", ["vit", "crate", "boosting-l2", "bert", "robust-kde-hampel"])
def test_batchings_differ_by_less_than_the_bound_allows(variant: str) -> None:
    """Two logits that are further apart than twice the largest difference keep their order."""
    model = build(VARIANTS.get(variant), "nano", SHAPE, seed=0, mean=(0.5,), std=(0.5,)).eval()
    images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = ModelAccess(model=model, batch_size=COUNT)
    logits = whole.predict(images)
    for size in (7, 64):
        other = replace(whole, batch_size=size).predict(images.flip(0)).flip(0)
        assert float((other - logits).abs().max()) <= MOVED * float(logits.abs().max())
        gaps = -logits.topk(2).values.diff(dim=1).flatten()
        moved = other.argmax(1) != logits.argmax(1)
        assert not (moved & (gaps > ROUNDING * logits.abs().max())).any()
    assert 2 * MOVED < ROUNDING


SHAPE = ImageShape(channels=1, height=8, width=8, classes=10, patch=2)
