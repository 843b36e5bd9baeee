"""Checks of the inputs that a model expects: pixels in [0, 1], and normalisation inside the model."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel, logit_spread
from robustbench_wb.errors import MeasurementError

RESCALED = 0.025
"""Standard deviation at the first layer, relative to the pixels' own, below which pixels were divided by 255 again."""
NORMALISED_TWICE = 2.4
"""Standard deviation at the first layer above which pixels were normalised twice: it is then 1 / 0.38 on the digits,
and 1 / 0.25 or more on photographs."""
UNSCALED = 20.0
"""Standard deviation at the first layer above which pixels are in 0..255."""
MIN_GAIN = 0.05
"""Gain of accuracy that another input range must bring to be the expected one."""
MIN_SKILL = 0.2
"""Accuracy that the expected input range must have: this share of the way from always predicting the most frequent
class to perfection. Without training, predictions change from one class to another, which may gain samples."""
MAX_P = 1e-3
"""Largest p value of an exact McNemar test on the gain of accuracy."""
TIED = 0.02
"""Difference of accuracies up to which two input ranges are equally good."""
MIN_VARIATION = 1e-4
"""Difference between logits of different images, relative to ``logit_spread``, below which images look alike."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation per channel by which models of ImageNet are normalised."""


class _Classified(NamedTuple):
    """Outcome of classifying the labelled samples."""

    correct: NDArray[np.bool_]
    """Correctly classified samples, (N,). Samples with a NaN logit are wrong, and all are if the model raised."""
    loss: float
    """Mean cross-entropy in nats; infinite if it is NaN or the model raised."""

    @property
    def accuracy(self) -> float:
        """Share of correctly classified samples."""
        return float(self.correct.mean())


def check_input_range(examined: ExaminedModel) -> DoctorFinding:
    """Check that the model classifies best with pixels in [0, 1], and that its logits differ between images."""
    name = "input range"
    if not examined.is_image:
        return DoctorFinding(check=name, verdict="skipped", measured="token ids have no range")
    plain = _classify(examined, examined.inputs)
    others = {what: _classify(examined, convert(examined.inputs)) for what, convert in _input_ranges(examined).items()}
    majority = _majority_share(examined)
    enough = majority + MIN_SKILL * (1 - majority)
    better = [
        what
        for what, found in others.items()
        if _is_better(found.correct, plain.correct) and found.correct.mean() > enough
    ]
    if better:
        # Several ranges may do better than a wrong one. Among the best, the right one is not overconfident.
        most = max(others[what].accuracy for what in better)
        best = min((what for what in better if others[what].correct.mean() > most - TIED), key=lambda w: others[w].loss)
        return DoctorFinding(
            check=name,
            verdict="fail",
            measured=f"accuracy {plain.accuracy:.0%} on [0, 1], {others[best].accuracy:.0%} on {best}",
            fix=f"do the conversion from [0, 1] to {best} inside forward",
        )
    first = _first_layer_input(examined)
    most = max(found.accuracy for found in others.values())
    measured = f"accuracy {plain.accuracy:.0%} on [0, 1], at most {most:.0%} on other ranges"
    if first is not None and first.deviation < RESCALED * first.pixel_deviation:
        return DoctorFinding(
            check=name,
            verdict="fail",
            measured=f"{measured}; pixels reach the first layer with standard deviation {first.deviation:.2g}",
            fix="take the division by 255 (or the shift of 0..255) out of forward: images come in [0, 1] already",
        )
    variation = _variation_between_samples(examined)
    if variation < MIN_VARIATION:
        return DoctorFinding(
            check=name,
            verdict="fail",
            measured=f"{measured}; logits of different images differ by {variation:.1e} of their spread",
            fix="check the scale inside forward: the model gives the same logits for all images in [0, 1]",
        )
    return DoctorFinding(check=name, verdict="ok", measured=measured)


def check_normalisation(examined: ExaminedModel) -> DoctorFinding:
    """Check that the input of the first layer with weights has a mean of about 0 and a standard deviation of about 1.

    A model that normalises in that layer, or that classifies well as it is, passes.
    """
    name = "normalisation"
    first = _first_layer_input(examined) if examined.is_image else None
    if first is None:
        return DoctorFinding(check=name, verdict="skipped", measured="no layer with weights takes the image")
    measured = f"input of {first.name} has mean {first.mean:.2g}, standard deviation {first.deviation:.2g}"
    if first.is_norm:
        return DoctorFinding(check=name, verdict="ok", measured=f"{measured}; the layer normalises it")
    found = _classify(examined, examined.inputs)
    if found.correct.mean() > 2 * _majority_share(examined):
        return DoctorFinding(check=name, verdict="ok", measured=f"{measured}; the accuracy is {found.accuracy:.0%}")
    if first.is_unnormalised:
        return DoctorFinding(
            check=name,
            verdict="warn",
            measured=f"{measured}: pixels without normalisation",
            fix="if the weights were trained on normalised images, begin forward with (images - mean) / std",
        )
    if first.deviation > UNSCALED:
        fix = "if the weights were not trained on such large values, take the factor (255?) out of forward"
        return DoctorFinding(check=name, verdict="warn", measured=measured, fix=fix)
    if first.deviation > NORMALISED_TWICE:
        fix = "normalise once: remove either the model's own normalisation or the one around it"
        return DoctorFinding(check=name, verdict="warn", measured=f"{measured}: as if normalised twice", fix=fix)
    return DoctorFinding(check=name, verdict="ok", measured=measured)


def _variation_between_samples(examined: ExaminedModel) -> float:
    """Largest distance of a logit from the mean logit of its class over samples, relative to ``logit_spread``."""
    logits = examined.logits(examined.first_inputs).float()
    return float((logits - logits.mean(0)).abs().max()) / logit_spread(logits)


def _classify(examined: ExaminedModel, inputs: Tensor) -> _Classified:
    """Classify inputs (N, C, H, W) that have the labels of the examined samples."""
    try:
        logits = examined.batched_logits(inputs)
    except MeasurementError:
        return _Classified(correct=np.zeros(len(inputs), np.bool_), loss=float("inf"))
    correct = (logits.argmax(1) == examined.labels) & torch.isfinite(logits).all(1)
    loss = float(functional.cross_entropy(logits, examined.labels))
    return _Classified(correct=correct.cpu().numpy(), loss=loss if loss == loss else float("inf"))


def _majority_share(examined: ExaminedModel) -> float:
    """Accuracy of always predicting the most frequent class."""
    return float(torch.bincount(examined.labels).max()) / len(examined.labels)


def _is_better(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> bool:
    """Whether ``first`` has a higher accuracy by more than ``MIN_GAIN``, by an exact McNemar test (1947).

    If both are equally good, the samples on which they differ are tosses of a fair coin.
    """
    from scipy.stats import binomtest

    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    return (gained - lost) / len(first) > MIN_GAIN and binomtest(gained, gained + lost).pvalue < MAX_P


def _input_ranges(examined: ExaminedModel) -> dict[str, Callable[[Tensor], Tensor]]:
    """Conversions from images in [0, 1] to other input ranges that models are trained on, by name."""
    mean = examined.inputs.mean((0, 2, 3), keepdim=True)
    std = examined.inputs.std((0, 2, 3), keepdim=True).clamp(min=1e-3)
    ranges: dict[str, Callable[[Tensor], Tensor]] = {
        "0..255": lambda x: x * 255,
        "[-1, 1]": lambda x: 2 * x - 1,
        "images normalised by the task's mean and deviation": lambda x: (x - mean) / std,
    }
    if examined.inputs.shape[1] == 3:
        usual = [torch.tensor(values, device=examined.device)[:, None, None] for values in _IMAGENET]
        ranges["images normalised by ImageNet's mean and deviation"] = lambda x: (x - usual[0]) / usual[1]
    return ranges


class _FirstLayerInput:
    """Statistics of the input of the first layer with weights that takes the image.

    Args:
        name: name of the layer in the model.
        layer: the layer.
        values: input of the layer, first dimension the samples.
        images: images in [0, 1] that were given to the model.
    """

    def __init__(self, *, name: str, layer: nn.Module, values: Tensor, images: Tensor) -> None:
        self.name = f"{name} ({type(layer).__name__})"
        self.is_norm = isinstance(layer, _NORMS)
        self.mean, self.deviation = float(values.mean()), float(values.std())
        self.pixel_deviation = max(float(images.std()), 1e-6)
        inside = float(values.min()) > -1e-3 and float(values.max()) < 1 + 1e-3
        self.is_unnormalised = inside and abs(self.mean - float(images.mean())) < 0.1 * self.pixel_deviation


def _first_layer_input(examined: ExaminedModel) -> _FirstLayerInput | None:
    """Input of the first leaf module with parameters, in order of execution, whose input differs between samples.

    None if there is no such module.
    """
    images = examined.first_inputs
    seen: list[tuple[str, nn.Module, Tensor]] = []

    def hook(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def record(module: nn.Module, inputs: tuple[object, ...]) -> None:
            given = inputs[0] if inputs else None
            if not seen and isinstance(given, Tensor) and given.is_floating_point() and len(given) == len(images):
                values = given.detach().double()
                if float((values - values[:1]).abs().max()) > 0:
                    seen.append((name, module, values))

        return record

    leaves = {
        name: module
        for name, module in examined.model.named_modules()
        if name and not any(module.children()) and any(True for _ in module.parameters())
    }
    handles = [module.register_forward_pre_hook(hook(name)) for name, module in leaves.items()]
    try:
        examined.logits(images)
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        return None
    name, layer, values = seen[0]
    return _FirstLayerInput(name=name, layer=layer, values=values, images=images.double())
