"""Projected gradient descent of the native engine and of other libraries, behind one signature.

All libraries get the same model, samples, batch size and parameters: cross-entropy, one uniform random start, one step
length. Each attack is built once, outside the measured time, and called as its documentation shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from subjects import AttackedModel
from torch import Tensor

from robustbench_wb.stressors.catalogue import parse_stressor


@dataclass(frozen=True, kw_only=True)
class PgdSetting:
    """Parameters of projected gradient descent at one radius."""

    norm: str
    """``linf`` or ``l2``."""
    eps: Fraction
    """Radius in units of the pixel range."""
    steps: int
    step: Fraction = Fraction(1, 4)
    """Step length as a share of eps."""


Attack = Callable[[Sequence[PgdSetting], int], list[Tensor]]
"""Function from settings of ascending radii and a seed to the perturbed images (N, C, H, W) at each radius."""


def native(attacked: AttackedModel) -> Attack:
    """Attack of this package. Several radii are one sweep."""

    def run(settings: Sequence[PgdSetting], seed: int) -> list[Tensor]:
        rungs = [
            parse_stressor(f"pgd-{one.norm};eps={one.eps};steps={one.steps};step={one.step};loss=ce")
            for one in settings
        ]
        batch, access = attacked.sample_batch(seed), attacked.access
        found = rungs[0].sweep(batch, access, rungs) if len(rungs) > 1 else [rungs[0].apply(batch, access)]
        return [perturbed.inputs for perturbed in found]

    return run


def _radius_by_radius(attacked: AttackedModel, perturb: Callable[[PgdSetting, Tensor, Tensor], Tensor]) -> Attack:
    """Attack of a library that takes one radius and one batch at a time."""

    def run(settings: Sequence[PgdSetting], seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        np.random.seed(seed)
        batches = list(
            zip(torch.split(attacked.images, attacked.batch), torch.split(attacked.labels, attacked.batch), strict=True)
        )
        return [torch.cat([perturb(setting, images, labels) for images, labels in batches]) for setting in settings]

    return run


def torchattacks(attacked: AttackedModel) -> Attack:
    """Attack of torchattacks, https://adversarial-attacks-pytorch.readthedocs.io."""
    import torchattacks as library

    def perturb(setting: PgdSetting, images: Tensor, labels: Tensor) -> Tensor:
        kind = {"linf": library.PGD, "l2": library.PGDL2}[setting.norm]
        eps, step = float(setting.eps), float(setting.eps * setting.step)
        attack = kind(attacked.model, eps=eps, alpha=step, steps=setting.steps, random_start=True)
        found: Tensor = attack(images, labels)
        return found

    return _radius_by_radius(attacked, perturb)


def foolbox(attacked: AttackedModel) -> Attack:
    """Attack of foolbox, https://foolbox.readthedocs.io."""
    import foolbox as library

    model = library.PyTorchModel(attacked.model, bounds=(0, 1), device="cpu")

    def perturb(setting: PgdSetting, images: Tensor, labels: Tensor) -> Tensor:
        kind = {"linf": library.attacks.LinfPGD, "l2": library.attacks.L2PGD}[setting.norm]
        attack = kind(rel_stepsize=float(setting.step), steps=setting.steps, random_start=True)
        found: Tensor = attack(model, images, labels, epsilons=float(setting.eps))[1]
        return found

    return _radius_by_radius(attacked, perturb)


def art(attacked: AttackedModel) -> Attack:
    """Attack of the Adversarial Robustness Toolbox, https://adversarial-robustness-toolbox.readthedocs.io."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    shape, classes = tuple(attacked.images.shape[1:]), int(attacked.model(attacked.images[:1]).shape[1])
    loss: Any = torch.nn.CrossEntropyLoss()
    model = PyTorchClassifier(attacked.model, loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")

    def perturb(setting: PgdSetting, images: Tensor, labels: Tensor) -> Tensor:
        attack = ProjectedGradientDescentPyTorch(
            model,
            norm={"linf": np.inf, "l2": 2}[setting.norm],
            eps=float(setting.eps),
            eps_step=float(setting.eps * setting.step),
            max_iter=setting.steps,
            num_random_init=1,
            batch_size=attacked.batch,
            verbose=False,
        )
        return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))

    return _radius_by_radius(attacked, perturb)


ATTACKS: dict[str, Callable[[AttackedModel], Attack]] = {
    "native": native,
    "torchattacks": torchattacks,
    "foolbox": foolbox,
    "ART": art,
}
"""Attacks on a given model, by the name of the library."""
