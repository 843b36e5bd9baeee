"""Published changes to the steps of an attack, measured at equal gradients against what this package does.

    python benchmarks/attack_steps.py [--only cycles --only losses --only targets]        minutes on a CPU

- ``cycles``: a deterministic PGD in Linf whose iterate returns to an earlier one never breaks the sample (Doldo et al.,
  arXiv 2503.19347). How often that happens, and the gradients with `stop=repeat` by those of all steps.
- ``losses``: the margin of probabilities as the loss of PGD and APGD (PMA: Xie et al., arXiv 2411.15210) instead of the
  margin of logits, the cross-entropy and DLR.
- ``targets``: targeted APGD toward the classes whose boundary is nearest by a linear forecast (MALT: Melamed et al.,
  arXiv 2407.02240) instead of those with the largest logits, for models of 100 and 1,000 classes. Images show two or
  three digits side by side.

Models are the vit of the package, and every third one of the two zoos of the credibility grades, without random models.
Outcomes are paired: `gained` samples break only under the new attack, `lost` ones only under the usual one. The
difference of broken samples in percentage points has Tango's 95 % interval, p is McNemar's. Models of a group share
their images. "3 of 20" targets are the 3 nearest of the 20 classes with the largest logits; the forecast takes 20
gradients. The usual attack has as many targets, or as many more as cost no less than the forecast.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from math import ceil
from typing import ClassVar, Final

import numpy as np
import torch
from fakes import FAKES
from numpy.typing import NDArray
from strong import RADII, attacked, of_package
from subjects import AttackedModel
from torch import Tensor, nn
from zoo import HONEST, Body, test_data, training_data

from robustbench_wb.norms import Norm
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.stats.paired import mcnemar, tango_interval
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.apgd import (
    ApgdL2,
    ApgdLinf,
    ApgdTargeted,
    ApgdTargetedL2,
    ApgdTargetedLinf,
    ascend,
)
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import LOSSES, Loss, cross_entropy
from robustbench_wb.stressors.attacks.model_queries import ModelQueries, value_and_gradient
from robustbench_wb.stressors.attacks.pgd import Pgd, PgdL2, PgdLinf
from robustbench_wb.stressors.sample_batch import PerturbedBatch

Mask = NDArray[np.bool_]

RANDOM: Final = ("random logits, small noise", "random shift", "noisy input", "random levels")
"""Models whose outputs change from pass to pass."""
CANDIDATES: Final = (20, 100)
"""Wrong classes of largest logits for which the distance is forecast; 100 in the paper."""
STEPS: Final = 30
"""Steps toward each target."""


def probability_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """max_{j != y} p_j - p_y of the probabilities p = softmax(z) (Xie et al., arXiv 2411.15210)."""
    return LOSSES["margin"](logits.softmax(1), labels)


ALL_LOSSES: Final[dict[str, Loss]] = {**LOSSES, "probability": probability_margin}


def groups() -> Iterator[tuple[str, list[Callable[[], AttackedModel]]]]:
    """Name of each group, and functions that make its models: every third one of the zoos."""
    trained = [name for name in HONEST if "adversarially" in name]
    plain = [name for name in HONEST if name not in (*trained, *RANDOM)][::3]
    fake = [name for name in FAKES if name not in RANDOM][::3]
    yield "vit", [of_package("standard")]
    yield "vit, adversarially trained", [of_package("pgd-at")]
    yield "zoo, adversarially trained", [of_body(HONEST[name]) for name in trained]
    yield "zoo, plain", [of_body(HONEST[name]) for name in plain]
    yield "zoo, fake", [of_body(FAKES[name]) for name in fake]


def of_body(make: Body) -> Callable[[], AttackedModel]:
    """Function that makes a model of a zoo."""
    return lambda: attacked(make())


def some(model: AttackedModel, samples: int) -> AttackedModel:
    """The model with its first samples."""
    first = slice(samples)
    return replace(model, images=model.images[first], labels=model.labels[first], ids=model.ids[first])


def broken(attack: Attack, model: AttackedModel) -> Mask:
    """Samples that an attack breaks, bool (N,)."""
    torch.manual_seed(0)
    return fallen_of(attack.apply(model.sample_batch(0), model.access))


def fallen_of(found: PerturbedBatch) -> Mask:
    """Samples that are broken, bool (N,)."""
    return np.zeros(len(found.inputs), np.bool_) if found.broken is None else found.broken


# --- cycles -----------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Runs:
    """Runs of a group of models, with all steps and until an iterate repeats."""

    samples: int = 0
    held: int = 0
    repeated: int = 0
    all_gradients: int = 0
    gradients: int = 0
    changed: int = 0

    def add(self, attack: PgdLinf, model: AttackedModel) -> None:
        """Attack the samples of a model both ways."""
        whole, short = attack_both(attack, model)
        held = ~fallen_of(whole)
        self.samples += len(held)
        self.held += int(held.sum())
        self.repeated += int((held & (short.backwards < attack.steps)).sum())
        self.all_gradients += int(whole.backwards.sum())
        self.gradients += int(short.backwards.sum())
        self.changed += int((fallen_of(whole) != fallen_of(short)).sum())


def attack_both(attack: PgdLinf, model: AttackedModel) -> tuple[PerturbedBatch, PerturbedBatch]:
    """Results of an attack with all steps, and of the one that stops at a repeated iterate."""
    results = []
    for stop in (None, "repeat"):
        torch.manual_seed(0)
        chosen = attack.model_copy(update={"stop": stop})
        results.append(chosen.apply(model.sample_batch(0), model.access))
    return results[0], results[1]


def cycles(samples: int) -> None:
    """Print how often iterates of PGD repeat."""
    print("\n## Iterates that repeat\n")
    print("| models | loss, start | steps | n | hold | of these, repeat | gradients | verdicts changed |")
    print("|---|---|---|---|---|---|---|---|")
    for group, bodies in groups():
        found: dict[str, Runs] = defaultdict(Runs)
        for make in bodies:
            model = some(make(), samples)
            for loss, start in (("margin", "image"), ("ce", "random")):
                for steps in (20, 40, 100):
                    attack = PgdLinf(eps=RADII["linf"], steps=steps, loss=loss, initial=start)
                    found[f"{group} | {loss}, {start} | {steps}"].add(attack, model)
        for words, one in found.items():
            low, high = (100 * end for end in wilson(one.repeated, one.held))
            share = f"{100 * one.repeated / max(one.held, 1):.1f} % [{low:.1f}, {high:.1f}]"
            cost = f"{one.gradients / one.all_gradients:.2f}"
            print(f"| {words} | {one.samples} | {one.held} | {share} | {cost} | {one.changed} |", flush=True)


# --- losses -----------------------------------------------------------------------------------------------------------


def with_loss(kind: type[Attack], loss: Loss, *, steps: int, eps: str) -> Attack:
    """PGD from the image, or APGD from a random start that all losses share."""

    class Climber(kind):  # type: ignore[valid-type,misc]
        stream: ClassVar[str] = "attack steps"

        def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
            answer = oracle.gradient(batch, loss)
            if isinstance(self, Pgd):
                self.climb(batch, answer.gradient)
            else:
                ascend(self, batch, answer)

    start = {"loss": "margin", "initial": "image"} if issubclass(kind, Pgd) else {}
    made: Attack = Climber(eps=eps, steps=steps, **start)
    return made


KINDS: Final[dict[tuple[str, int, str], type[Attack]]] = {
    ("PGD", 40, "linf"): PgdLinf,
    ("PGD", 40, "l2"): PgdL2,
    ("APGD", 100, "linf"): ApgdLinf,
    ("APGD", 100, "l2"): ApgdL2,
}
"""Attacks by name, steps and norm."""
REPLACED: Final[dict[str, list[tuple[str, ...]]]] = {
    "PGD": [("margin",), ("ce",), ("margin", "ce")],
    "APGD": [("ce",), ("dlr",)],
}
"""What the margin of probabilities replaces, by attack. Two losses: both runs, the first of which it replaces."""


def losses(samples: int) -> None:
    """Print what the margin of probabilities breaks more or less than other losses."""
    print("\n## Margin of probabilities\n")
    print(HEADING)
    for group, bodies in groups():
        found: dict[str, list[tuple[Mask, Mask]]] = defaultdict(list)
        for make in bodies:
            for words, pair in loss_pairs(some(make(), samples)):
                found[f"{group} | {words}"].append(pair)
        for words, pairs in found.items():
            before, after = (np.concatenate(side) for side in zip(*pairs, strict=True))
            print(paired_row(words, before, after), flush=True)


def loss_pairs(model: AttackedModel) -> Iterator[tuple[str, tuple[Mask, Mask]]]:
    """Columns of a row, and the samples of a model that break under the usual losses and under the new one."""
    for (attack, steps, norm), kind in KINDS.items():
        results = {
            name: broken(with_loss(kind, loss, steps=steps, eps=RADII[norm]), model)
            for name, loss in ALL_LOSSES.items()
        }
        for usual in REPLACED[attack]:
            before = np.logical_or.reduce([results[name] for name in usual])
            after = np.logical_or.reduce([results[name] for name in ("probability", *usual[1:])])
            yield f"{norm} {RADII[norm]} | {attack}, {steps} steps | {' + '.join(usual)}", (before, after)


HEADING: Final = (
    "| models | ball | attack | instead of | n | broken before | broken now | gained | lost | difference | p |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def paired_row(words: str, before: Mask, after: Mask) -> str:
    """Row of the table about two attacks on the same samples."""
    n, gained, lost = len(before), int((after & ~before).sum()), int((before & ~after).sum())
    (low,), (high,) = tango_interval([n], [lost], [gained])
    p = float(mcnemar(lost, gained))
    difference = f"{100 * (gained - lost) / n:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
    return f"| {words} | {n} | {before.sum()} | {after.sum()} | {gained} | {lost} | {difference} | {p:.3f} |"


# --- targets ----------------------------------------------------------------------------------------------------------


def side_by_side(images: Tensor, labels: Tensor, *, digits: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random images of some digits side by side, (count, 1, 8, 8 * digits), and their numbers as classes."""
    rows = torch.randint(len(images), (count, digits), generator=torch.Generator().manual_seed(seed))
    powers = 10 ** torch.arange(digits - 1, -1, -1)
    return torch.cat([images[rows[:, place]] for place in range(digits)], 3), (labels[rows] * powers).sum(1)


@cache
def many_classes(digits: int, radius: float) -> nn.Module:
    """MLP for numbers of some digits, trained on clean images or, with a radius, on those of PGD-3.

    The radius grows in the first half of the training; without that, a thousand classes are not learnt.
    """
    torch.manual_seed(0)
    pool = training_data()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64 * digits, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10**digits)
    )
    steps = 2000
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        start, labels = side_by_side(*pool, digits=digits, count=256, seed=1 + step)
        images, reach = start, radius * min(1.0, 2 * step / steps)
        for _ in range(3 if radius else 0):
            slope = value_and_gradient(model, images, partial(cross_entropy, labels=labels))
            moved = images + reach / 2 * slope.gradient.sign() - start
            images = (start + moved.clamp(-reach, reach)).clamp(0, 1)
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(model(images), labels).mean())
        optimiser.step()
        schedule.step()
    return model.eval().requires_grad_(requires_grad=False)


def logit_gap(logits: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Difference of the logits of two classes (B, 1), (B,)."""
    return (logits.gather(1, one) - logits.gather(1, other))[:, 0]


def target_orders(model: AttackedModel, norm: Norm) -> Iterator[tuple[int, Tensor]]:
    """Numbers of candidates, and wrong classes in the order in which they are aimed at, int64 (N, C).

    0 candidates: by descending logit. Else the candidates of largest logits come first, by ascending distance
    (z_y - z_j) / |grad(z_y - z_j)| in the dual norm at the clean image. Each costs a gradient.
    """
    labels = model.labels[:, None]
    wrong = model.access.predict(model.images).scatter(1, labels, -torch.inf)
    order = wrong.argsort(dim=1, descending=True, stable=True)[:, :-1]
    yield 0, order
    distances = []
    for place in range(min(max(CANDIDATES), order.shape[1])):
        gap = partial(logit_gap, one=labels, other=order[:, place, None])
        answer = value_and_gradient(model.model, model.images, gap)
        slope = (answer.gradient * norm.steepest_direction(answer.gradient)).flatten(1).sum(1)
        distances.append(answer.losses / slope.clamp(min=1e-12))
    for count in CANDIDATES:
        nearest = torch.stack(distances[:count], 1).argsort(dim=1, stable=True)
        yield nearest.shape[1], order.gather(1, nearest)


def toward(kind: type[ApgdTargeted], order: Tensor, *, targets: int, steps: int, eps: str) -> Attack:
    """Targeted APGD toward the first classes of an order, (N, C)."""

    class Ordered(kind):  # type: ignore[valid-type,misc]
        stream: ClassVar[str] = "attack steps"

        def aim(self, batch: ActiveRows, oracle: ModelQueries) -> Tensor:
            batch.memory["target"] = order[batch.index, batch.run]
            return batch.memory["target"]

    made: Attack = Ordered(eps=eps, targets=targets, steps=steps)
    return made


def targets(samples: int) -> None:
    """Print what targets of smallest forecast distance change against those of largest logits."""
    print("\n## Targets by forecast distance\n")
    print(HEADING)
    for digits in (2, 3):
        for radius, kind in ((0.0, "plain"), (32 / 255, "adversarially trained")):
            net = many_classes(digits, radius)
            images, labels = side_by_side(*test_data(), digits=digits, count=2 * samples, seed=0)
            right = torch.nonzero(net(images).argmax(1) == labels)[:, 0]
            model = AttackedModel(model=net, images=images[right], labels=labels[right], ids=right, batch=256)
            name = f"{10**digits} classes, {kind}, clean {100 * len(right) / len(images):.1f} %"
            for norm, eps in (("linf", "16/255"), ("l2", "1/2")):
                target_rows(model, name, norm=norm, eps=eps)


def target_rows(model: AttackedModel, name: str, *, norm: str, eps: str) -> None:
    """Print the rows of one model and ball. The usual order gets as many more targets as the forecast costs."""
    kinds: dict[str, type[ApgdTargeted]] = {"linf": ApgdTargetedLinf, "l2": ApgdTargetedL2}
    kind = kinds[norm]
    orders = dict(target_orders(model, kind.norm))

    @cache
    def fallen(candidates: int, number: int) -> Mask:
        return broken(toward(kind, orders[candidates], targets=number, steps=STEPS, eps=eps), model)

    for candidates in [*orders][1:]:
        for number in (3, 9):
            for more in (0, ceil(candidates / STEPS)):
                words = f"{name} | {norm} {eps} | {number} of {candidates} | {number + more} by logits"
                print(paired_row(words, fallen(0, number + more), fallen(candidates, number)), flush=True)


PARTS: Final[Mapping[str, Callable[[int], None]]] = {"cycles": cycles, "losses": losses, "targets": targets}


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be repeated; default: all")
    parser.add_argument("--samples", type=int, default=150, help="of each model; twice as many for the targets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only or PARTS:
        PARTS[name](options.samples)


if __name__ == "__main__":
    main()
