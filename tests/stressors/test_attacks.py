"""Properties of every native attack, and the arithmetic of each compared with a written-out reference."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import TOLERANCE, Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES, cross_entropy
from robustbench_wb.stressors.attacks.model_queries import LossAndGradient, ModelQueries, value_and_gradient
from robustbench_wb.stressors.attacks.pgd import PgdLinf
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch
from robustbench_wb.tasks.task import Dataset
from tests.known import known

Trained = Callable[[str], nn.Module]
ATTACKS = [
    "fgsm-linf;eps=16/255",
    "fgsm-l2;eps=1/2",
    "pgd-linf;eps=16/255;steps=10",
    "pgd-l2;eps=1/2;steps=10",
    "pgd-l1;eps=4;steps=10",
    "pgd-linf;eps=8/255;steps=4;restarts=3;loss=ce",
    "pgd-linf;eps=16/255;steps=5;momentum=1;loss=dlr",
    "apgd-linf;eps=16/255;steps=10",
    "apgd-l2;eps=1/2;steps=10;loss=dlr",
    "apgd-t-linf;eps=16/255;steps=5;targets=2",
    "fab-linf;eps=16/255;steps=4;targets=2",
    "fab-l2;eps=1/2;steps=4;targets=1;restarts=2",
    "square-linf;eps=24/255;queries=15",
    "square-l2;eps=1/2;queries=10",
    "spsa-linf;eps=24/255;steps=2;samples=8;rate=1/20",
    "noise-linf;eps=48/255",
    "noise-l2;eps=1;draws=20",
]


@pytest.fixture(scope="module")
def job(trained: Trained, digits: Dataset) -> Callable[..., SampleBatch]:
    """Factory for batches of correctly classified digits."""
    model = trained("vit")
    images = torch.tensor(digits.test.inputs).float() / 255
    labels = torch.tensor(digits.test.labels)
    with torch.no_grad():
        right = torch.nonzero(model(images).argmax(1) == labels)[:120, 0]

    def make(batch: int = 256, order: Tensor | None = None, **changes: object) -> SampleBatch:
        rows = right if order is None else right[order]
        fields = {
            "model": model,
            "inputs": images[rows],
            "labels": labels[rows],
            "ids": rows,
            "seed": 0,
            "batch": batch,
        }
        return SampleBatch(**{**fields, **changes})  # type: ignore[arg-type]

    return make


def ask(model: nn.Module, images: Tensor, labels: Tensor, loss: str = "ce") -> LossAndGradient:
    return value_and_gradient(model, images, lambda logits: LOSSES[loss](logits, labels))


def robust(stressed: PerturbedBatch, job: SampleBatch) -> Tensor:
    with torch.no_grad():
        return job.model(stressed.inputs).argmax(1) == job.labels


@pytest.fixture(scope="module")
def searched(job: Callable[..., SampleBatch]) -> Callable[[str], PerturbedBatch]:
    """A function that gives what an attack makes of the whole job; each attack searches once."""

    @cache
    def search(signature: str) -> PerturbedBatch:
        return parse_stressor(signature).apply(job())

    return search


@pytest.mark.parametrize("signature", ATTACKS)
def test_images_stay_in_ball_and_box_and_some_break(
    signature: str, job: Callable[..., SampleBatch], searched: Callable[[str], PerturbedBatch]
) -> None:
    attack = parse_stressor(signature)
    assert isinstance(attack, Attack)
    work, stressed = job(), searched(signature)
    assert stressed.inputs.min() >= 0
    assert stressed.inputs.max() <= 1
    assert float(attack.norm.distance(stressed.inputs - work.inputs).max()) <= attack.radius + 10 * TOLERANCE
    attack.check(work.inputs, stressed.inputs)
    assert 0 < int(robust(stressed, work).sum()) < len(work.ids)


@pytest.mark.parametrize("signature", ATTACKS)
def test_batch_size_and_order_change_no_outcome(
    signature: str, job: Callable[..., SampleBatch], searched: Callable[[str], PerturbedBatch]
) -> None:
    attack, expected = parse_stressor(signature), known(searched(signature).broken)
    first = torch.arange(60)
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    for batch, order in ((13, first), (32, first), (1, first[:8]), (32, shuffled)):
        found = attack.apply(job(batch=batch, order=order)).broken
        np.testing.assert_array_equal(found, expected[order.numpy()])


@pytest.mark.parametrize("signature", ATTACKS)
def test_what_the_search_believes_is_what_the_model_says(
    signature: str, job: Callable[..., SampleBatch], searched: Callable[[str], PerturbedBatch]
) -> None:
    stressed = searched(signature)
    np.testing.assert_array_equal(stressed.broken, ~robust(stressed, job()).numpy())


def test_fgsm_is_one_signed_step(job: Callable[..., SampleBatch]) -> None:
    work = job()
    inputs = work.inputs.clone().requires_grad_(True)
    F.cross_entropy(work.model(inputs), work.labels, reduction="sum").backward()
    assert inputs.grad is not None
    expected = (work.inputs + 16 / 255 * inputs.grad.sign()).clamp(0, 1)
    found = parse_stressor("fgsm-linf;eps=16/255").apply(work)
    # Signs of gradients near zero may differ between two kernels; every other value must agree.
    assert float((found.inputs - expected).abs().gt(1e-6).float().mean()) < 1e-3


def test_pgd_equals_a_loop_written_out_sample_by_sample(job: Callable[..., SampleBatch]) -> None:
    work = job()
    attack = parse_stressor("pgd-linf;eps=16/255;steps=10;step=1/4")
    assert isinstance(attack, Attack)
    stressed = attack.apply(work)
    eps, broken, passes = 16 / 255, [], []
    noise = [
        attack.norm.inside(work.ids, tuple(work.inputs.shape[1:]), seed=0, label=attack.stream, step=run)
        for run in (0, 1)
    ]
    for row in range(40):
        clean, label = work.inputs[row : row + 1], work.labels[row : row + 1]
        spent, wrong = 0, False
        for run, loss in enumerate(("margin", "ce")):
            current = (clean + eps * noise[run][row]).clamp(0, 1)
            for step in range(11):
                answer = ask(work.model, current, label, loss=loss)
                spent += 1
                wrong = int(answer.logits.argmax(1)) != int(label)
                if wrong or step == 10:
                    break
                current = (clean + (current + eps / 4 * answer.gradient.sign() - clean).clamp(-eps, eps)).clamp(0, 1)
            if wrong:
                break
        broken.append(wrong)
        passes.append(spent)
    np.testing.assert_array_equal(known(stressed.broken)[:40], broken)
    np.testing.assert_array_equal(stressed.forwards[:40], passes)


@pytest.mark.parametrize(("weaker", "stronger"), [("fgsm-linf;eps=16/255", "pgd-linf;eps=16/255;steps=20")])
def test_more_effort_never_helps_the_subject(weaker: str, stronger: str, job: Callable[..., SampleBatch]) -> None:
    assert (
        known(parse_stressor(stronger).apply(job()).broken).sum()
        >= known(parse_stressor(weaker).apply(job()).broken).sum()
    )


def test_each_restart_only_adds_broken_samples(job: Callable[..., SampleBatch]) -> None:
    # The random stream depends on all parameters, so attacks with different numbers of runs start elsewhere. Within one
    # attack the first success ends the sample, which the counters show.
    stressed = parse_stressor("pgd-linf;eps=8/255;steps=4;restarts=3;loss=ce").apply(job())
    held = ~known(stressed.broken)
    assert set(stressed.forwards[held]) == {15}
    assert set(stressed.backwards[held]) == {12}
    assert stressed.forwards[stressed.broken].max() <= 15


def test_a_huge_ball_breaks_everything(job: Callable[..., SampleBatch]) -> None:
    assert known(parse_stressor("pgd-linf;eps=1;steps=40").apply(job()).broken).all()


def test_seeds_differ_and_repeat(job: Callable[..., SampleBatch]) -> None:
    attack = parse_stressor("pgd-linf;eps=8/255;steps=1")
    first, again, other = (attack.apply(job(seed=seed)).inputs for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_samples_no_work(job: Callable[..., SampleBatch]) -> None:
    empty = job(order=torch.empty(0, dtype=torch.int64))
    for signature in ATTACKS:
        stressed = parse_stressor(signature).apply(empty)
        assert stressed.inputs.shape == (0, 1, 8, 8)
    rungs = [parse_stressor(f"pgd-linf;eps={level}/255") for level in (4, 8)]
    assert [len(stressed.inputs) for stressed in rungs[0].sweep(empty, rungs)] == [0, 0]


def test_active_set_spends_less_than_the_full_budget(job: Callable[..., SampleBatch]) -> None:
    stressed = parse_stressor("pgd-linf;eps=64/255;steps=40").apply(job())
    assert known(stressed.broken).mean() > 0.9
    assert stressed.backwards.mean() < 20


def test_gradient_agrees_with_finite_differences(trained: Trained, digits: Dataset) -> None:
    model = trained("vit")
    images = torch.tensor(digits.test.inputs[:4]).float() / 255
    labels = torch.tensor(digits.test.labels[:4])
    gradient = ask(model, images, labels).gradient
    double = deepcopy(model).double()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-5
    with torch.no_grad():
        high, low = (
            F.cross_entropy(double(images.double() + sign * step * direction), labels, reduction="none")
            for sign in (1, -1)
        )
    expected = (high - low) / (2 * step)
    found = (gradient.double() * direction).flatten(1).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


class Watched(PgdLinf):
    """Attack that records where its runs begin."""

    name = "watched"
    begun: ClassVar[list[ActiveRows]] = []

    def begin(self, batch: ActiveRows, seed: int) -> None:
        super().begin(batch, seed)
        self.begun.append(deepcopy(batch))


def test_a_later_radius_begins_where_the_last_one_came_nearest(job: Callable[..., SampleBatch]) -> None:
    work = job()
    rungs = [Watched(eps=f"{level}/255", steps=5) for level in (4, 8, 12, 16)]
    Watched.begun.clear()
    found = rungs[0].sweep(work, rungs)
    trials: dict[int, list[tuple[int, Tensor, bool]]] = {}
    for batch in Watched.begun:
        for i, rung, run, start, warm in zip(batch.index, batch.rung, batch.run, batch.x, batch.warm, strict=True):
            if run == 0:
                trials.setdefault(int(i), []).append((int(rung), start, bool(warm)))
            else:
                assert not warm
    assert len(trials) == len(work.ids)
    assert sum(len(of) for of in trials.values()) > len(work.ids)
    for i, ((before, _, first_is_warm), *later) in trials.items():
        assert not first_is_warm
        clean = work.inputs[i]
        for rung, start, warm in later:
            share = rungs[rung].radius / rungs[before].radius
            torch.testing.assert_close(start, (clean + share * (found[before].inputs[i] - clean)).clamp(0, 1))
            assert warm
            assert float((start - clean).abs().max()) <= rungs[rung].radius + TOLERANCE
            before = rung


@pytest.mark.parametrize(
    "attack",
    [
        "pgd-linf;steps=10",
        pytest.param("apgd-linf;steps=10", marks=pytest.mark.slow(5)),
        "fgsm-linf",
        pytest.param("pgd-l2;steps=10", marks=pytest.mark.slow(4)),
    ],
)
def test_a_sweep_leaves_no_more_than_its_radii_one_by_one(attack: str, job: Callable[..., SampleBatch]) -> None:
    name, _, numbers = attack.partition(";")
    eps = ("1/8", "1/4", "1/2", "1") if "l2" in name else ("4/255", "8/255", "16/255", "32/255")
    rungs = [parse_stressor(f"{name};eps={one};{numbers}".rstrip(";")) for one in eps]
    work = job()
    swept = [int((~stressed.broken).sum()) for stressed in rungs[0].sweep(work, rungs)]  # type: ignore[operator]
    alone = [int((~rung.apply(work).broken).sum()) for rung in rungs]  # type: ignore[operator]
    assert swept == sorted(swept, reverse=True)
    # Starts differ, and with them samples close to the decision boundary: 2 of 120 either way.
    assert all(ours <= theirs + 2 for ours, theirs in zip(swept, alone, strict=True)), (swept, alone)


class Constant(nn.Module):
    """Model that ignores its input: there is no gradient."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.eye(10)[0].expand(len(images), 10)


class Silent(nn.Module):
    """Model whose logits are not finite."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10] * float("nan")


def test_a_model_without_gradient_is_not_broken_by_accident() -> None:
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    work = SampleBatch(Constant(), images, torch.zeros(6, dtype=torch.int64), torch.arange(6), 0, 4)
    assert not known(parse_stressor("pgd-linf;eps=16/255;steps=5").apply(work).broken).any()


class Escaping(Attack):
    """Faulty attack that ignores its ball."""

    name = "escaping"
    norm = parse_stressor("pgd-linf;eps=1").norm  # type: ignore[attr-defined]

    def begin(self, batch: ActiveRows, seed: int) -> None:
        batch.x = (batch.x + 0.5).clamp(0, 1)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        oracle.gradient(batch, cross_entropy)


def test_an_attack_that_leaves_its_ball_is_refused(job: Callable[..., SampleBatch]) -> None:
    work = job()
    attack = Escaping(eps="8/255")
    stressed = attack.apply(work)
    with pytest.raises(MeasurementError, match="left its linf ball"):
        attack.check(work.inputs, stressed.inputs)
    with pytest.raises(MeasurementError, match="pixel range"):
        attack.check(work.inputs, work.inputs + 1.5)
    with pytest.raises(MeasurementError, match="not finite"):
        attack.check(work.inputs, work.inputs * float("nan"))
