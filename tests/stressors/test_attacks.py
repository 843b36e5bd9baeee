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
from robustbench_wb.stressors.sample_batch import PerturbedBatch
from robustbench_wb.tasks.task import Dataset
from tests.known import known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch, perturb

Trained = Callable[[str], nn.Module]
ATTACKS = [
    "fgsm-linf;eps=16/255",
    "fgsm-l2;eps=1/2",
    "pgd-linf;eps=16/255;steps=10",
    "pgd-l2;eps=1/2;steps=10",
    "pgd-l1;eps=4;steps=10",
    "pgd-linf;eps=8/255;steps=4;restarts=3;loss=ce;initial=image",
    "pgd-linf;eps=16/255;steps=5;momentum=1;loss=dlr",
    "pgd-linf;eps=16/255;steps=12;restarts=2;stop=repeat",
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
def make_batch(trained: Trained, digits: Dataset) -> Callable[..., AttackedBatch]:
    """Factory for batches of correctly classified digits."""
    model = trained("vit")
    images = torch.tensor(digits.test.inputs).float() / 255
    labels = torch.tensor(digits.test.labels)
    with torch.no_grad():
        right = torch.nonzero(model(images).argmax(1) == labels)[:120, 0]

    def make(batch_size: int = 256, order: Tensor | None = None, seed: int = 0) -> AttackedBatch:
        rows = right if order is None else right[order]
        return attacked_batch(
            model, inputs=images[rows], labels=labels[rows], ids=rows, seed=seed, batch_size=batch_size
        )

    return make


def ask(model: nn.Module, images: Tensor, labels: Tensor, loss: str = "ce") -> LossAndGradient:
    return value_and_gradient(model, images, lambda logits: LOSSES[loss](logits, labels))


def robust(perturbed: PerturbedBatch, batch: AttackedBatch) -> Tensor:
    with torch.no_grad():
        return batch.access.model(perturbed.inputs).argmax(1) == batch.labels


@pytest.fixture(scope="module")
def searched(make_batch: Callable[..., AttackedBatch]) -> Callable[[str], PerturbedBatch]:
    """A function that gives what an attack makes of the whole batch; each attack searches once."""

    @cache
    def search(signature: str) -> PerturbedBatch:
        return perturb(parse_stressor(signature), make_batch())

    return search


@pytest.mark.parametrize("signature", ATTACKS)
def test_images_stay_in_ball_and_box_and_some_break(
    signature: str, make_batch: Callable[..., AttackedBatch], searched: Callable[[str], PerturbedBatch]
) -> None:
    attack = parse_stressor(signature)
    assert isinstance(attack, Attack)
    work, perturbed = make_batch(), searched(signature)
    assert perturbed.inputs.min() >= 0
    assert perturbed.inputs.max() <= 1
    assert float(attack.norm.distance(perturbed.inputs - work.inputs).max()) <= attack.radius + 10 * TOLERANCE
    attack.check(work.inputs, perturbed.inputs)
    assert 0 < int(robust(perturbed, work).sum()) < len(work.ids)


@pytest.mark.slow(2)
@pytest.mark.parametrize("signature", ATTACKS)
def test_batch_size_and_order_change_no_outcome(
    signature: str, make_batch: Callable[..., AttackedBatch], searched: Callable[[str], PerturbedBatch]
) -> None:
    attack, expected = parse_stressor(signature), known(searched(signature).broken)
    first = torch.arange(60)
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    for batch_size, order in ((13, first), (32, first), (1, first[:8]), (32, shuffled)):
        found = perturb(attack, make_batch(batch_size=batch_size, order=order)).broken
        np.testing.assert_array_equal(found, expected[order.numpy()])


@pytest.mark.parametrize("signature", ATTACKS)
def test_what_the_search_believes_is_what_the_model_says(
    signature: str, make_batch: Callable[..., AttackedBatch], searched: Callable[[str], PerturbedBatch]
) -> None:
    perturbed = searched(signature)
    np.testing.assert_array_equal(perturbed.broken, ~robust(perturbed, make_batch()).numpy())


def test_fgsm_is_one_signed_step(make_batch: Callable[..., AttackedBatch]) -> None:
    work = make_batch()
    inputs = work.inputs.clone().requires_grad_(True)
    F.cross_entropy(work.access.model(inputs), work.labels, reduction="sum").backward()
    assert inputs.grad is not None
    expected = (work.inputs + 16 / 255 * inputs.grad.sign()).clamp(0, 1)
    found = parse_stressor("fgsm-linf;eps=16/255").apply(work, work.access)
    # Signs of gradients near zero may differ between two kernels; every other value must agree.
    assert float((found.inputs - expected).abs().gt(1e-6).float().mean()) < 1e-3


@pytest.mark.slow(3)
@pytest.mark.parametrize(
    ("numbers", "plan"),
    [
        ("", [("margin", "image"), ("ce", "random")]),
        (";loss=ce;initial=image;restarts=2", [("ce", "image"), ("ce", "random")]),
        (";initial=random", [("margin", "random"), ("ce", "random")]),
    ],
)
def test_pgd_equals_a_loop_written_out_sample_by_sample(
    numbers: str, plan: list[tuple[str, str]], make_batch: Callable[..., AttackedBatch]
) -> None:
    work = make_batch()
    attack = parse_stressor(f"pgd-linf;eps=16/255;steps=10;step=1/4{numbers}")
    assert isinstance(attack, Attack)
    perturbed = attack.apply(work, work.access)
    eps, broken, passes = 16 / 255, [], []
    noise = [
        attack.norm.uniform_in_ball(work.ids, tuple(work.inputs.shape[1:]), seed=0, label=attack.stream, step=run)
        for run in (0, 1)
    ]
    for row in range(20):
        clean, label = work.inputs[row : row + 1], work.labels[row : row + 1]
        spent, wrong = 0, False
        for run, (loss, initial) in enumerate(plan):
            current = clean if initial == "image" else (clean + eps * noise[run][row]).clamp(0, 1)
            for step in range(11):
                answer = ask(work.access.model, current, label, loss=loss)
                spent += 1
                wrong = int(answer.logits.argmax(1)) != int(label)
                if wrong or step == 10:
                    break
                current = (clean + (current + eps / 4 * answer.gradient.sign() - clean).clamp(-eps, eps)).clamp(0, 1)
            if wrong:
                break
        broken.append(wrong)
        passes.append(spent)
    np.testing.assert_array_equal(known(perturbed.broken)[:20], broken)
    np.testing.assert_array_equal(perturbed.forwards[:20], passes)


class FlatOffCentre(nn.Module):
    """Model that sees the brightness of the first pixel only while all other pixels are close to grey."""

    def forward(self, images: Tensor) -> Tensor:
        first, rest = images.flatten(1).split([1, images[0].numel() - 1], dim=1)
        grey = ((rest - 0.5).abs().amax(1) < 2 / 255).float()
        return torch.stack([torch.full_like(grey, 7 / 255), grey * (first[:, 0] - 0.5)], dim=1)


@pytest.mark.parametrize(
    ("numbers", "breaks"),
    [("", True), (";loss=ce;initial=image", True), (";initial=random", False), (";loss=ce", False)],
)
def test_a_model_that_is_flat_off_centre_breaks_from_the_image(numbers: str, breaks: bool) -> None:
    attack = parse_stressor(f"pgd-linf;eps=8/255{numbers}")
    images, labels = torch.full((6, 1, 4, 4), 0.5), torch.zeros(6, dtype=torch.int64)
    work = attacked_batch(FlatOffCentre(), inputs=images, labels=labels, ids=torch.arange(6), batch_size=4)
    assert set(known(attack.apply(work, work.access).broken)) == {breaks}


@pytest.mark.slow(3)
@pytest.mark.parametrize(("weaker", "stronger"), [("fgsm-linf;eps=16/255", "pgd-linf;eps=16/255;steps=20")])
def test_more_effort_never_helps_the_subject(
    weaker: str, stronger: str, make_batch: Callable[..., AttackedBatch]
) -> None:
    assert (
        known(perturb(parse_stressor(stronger), make_batch()).broken).sum()
        >= known(perturb(parse_stressor(weaker), make_batch()).broken).sum()
    )


@pytest.mark.slow(2)
def test_each_restart_only_adds_broken_samples(make_batch: Callable[..., AttackedBatch]) -> None:
    # The random stream depends on all parameters, so attacks with different numbers of runs start elsewhere. Within one
    # attack the first success ends the sample, which the counters show.
    perturbed = perturb(parse_stressor("pgd-linf;eps=8/255;steps=4;restarts=3;loss=ce"), make_batch())
    held = ~known(perturbed.broken)
    assert set(perturbed.forwards[held]) == {15}
    assert set(perturbed.backwards[held]) == {12}
    assert perturbed.forwards[perturbed.broken].max() <= 15


def test_a_huge_ball_breaks_everything(make_batch: Callable[..., AttackedBatch]) -> None:
    assert known(perturb(parse_stressor("pgd-linf;eps=1;steps=40"), make_batch()).broken).all()


def test_seeds_differ_and_repeat(make_batch: Callable[..., AttackedBatch]) -> None:
    attack = parse_stressor("pgd-linf;eps=8/255;steps=1")
    first, again, other = (perturb(attack, make_batch(seed=seed)).inputs for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_no_samples_no_work(make_batch: Callable[..., AttackedBatch]) -> None:
    empty = make_batch(order=torch.empty(0, dtype=torch.int64))
    for signature in ATTACKS:
        perturbed = parse_stressor(signature).apply(empty, empty.access)
        assert perturbed.inputs.shape == (0, 1, 8, 8)
    rungs = [parse_stressor(f"pgd-linf;eps={level}/255") for level in (4, 8)]
    assert [len(perturbed.inputs) for perturbed in rungs[0].sweep(empty, empty.access, rungs)] == [0, 0]


def test_active_set_spends_less_than_the_full_budget(make_batch: Callable[..., AttackedBatch]) -> None:
    perturbed = perturb(parse_stressor("pgd-linf;eps=64/255;steps=40"), make_batch())
    assert known(perturbed.broken).mean() > 0.9
    assert perturbed.backwards.mean() < 20


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


def test_a_later_radius_begins_where_the_last_one_came_nearest(make_batch: Callable[..., AttackedBatch]) -> None:
    work = make_batch()
    rungs = [Watched(eps=f"{level}/255", steps=5) for level in (4, 8, 12, 16)]
    Watched.begun.clear()
    found = rungs[0].sweep(work, work.access, rungs)
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
def test_a_sweep_leaves_no_more_than_its_radii_one_by_one(
    attack: str, make_batch: Callable[..., AttackedBatch]
) -> None:
    name, _, numbers = attack.partition(";")
    eps = ("1/8", "1/4", "1/2", "1") if "l2" in name else ("4/255", "8/255", "16/255", "32/255")
    rungs = [parse_stressor(f"{name};eps={one};{numbers}".rstrip(";")) for one in eps]
    work = make_batch()
    swept = [int((~perturbed.broken).sum()) for perturbed in rungs[0].sweep(work, work.access, rungs)]  # type: ignore[operator]
    alone = [int((~rung.apply(work, work.access).broken).sum()) for rung in rungs]  # type: ignore[operator]
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
    work = attacked_batch(
        Constant(), inputs=images, labels=torch.zeros(6, dtype=torch.int64), ids=torch.arange(6), seed=0, batch_size=4
    )
    assert not known(parse_stressor("pgd-linf;eps=16/255;steps=5").apply(work, work.access).broken).any()


class Escaping(Attack):
    """Faulty attack that ignores its ball."""

    name = "escaping"
    norm = parse_stressor("pgd-linf;eps=1").norm  # type: ignore[attr-defined]

    def begin(self, batch: ActiveRows, seed: int) -> None:
        batch.x = (batch.x + 0.5).clamp(0, 1)

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        oracle.gradient(batch, cross_entropy)


def test_an_attack_that_leaves_its_ball_is_refused(make_batch: Callable[..., AttackedBatch]) -> None:
    work = make_batch()
    attack = Escaping(eps="8/255")
    perturbed = attack.apply(work, work.access)
    with pytest.raises(MeasurementError, match="left its linf ball"):
        attack.check(work.inputs, perturbed.inputs)
    with pytest.raises(MeasurementError, match="pixel range"):
        attack.check(work.inputs, work.inputs + 1.5)
    with pytest.raises(MeasurementError, match="not finite"):
        attack.check(work.inputs, work.inputs * float("nan"))
