"""Projected gradient descent as the native engine and as other libraries run it, behind one signature.

Every one gets the same model, samples, batch size and numbers: cross-entropy, one uniform random start, one step
length. Each is built once, outside the time that is measured, and called in the way its documentation shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from subjects import Bench
from torch import Tensor

from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.stressor import SampleBatch


@dataclass(frozen=True)
class Setting:
    """Projected gradient descent at one radius."""

    norm: str
    """``linf`` or ``l2``."""
    eps: Fraction
    steps: int
    step: Fraction = Fraction(1, 4)
    """Step length as a share of eps."""


Attack = Callable[[Sequence[Setting], int], list[Tensor]]
"""From ascending radii and a seed to the images found at each."""


def native(bench: Bench) -> Attack:
    """This harness: several radii are one sweep."""

    def run(settings: Sequence[Setting], seed: int) -> list[Tensor]:
        rungs = [
            parse_stressor(f"pgd-{one.norm};eps={one.eps};steps={one.steps};step={one.step};loss=ce")
            for one in settings
        ]
        job = SampleBatch(bench.model, bench.images, bench.labels, bench.ids, seed, bench.batch)
        found = rungs[0].sweep(job, rungs) if len(rungs) > 1 else [rungs[0].apply(job)]
        return [stressed.inputs for stressed in found]

    return run


def _radius_by_radius(bench: Bench, perturb: Callable[[Setting, Tensor, Tensor], Tensor]) -> Attack:
    """A library that knows one radius and one batch at a time."""

    def run(settings: Sequence[Setting], seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        np.random.seed(seed)
        starts = range(0, len(bench.ids), bench.batch)
        batches = [(bench.images[at : at + bench.batch], bench.labels[at : at + bench.batch]) for at in starts]
        return [torch.cat([perturb(setting, *batch) for batch in batches]) for setting in settings]

    return run


def torchattacks(bench: Bench) -> Attack:
    """https://adversarial-attacks-pytorch.readthedocs.io"""
    import torchattacks as library

    def perturb(setting: Setting, images: Tensor, labels: Tensor) -> Tensor:
        kind = {"linf": library.PGD, "l2": library.PGDL2}[setting.norm]
        eps, step = float(setting.eps), float(setting.eps * setting.step)
        found: Tensor = kind(bench.model, eps=eps, alpha=step, steps=setting.steps, random_start=True)(images, labels)
        return found

    return _radius_by_radius(bench, perturb)


def foolbox(bench: Bench) -> Attack:
    """https://foolbox.readthedocs.io"""
    import foolbox as library

    model = library.PyTorchModel(bench.model, bounds=(0, 1), device="cpu")

    def perturb(setting: Setting, images: Tensor, labels: Tensor) -> Tensor:
        kind = {"linf": library.attacks.LinfPGD, "l2": library.attacks.L2PGD}[setting.norm]
        attack = kind(rel_stepsize=float(setting.step), steps=setting.steps, random_start=True)
        found: Tensor = attack(model, images, labels, epsilons=float(setting.eps))[1]
        return found

    return _radius_by_radius(bench, perturb)


def art(bench: Bench) -> Attack:
    """https://adversarial-robustness-toolbox.readthedocs.io"""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    shape, classes = tuple(bench.images.shape[1:]), int(bench.model(bench.images[:1]).shape[1])
    loss: Any = torch.nn.CrossEntropyLoss()
    model = PyTorchClassifier(bench.model, loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")

    def perturb(setting: Setting, images: Tensor, labels: Tensor) -> Tensor:
        attack = ProjectedGradientDescentPyTorch(
            model,
            norm={"linf": np.inf, "l2": 2}[setting.norm],
            eps=float(setting.eps),
            eps_step=float(setting.eps * setting.step),
            max_iter=setting.steps,
            num_random_init=1,
            batch_size=bench.batch,
            verbose=False,
        )
        return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))

    return _radius_by_radius(bench, perturb)


ATTACKS: dict[str, Callable[[Bench], Attack]] = {
    "native": native,
    "torchattacks": torchattacks,
    "foolbox": foolbox,
    "ART": art,
}
