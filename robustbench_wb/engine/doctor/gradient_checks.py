"""Checks that the gradient of the logits reaches the input, and that it is the derivative of the forward pass."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel, logit_spread
from robustbench_wb.errors import MeasurementError, as_measurement_error

NAME = "gradient"
DIRECTIONS = 4
"""Number of random directions in which central differences are taken, per sample."""
STEP = 1e-6
"""Step length of central differences in float64, in L2."""
TOLERANCE = 0.01
"""Largest median error in float64, relative to the typical slope."""
STEP_32 = 1e-2
"""Step length of central differences in float32, for models that cannot be converted to float64."""
TOLERANCE_32 = 0.1
"""Largest median error in float32, relative to the typical slope."""
JITTER = 0.03
"""Random offset of every input value, in standard deviations of the inputs. It breaks ties: equal values, as in a flat
background, have no unique slope after max pooling."""
MIN_COMPARABLE = 0.25
"""Smallest share of differences without a kink on the way for which those with one are left out."""
MIN_CHANGE = 1e-6
"""Change of a logit, relative to ``logit_spread``, from which on the logits depend on the input."""


class SlopeError(NamedTuple):
    """Disagreement between gradient and central differences."""

    error: float | None
    """Median error relative to the typical slope; None if there is no gradient, or the gradient is not finite or 0."""
    dtype: str
    """Number format of the comparison: ``float64`` or ``float32``."""
    tolerance: float
    """Largest error that rounding explains in that format."""


def check_gradient(examined: ExaminedModel) -> DoctorFinding:
    """Check that the input gradient of a fixed combination of the logits exists, is finite and is not zero."""
    if not examined.is_image:
        return DoctorFinding(check=NAME, verdict="skipped", measured="token ids have no gradient")
    inputs = examined.first_inputs.clone().requires_grad_(True)
    logits = _forward(examined.model, inputs)
    if not logits.requires_grad:
        measured = "the logits have no gradient"
        return DoctorFinding(check=NAME, verdict="fail", measured=measured, fix=_fix_for_missing_gradient(examined))
    found = _input_gradient(logits, _logit_weights(logits), inputs)
    if found is None:
        measured = "no gradient path leads from the logits to the input"
        return DoctorFinding(check=NAME, verdict="fail", measured=measured, fix=_fix_for_missing_gradient(examined))
    if not bool(torch.isfinite(found).all()):
        share = float((~torch.isfinite(found)).flatten(1).any(1).float().mean())
        return DoctorFinding(
            check=NAME,
            verdict="fail",
            measured=f"NaN or infinite gradient for {share:.0%} of the samples",
            fix="guard roots, norms, logarithms and divisions where they meet zero: their slope is infinite there",
        )
    lengths = found.double().flatten(1).norm(dim=1)
    zero = float((lengths == 0).float().mean())
    measured = (
        f"L2 norm of the input gradient {float(lengths.min()):.2g} to {float(lengths.max()):.2g}, "
        f"zero for {zero:.0%} of the samples"
    )
    if zero == 0:
        return DoctorFinding(check=NAME, verdict="ok", measured=measured)
    if not _depends_on_input(examined):
        fix = "let the logits depend on the input: they are the same for images that differ"
    else:
        fix = "replace argmax, round, sign, casts to integer and hard thresholds by functions that have a slope"
    return DoctorFinding(check=NAME, verdict="fail", measured=measured, fix=fix)


def check_finite_differences(examined: ExaminedModel) -> DoctorFinding:
    """Check that the gradient agrees with central differences in random directions, in float64 where possible."""
    name = "finite differences"
    if not examined.is_image:
        return DoctorFinding(check=name, verdict="skipped", measured="token ids have no gradient")
    error, dtype, tolerance = slope_error(examined.model, inside_box(examined.first_inputs))
    if error is None:
        return DoctorFinding(check=name, verdict="skipped", measured="there is no gradient to compare")
    measured = f"median error {error:.1e} of the typical slope ({dtype})"
    if error <= tolerance:
        return DoctorFinding(check=name, verdict="ok", measured=measured)
    fix = "let backward be the derivative of forward: no straight-through rounding, detached branch or custom backward"
    return DoctorFinding(check=name, verdict="fail", measured=measured, fix=fix)


def inside_box(images: Tensor) -> Tensor:
    """Images in [0, 1], shrunk to [0.1, 0.9]: a model that clips has no unique slope at black and white pixels."""
    return 0.1 + 0.8 * images


def slope_error(model: nn.Module, inputs: Tensor) -> SlopeError:
    """Compare the gradient near inputs (B, ...) with central differences in random directions.

    Max pooling, ReLU and clipping have kinks, where a correct gradient differs from a central difference. The inputs
    are therefore moved off ties by ``JITTER``, and differences are compared where two step lengths agree.

    Raises:
        MeasurementError: the model raised.
    """
    ids = torch.arange(len(inputs), device=inputs.device)
    offsets = 2 * rng.uniform(ids, tuple(inputs.shape[1:]), 0, "doctor-jitter") - 1
    inputs = inputs + JITTER * float(inputs.std()) * offsets.to(inputs.dtype)
    try:
        with as_measurement_error("float64"):
            error = _median_error(deepcopy(model).double(), inputs.double(), step=STEP, tolerance=TOLERANCE)
    except MeasurementError:  # not every model can be converted; it is then compared in its own number format
        error = None
    if error is not None and error <= TOLERANCE:
        return SlopeError(error=error, dtype="float64", tolerance=TOLERANCE)
    # A cast to float32 inside the model rounds away tiny steps, which is not a wrong gradient.
    coarse = _median_error(model, inputs, step=STEP_32, tolerance=TOLERANCE_32)
    return SlopeError(error=coarse, dtype="float32", tolerance=TOLERANCE_32)


def _median_error(model: nn.Module, start: Tensor, *, step: float, tolerance: float) -> float | None:
    """Median of |difference quotient - slope| / typical slope over samples and directions; None without a gradient.

    The typical slope is the root mean square of the slope over all directions: the L2 norm of the gradient over the
    root of its number of values. Quotients that differ by more than ``tolerance`` between ``step`` and half of it
    cross a kink and are left out, unless nearly all do: a function of jumps has no derivative anywhere.
    """
    inputs = start.clone().requires_grad_(True)
    logits = _forward(model, inputs)
    weights = _logit_weights(logits)
    if not logits.requires_grad:
        return None
    found = _input_gradient(logits, weights, inputs)
    if found is None or not bool(torch.isfinite(found).all()):
        return None
    gradient = found.double().flatten(1)
    typical = gradient.norm(dim=1) / gradient.shape[1] ** 0.5
    if float(typical.max()) == 0:
        return None
    errors, smooth = [], []
    ids = torch.arange(len(start), device=start.device)
    for number in range(DIRECTIONS):
        direction = rng.normal(ids, tuple(start.shape[1:]), 0, "doctor-direction", number).double()
        direction /= direction.flatten(1).norm(dim=1).view(-1, *[1] * (start.ndim - 1))
        whole, half = (
            _change(model, start, size * direction, weights=weights) / (2 * size) for size in (step, step / 2)
        )
        scale = typical.clamp(min=1e-30)
        errors.append((whole - (gradient * direction.flatten(1)).sum(1)).abs() / scale)
        smooth.append((whole - half).abs() / scale <= tolerance)
    error, comparable = torch.cat(errors), torch.cat(smooth)
    few = float(comparable.double().mean()) < MIN_COMPARABLE
    return float((error if few else error[comparable]).median())


def _change(model: nn.Module, start: Tensor, move: Tensor, *, weights: Tensor) -> Tensor:
    """Change of the weighted sum of the logits from ``start - move`` to ``start + move``, float64 (B,)."""
    offset = move.to(start.dtype)
    with torch.no_grad():
        ahead, behind = (_forward(model, place).double() for place in (start + offset, start - offset))
    return ((ahead - behind) * weights).sum(1)


def _forward(model: nn.Module, inputs: Tensor) -> Tensor:
    """Logits of the inputs, with a gradient graph if the inputs require one."""
    with torch.enable_grad() if inputs.requires_grad else torch.no_grad():
        return ExaminedModel.guarded(lambda: model(inputs))


def _input_gradient(logits: Tensor, weights: Tensor, inputs: Tensor) -> Tensor | None:
    """Gradient of the weighted sum of the logits, in the shape of the inputs; None if no path leads to the inputs."""
    found: tuple[Tensor | None, ...] = torch.autograd.grad((logits * weights).sum(), inputs, allow_unused=True)
    return found[0]


def _logit_weights(logits: Tensor) -> Tensor:
    """Fixed weights (classes,) that sum to zero, so that adding a constant to all logits changes nothing."""
    ids = torch.arange(logits.shape[1], device=logits.device)
    drawn = rng.normal(ids, (1,), 0, "doctor-weights")[:, 0].double()
    return drawn - drawn.mean()


def _depends_on_input(examined: ExaminedModel) -> bool:
    """Whether the logits of images and of their negatives differ."""
    logits = examined.logits(examined.first_inputs)
    negatives = examined.logits(1 - examined.first_inputs)
    return float((logits - negatives).abs().max()) > MIN_CHANGE * logit_spread(logits)


def _fix_for_missing_gradient(examined: ExaminedModel) -> str:
    """Advice on where the gradient is lost: before the layers with weights if the weights have a gradient, else after.

    Weights are frozen again afterwards.
    """
    parameters = list(examined.model.parameters())
    frozen = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(parameter.is_floating_point())
        reached = _forward(examined.model, examined.first_inputs.clone().requires_grad_(True)).requires_grad
    except MeasurementError:
        reached = False
    finally:
        for parameter, before in zip(parameters, frozen, strict=True):
            parameter.requires_grad_(before)
    if reached:
        return "keep the input in the graph: no .detach(), .data, numpy, PIL or cast to integer in its preprocessing"
    return "remove torch.no_grad(), inference_mode, .detach() or argmax from forward: attacks need its gradient"
