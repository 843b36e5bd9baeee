"""Universal perturbations: a linear model in closed form, independence of batches and samples, control, and runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_wb.api import run as harness
from robustbench_wb.api.evaluate import evaluate
from robustbench_wb.api.verify import verify
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import MeasurementError
from robustbench_wb.records.record import State
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.attacks.universal import UniversalLinf, UniversalNoiseLinf
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import SampleBatch

EPS = "32/255"


class Linear(nn.Module):
    """Two classes: whether a weighted sum of the pixels is above a threshold."""

    def __init__(self, weights: torch.Tensor, threshold: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)
        self.threshold = threshold

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = images.flatten(1) @ self.weights - self.threshold
        return torch.stack([-value, value], 1)


def data(n: int = 200) -> tuple[Linear, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    images = 0.3 + 0.4 * torch.rand(n, 1, 4, 4, generator=draw)
    weights = torch.randn(16, generator=draw)
    model = Linear(weights, float(0.5 * weights.sum())).eval().requires_grad_(False)
    return model, images, torch.ones(n).long()


def batch_of(images: torch.Tensor, labels: torch.Tensor, rows: list[int] | slice) -> SampleBatch:
    ids = torch.arange(len(images))
    return SampleBatch(inputs=images[rows], labels=labels[rows], ids=ids[rows], seed=0)


def fitted(attack: UniversalLinf, batch_size: int = 64, seed: int = 0) -> torch.Tensor:
    """Perturbation (1, C, H, W) that the attack finds on the data above."""
    model, images, labels = data()
    access = ModelAccess(model=model, batch_size=batch_size)
    grey = torch.full_like(images[:1], 0.5)
    return attack.fit(images, labels, access, seed=seed).apply(batch_of(grey, labels, [0]), access).inputs - grey


def test_a_linear_model_has_the_perturbation_in_closed_form() -> None:
    """All samples are of class 1: the best perturbation is -eps sign(weights), for any samples."""
    model, _, _ = data()
    attack = UniversalLinf(eps=EPS, epochs=3)
    expected = -attack.radius * model.weights.sign().view(1, 1, 4, 4)
    torch.testing.assert_close(fitted(attack), expected)
    torch.testing.assert_close(fitted(attack, batch_size=3), expected, rtol=0, atol=1e-7)


def test_samples_that_are_wrong_by_far_have_no_influence() -> None:
    """Their loss is above the clip; without it they would outvote the others."""
    model, images, _ = data()
    value = model(images)[:, 1]
    labels = (value > 0).long()  # right, but for a few samples with large losses
    far = value.argsort()[-40:]
    labels[far] = 0
    model.weights.mul_(50)
    model.threshold *= 50
    access = ModelAccess(model=model, batch_size=64)

    def found(rows: torch.Tensor, clip: str) -> torch.Tensor:
        attack = UniversalLinf(eps="1/255", epochs=1, batch=200, clip=clip)
        zero = torch.full_like(images[:1], 0.5)
        return attack.fit(images[rows], labels[rows], access, seed=0).apply(batch_of(zero, labels, [0]), access).inputs

    every, others = torch.arange(200), torch.tensor([row for row in range(200) if row not in far.tolist()])
    torch.testing.assert_close(found(every, "9"), found(others, "9"))
    assert not torch.equal(found(every, "10000"), found(others, "10000"))


def test_ball_box_and_every_sample_alike() -> None:
    model, images, labels = data()
    access = ModelAccess(model=model, batch_size=64)
    images[0], images[1] = 0.0, 1.0
    for stressor in (
        UniversalLinf(eps=EPS, epochs=2).fit(images, labels, access, seed=0),
        UniversalNoiseLinf(eps=EPS),
    ):
        whole = stressor.apply(batch_of(images, labels, slice(None)), access)
        stressor.check(images, whole.inputs)
        part = stressor.apply(batch_of(images, labels, [7, 3]), access).inputs
        torch.testing.assert_close(part, whole.inputs[[7, 3]], rtol=0, atol=0)
        torch.testing.assert_close(whole.inputs[5] - images[5], whole.inputs[6] - images[6], rtol=0, atol=1e-6)
        assert float((whole.inputs - images).abs().max()) == pytest.approx(stressor.radius, rel=1e-5)
    with pytest.raises(MeasurementError, match="must be fitted"):
        UniversalLinf(eps=EPS).apply(batch_of(images, labels, [0]), access)


def test_gradients_that_are_not_finite_are_an_error() -> None:
    model, images, labels = data()
    model.weights.fill_(float("nan"))
    with pytest.raises(MeasurementError, match="not finite"):
        UniversalLinf(eps=EPS).fit(images, labels, ModelAccess(model=model, batch_size=8), seed=0)


def request(**more: object) -> RunRequest:
    stressors = ("universal-linf;eps=1/4;samples=256;epochs=3", "universal-noise-linf;eps=1/4")
    given: dict[str, object] = {"tasks": ("digits",), "variants": ("vit",), "stressors": stressors, "samples": 60}
    return RunRequest.model_validate({**given, "epsilons": ("1/8", "1/4"), "device": "cpu", **more})


@pytest.mark.slow(12)
def test_a_run_breaks_more_than_the_control_and_is_reproduced(tmp_path: Path) -> None:
    place = str(tmp_path / "one")
    rows = {row.cell: row for row in harness.run(request(batch=7), results=place).rows}
    clean, attacked, control = (rows[name] for name in ("clean", "universal-linf@1/4", "universal-noise-linf@1/4"))
    assert (attacked.status, attacked.ladder) == ("ok", "")
    assert attacked.broken > 2 * control.broken
    assert attacked.grade in ("A", "B")
    assert attacked.accuracy is not None
    assert clean.accuracy is not None
    assert attacked.accuracy < clean.accuracy - 0.1
    other = harness.run(request(samples=20, batch=20), results=str(tmp_path / "two")).rows
    few = next(row for row in other if row.cell == "universal-linf@1/4")
    (whole,), (part,) = (
        RecordStore(where).find([row.key]).values() for where, row in ((place, attacked), (str(tmp_path / "two"), few))
    )
    rows_of = np.searchsorted(whole.ids, part.ids)
    np.testing.assert_array_equal(whole.states[rows_of], part.states)
    np.testing.assert_allclose(whole.losses[rows_of], part.losses, rtol=1e-4)
    assert State.NOT_RUN not in whole.states
    assert verify("latest", place, rerun=8).exit_code == 0
    assert attacked.stressor_code != control.stressor_code
    assert attacked.stressor_code.count("+") == 1


def test_without_training_samples_it_is_an_error_row() -> None:
    model, images, labels = data(20)
    found = evaluate(model, images.numpy(), labels.numpy(), stressors="universal-linf;eps=8/255")
    assert "fitted to training samples" in found.rows[-1].error
