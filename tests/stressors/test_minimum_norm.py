"""Minimum-norm attacks: distances compared with those of a linear model, and ladders answered by one search."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.stressors.attacks.attack import BallBoundedStressor
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.sample_batch import PerturbedBatch
from robustbench_wb.tasks.task import Dataset
from tests.known import known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch

Trained = Callable[[str], nn.Module]


class Linear(nn.Module):
    """A linear model on 4x4 images, with equal logits at the grey image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weight = torch.randn(classes, 16, generator=torch.Generator().manual_seed(3))

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T


def grey_batch(classes: int) -> AttackedBatch:
    """Images near grey, far from the ends of the pixel range, with the labels that a linear model predicts."""
    model = Linear(classes)
    images = 0.5 + 0.1 * (torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(1)) - 0.5)
    labels = model(images).argmax(1)
    return attacked_batch(model, inputs=images, labels=labels, ids=torch.arange(10) + 7, batch_size=128)


def digits_batch(model: nn.Module, digits: Dataset, count: int) -> AttackedBatch:
    """The first digits that the model classifies correctly."""
    images, labels = torch.tensor(digits.test.inputs[:200]).float() / 255, torch.tensor(digits.test.labels[:200])
    with torch.no_grad():
        right = torch.nonzero(model(images).argmax(1) == labels)[:count, 0]
    return attacked_batch(model, inputs=images[right], labels=labels[right], ids=right, batch_size=64)


def distances(batch: AttackedBatch, perturbed: PerturbedBatch) -> Tensor:
    """Distance of the nearest error of each sample, infinite where none was found."""
    return torch.tensor([perturbed.evidence.get(f"distance/{number}", torch.inf) for number in batch.ids.tolist()])


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("name", "dual"), [("fmn-linf", 1), ("fmn-l2", 2), ("fmn-l1", torch.inf)])
def test_distances_are_those_to_the_planes_of_a_linear_model(name: str, dual: float, classes: int) -> None:
    """With two classes there is one plane; with more, the search may follow another one than the nearest."""
    batch, weight = grey_batch(classes), Linear(classes).weight
    logits = batch.access.model(batch.inputs)
    gaps = logits.gather(1, batch.labels[:, None]) - logits
    exact = (gaps / (weight[batch.labels][:, None] - weight[None]).norm(p=dual, dim=2)).nan_to_num(torch.inf).amin(1)
    found = parse_stressor(f"{name};eps=1/100000;steps=200").apply(batch, batch.access)
    assert not known(found.broken).any()
    ratio = distances(batch, found) / exact
    assert float(ratio.min()) >= 1 - 1e-4
    assert float(ratio.max()) <= (1.01 if classes == 2 else 2)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    "signature",
    [
        *(f"fmn-{norm};eps=1;steps=12" for norm in ("linf", "l2", "l1")),
        *(f"hopskipjump-{norm};eps=1;queries=90;probes=20" for norm in ("linf", "l2")),
    ],
)
def test_one_search_answers_every_radius(signature: str, trained: Trained, digits: Dataset) -> None:
    batch = digits_batch(trained("vit"), digits, 40)
    attack = parse_stressor(signature)
    assert isinstance(attack, BallBoundedStressor)
    rungs = [attack.at(eps) for eps in ("1/64", "1/16", "1/4", "2")[: 3 if "linf" in signature else 4]]
    found = rungs[0].sweep(batch, batch.access, rungs)
    distance = distances(batch, found[-1])
    for rung, perturbed in zip(rungs, found, strict=True):
        rung.check(batch.inputs, perturbed.inputs)
        with torch.no_grad():
            wrong = batch.access.model(perturbed.inputs).argmax(1) != batch.labels
        np.testing.assert_array_equal(perturbed.broken, wrong.numpy())
        np.testing.assert_array_equal(perturbed.broken, (distance <= rung.radius).numpy())
        assert perturbed.evidence["held"] == perturbed.evidence["held_to_the_end"] == (~wrong).sum()
    assert known(found[-1].broken).sum() > 0
    assert all(known(perturbed.forwards).max() <= 1 for perturbed in found[:-1])
    alone = rungs[-1].apply(batch, batch.access)
    assert alone.forwards.max() <= rungs[-1].passes[0]  # type: ignore[index]
    assert set(alone.backwards) == {rungs[-1].passes[1]}  # type: ignore[index]


@pytest.mark.parametrize(("name", "order"), [("linf", 1), ("l2", 2)])
def test_classes_alone_lead_to_the_plane_of_a_linear_model(name: str, order: int) -> None:
    batch, weight = grey_batch(2), Linear(2).weight
    logits = batch.access.model(batch.inputs)
    exact = (logits[:, 0] - logits[:, 1]).abs() / (weight[0] - weight[1]).norm(p=order)
    found = parse_stressor(f"hopskipjump-{name};eps=1/100000;queries=1200").apply(batch, batch.access)
    ratio = distances(batch, found) / exact
    assert float(ratio.min()) >= 1 - 1e-4
    assert float(ratio.median()) <= 1.1
    assert found.forwards.max() <= 1201
    assert not found.backwards.any()


class ClassOnly(nn.Module):
    """Model that tells the class of a linear model and nothing else, without gradients."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.eye(2)[Linear(2)(images).argmax(1)]


def test_neither_logits_nor_gradients_are_needed() -> None:
    batch = grey_batch(2)
    attack = parse_stressor("hopskipjump-l2;eps=1;queries=120;probes=20")
    blind = replace(batch, access=replace(batch.access, model=ClassOnly()))
    expected, found = attack.apply(batch, batch.access), attack.apply(blind, blind.access)
    assert torch.equal(found.inputs, expected.inputs)
    assert dict(found.evidence) == dict(expected.evidence)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    "signature", ["fmn-linf;eps=1/16;steps=6", "fmn-l1;eps=1;steps=6", "hopskipjump-linf;eps=1/2;queries=70;probes=20"]
)
def test_batch_size_and_order_change_no_distance(signature: str, trained: Trained, digits: Dataset) -> None:
    batch = digits_batch(trained("vit"), digits, 20)
    attack = parse_stressor(signature)
    expected = distances(batch, attack.apply(batch, batch.access))
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    mixed = replace(batch, inputs=batch.inputs[order], labels=batch.labels[order], ids=batch.ids[order])
    for other in (batch.in_batches_of(7), mixed.in_batches_of(3)):
        found = attack.apply(other, other.access)
        torch.testing.assert_close(distances(batch, found), expected, atol=1e-5, rtol=0)


class Silent(nn.Module):
    """Logits that are not finite, except at grey images."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.eye(3)[0] + (images - 0.5).abs().flatten(1).sum(1, keepdim=True).sqrt() * torch.nan


class Constant(nn.Module):
    """Model that ignores its input and is never wrong."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.eye(3)[0].expand(len(images), 3)


@pytest.mark.parametrize("name", ["fmn-linf", "fmn-l2", "fmn-l1", "hopskipjump-l2"])
@pytest.mark.parametrize(("model", "fails"), [(Silent(), True), (Constant(), False)])
def test_without_an_error_samples_hold_or_fail(name: str, model: nn.Module, fails: bool) -> None:
    batch = attacked_batch(
        model, inputs=torch.full((3, 1, 6, 6), 0.5), labels=torch.zeros(3).long(), ids=torch.arange(3), batch_size=2
    )
    perturbed = parse_stressor(f"{name};eps=1/10").apply(batch, batch.access)
    assert set(known(perturbed.failed)) == {fails}
    assert not known(perturbed.broken).any()
    assert torch.equal(perturbed.inputs, batch.inputs)
    assert not [number for number in perturbed.evidence if number.startswith("distance/")]


@pytest.mark.parametrize("name", ["fmn-linf", "hopskipjump-l2"])
def test_no_samples_no_work(name: str) -> None:
    batch = grey_batch(2)
    empty = batch.select(np.zeros(10, bool))
    rungs = [parse_stressor(f"{name};eps={eps}") for eps in ("1/8", "1/4")]
    assert [len(found.inputs) for found in rungs[0].sweep(empty, batch.access, rungs)] == [0, 0]
