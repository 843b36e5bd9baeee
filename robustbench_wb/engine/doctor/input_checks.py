"""Checks of what the model expects to be fed: pixels in [0, 1], and normalisation inside."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel, spread
from robustbench_wb.errors import MeasurementError

SQUEEZED = 0.025
"""A deviation at the first layer below this share of the pixels' own is that of a division by 255 too many."""
STRETCHED = 2.4
"""A deviation at the first layer above this is that of pixels normalised twice (1 / 0.38 on the digits, 1 / 0.25 and
more on photographs); above :data:`BLOWN`, of pixels in 0..255."""
BLOWN = 20.0
BETTER, CHANCE = 0.05, 1e-3
"""By how much accuracy must rise under another range for it to be the one expected, and the largest p of an exact
paired test on it. It must also beat the answer "always the most frequent class" by that much: models that are not
trained yet change from one constant answer to another."""
TIED = 0.02
"""Accuracies that lie this close are taken for equal."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def input_range(patient: ExaminedModel) -> DoctorFinding:
    """Does it classify better when fed something else than [0, 1]? Do images in [0, 1] all look alike to it?"""
    name = "input range"
    if not patient.images:
        return DoctorFinding(check=name, verdict="skipped", measured="token ids have no range")
    plain, _ = _fed(patient, patient.inputs)
    others = {what: _fed(patient, feed(patient.inputs)) for what, feed in _feeds(patient).items()}
    enough = _constant(patient) + BETTER
    better = [what for what, (right, _) in others.items() if _better(right, plain) and right.mean() > enough]
    if better:
        # Several may do better than a wrong range. Of those that do about best, the right one is not overconfident.
        most = max(float(others[what][0].mean()) for what in better)
        best = min((w for w in better if others[w][0].mean() > most - TIED), key=lambda what: others[what][1])
        return DoctorFinding(
            check=name,
            verdict="fail",
            measured=f"accuracy {plain.mean():.0%} on [0, 1], {others[best][0].mean():.0%} on {best}",
            fix=f"do the conversion from [0, 1] to {best} inside forward",
        )
    first = _first_layer(patient)
    most = max(float(right.mean()) for right, _ in others.values())
    measured = f"accuracy {plain.mean():.0%} on [0, 1], at most {most:.0%} on other ranges"
    if first is not None and first.deviation < SQUEEZED * first.input_deviation:
        return DoctorFinding(
            check=name,
            verdict="fail",
            measured=f"{measured}; pixels reach the first layer with deviation {first.deviation:.2g}",
            fix="take the division by 255 (or the shift of 0..255) out: images come in [0, 1] already",
        )
    variation = spread_over_samples(patient)
    if variation < 1e-4:
        return DoctorFinding(
            check=name,
            verdict="fail",
            measured=f"{measured}; logits of different images differ by {variation:.1e} of their spread",
            fix="check the scale inside forward: images in [0, 1] all look alike to the model",
        )
    return DoctorFinding(check=name, verdict="ok", measured=measured)


def normalisation(patient: ExaminedModel) -> DoctorFinding:
    """Mean and deviation of what enters the first layer with weights: about 0 and 1 after one normalisation."""
    name = "normalisation"
    first = _first_layer(patient) if patient.images else None
    if first is None:
        return DoctorFinding(check=name, verdict="skipped", measured="no first layer to look into")
    measured = f"{first.name} is fed mean {first.mean:.2g}, deviation {first.deviation:.2g}"
    if first.is_norm:
        return DoctorFinding(check=name, verdict="ok", measured=f"{measured}, and normalises it")
    right, _ = _fed(patient, patient.inputs)
    if right.mean() > 2 * _constant(patient):
        return DoctorFinding(
            check=name, verdict="ok", measured=f"{measured}; it classifies {right.mean():.0%} that way"
        )
    if first.untouched:
        return DoctorFinding(
            check=name,
            verdict="warn",
            measured=f"{measured}: the pixels as they are",
            fix="if the weights were trained on normalised images, begin forward with (images - mean) / std",
        )
    if first.deviation > BLOWN:
        fix = "if the weights were not trained on such large numbers, take the factor (255?) out of forward"
        return DoctorFinding(check=name, verdict="warn", measured=measured, fix=fix)
    if first.deviation > STRETCHED:
        fix = "normalise once: take out either the model's own normalisation or the one around it"
        return DoctorFinding(check=name, verdict="warn", measured=f"{measured}: as if normalised twice", fix=fix)
    return DoctorFinding(check=name, verdict="ok", measured=measured)


def spread_over_samples(patient: ExaminedModel) -> float:
    """How far logits of different samples lie apart, as a share of the spread of all logits."""
    logits = patient.ask(patient.few).float()
    return float((logits - logits.mean(0)).abs().max()) / spread(logits)


def _fed(patient: ExaminedModel, inputs: Tensor) -> tuple[NDArray[np.bool_], float]:
    """Which samples are classified correctly, and the mean loss. NaN logits are wrong answers, so is an exception."""
    try:
        logits = patient.ask_many(inputs)
    except MeasurementError:
        return np.zeros(len(inputs), np.bool_), float("inf")
    right = (logits.argmax(1) == patient.labels) & torch.isfinite(logits).all(1)
    loss = float(functional.cross_entropy(logits, patient.labels))
    return right.cpu().numpy(), loss if loss == loss else float("inf")


def _constant(patient: ExaminedModel) -> float:
    """Accuracy of always naming the most frequent class."""
    return float(torch.bincount(patient.labels).max()) / len(patient.labels)


def _better(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Exact McNemar test: the samples on which two answers differ are coin tosses if both are equally good."""
    from scipy.stats import binomtest

    gained, lost = int((one & ~other).sum()), int((other & ~one).sum())
    return (gained - lost) / len(one) > BETTER and binomtest(gained, gained + lost).pvalue < CHANCE


def _feeds(patient: ExaminedModel) -> dict[str, Callable[[Tensor], Tensor]]:
    """Other things that models are trained on, made from images in [0, 1]."""
    mean = patient.inputs.mean((0, 2, 3), keepdim=True)
    std = patient.inputs.std((0, 2, 3), keepdim=True).clamp(min=1e-3)
    feeds: dict[str, Callable[[Tensor], Tensor]] = {
        "0..255": lambda x: x * 255,
        "[-1, 1]": lambda x: 2 * x - 1,
        "images normalised by the task's mean and deviation": lambda x: (x - mean) / std,
    }
    if patient.inputs.shape[1] == 3:
        usual = [torch.tensor(values, device=patient.device)[:, None, None] for values in _IMAGENET]
        feeds["images normalised by ImageNet's mean and deviation"] = lambda x: (x - usual[0]) / usual[1]
    return feeds


class _First:
    """What enters the first layer with weights that sees the image."""

    def __init__(self, name: str, layer: nn.Module, fed: Tensor, images: Tensor) -> None:
        self.name = f"{name} ({type(layer).__name__})"
        self.is_norm = isinstance(layer, _NORMS)
        self.mean, self.deviation = float(fed.mean()), float(fed.std())
        self.input_deviation = max(float(images.std()), 1e-6)
        inside = float(fed.min()) > -1e-3 and float(fed.max()) < 1 + 1e-3
        self.untouched = inside and abs(self.mean - float(images.mean())) < 0.1 * self.input_deviation


def _first_layer(patient: ExaminedModel) -> _First | None:
    """The first leaf module with parameters, in order of execution, whose input differs between samples."""
    seen: list[tuple[str, nn.Module, Tensor]] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def record(module: nn.Module, inputs: tuple[object, ...]) -> None:
            fed = inputs[0] if inputs else None
            if not seen and isinstance(fed, Tensor) and fed.is_floating_point() and len(fed) == len(patient.few):
                values = fed.detach().double()
                if float((values - values[:1]).abs().max()) > 0:
                    seen.append((name, module, values))

        return record

    leaves = {
        name: module
        for name, module in patient.model.named_modules()
        if name and not any(module.children()) and any(True for _ in module.parameters())
    }
    handles = [module.register_forward_pre_hook(hook(name)) for name, module in leaves.items()]
    try:
        patient.ask(patient.few)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        return None
    name, module, fed = seen[0]
    return _First(name, module, fed, patient.few.double())
