"""Checks that the gradient of the answer reaches the input, and that it is the derivative of what is computed."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel, spread
from robustbench_wb.errors import MeasurementError, as_measurement_error

NAME = "gradient"
DIRECTIONS = 4
STEP, TOLERANCE = 1e-6, 0.01
"""Step of the central difference and largest median error in float64, as a share of the typical slope."""
STEP_32, TOLERANCE_32 = 1e-2, 0.1
"""The same in float32, for models that cannot be converted."""
MOVED = 1e-6
"""Share of the spread by which logits must move for an input to matter."""


def gradient(patient: ExaminedModel) -> DoctorFinding:
    """The gradient of a fixed combination of the logits is there, is finite and is not zero."""
    if not patient.images:
        return DoctorFinding(check=NAME, verdict="skipped", measured="token ids have no gradient")
    inputs = patient.few.clone().requires_grad_(True)
    logits = _forward(patient.model, inputs)
    if not logits.requires_grad:
        return DoctorFinding(check=NAME, verdict="fail", measured="the logits know no gradient", fix=_cut(patient))
    found = _input_gradient(logits, _weights(logits), inputs)
    if found is None:
        return DoctorFinding(
            check=NAME, verdict="fail", measured="no path leads from the logits to the input", fix=_cut(patient)
        )
    if not bool(torch.isfinite(found).all()):
        share = float((~torch.isfinite(found)).flatten(1).any(1).float().mean())
        return DoctorFinding(
            check=NAME,
            verdict="fail",
            measured=f"NaN or infinite gradient for {share:.0%} of the samples",
            fix="guard roots, norms, logarithms and divisions where they meet zero: their slope is infinite there",
        )
    lengths = found.double().flatten(1).norm(dim=1)
    dead = float((lengths == 0).float().mean())
    measured = (
        f"length {float(lengths.min()):.2g} to {float(lengths.max()):.2g} in the input, zero for {dead:.0%} of samples"
    )
    if dead == 0:
        return DoctorFinding(check=NAME, verdict="ok", measured=measured)
    if not _matters(patient):
        fix = "let the logits depend on the input: they are the same for images that differ"
    else:
        fix = "replace argmax, round, sign, casts to integer and hard thresholds by something that has a slope"
    return DoctorFinding(check=NAME, verdict="fail", measured=measured, fix=fix)


def slope(patient: ExaminedModel) -> DoctorFinding:
    """The gradient agrees with central differences along random directions, in float64 where the model can."""
    name = "finite differences"
    if not patient.images:
        return DoctorFinding(check=name, verdict="skipped", measured="token ids have no gradient")
    error, kind, tolerance = slope_error(patient.model, inside_box(patient.few))
    if error is None:
        return DoctorFinding(check=name, verdict="skipped", measured="there is no gradient to compare")
    measured = f"median error {error:.1e} of the typical slope ({kind})"
    if error <= tolerance:
        return DoctorFinding(check=name, verdict="ok", measured=measured)
    fix = "let backward be the derivative of forward: no straight-through rounding, detached branch or custom backward"
    return DoctorFinding(check=name, verdict="fail", measured=measured, fix=fix)


def inside_box(images: Tensor) -> Tensor:
    """Images without black and white: on the edge of the box [0, 1] a model that clips has two slopes."""
    return 0.1 + 0.8 * images


def slope_error(model: nn.Module, inputs: Tensor) -> tuple[float | None, str, float]:
    """How far the gradient of inputs (B, ...) is from central differences along random directions.

    Returns:
        The median error as a share of the typical slope (None: there is no gradient), the number format in which it was
        found, and the largest error that rounding explains there.

    Raises:
        MeasurementError: the model raised.
    """
    try:
        with as_measurement_error("float64"):
            error = _median_error(deepcopy(model).double(), inputs.double(), STEP)
    except MeasurementError:  # not every model can be converted; it is then asked in its own number format
        error = None
    if error is not None and error <= TOLERANCE:
        return error, "float64", TOLERANCE
    # A cast inside to float32 makes tiny steps noise, which must not be taken for a wrong gradient.
    coarse = _median_error(model, inputs, STEP_32)
    return coarse, "float32", TOLERANCE_32


def _median_error(model: nn.Module, start: Tensor, step: float) -> float | None:
    """|difference quotient - slope| over the slope that a random direction has on average; median over samples."""
    inputs = start.clone().requires_grad_(True)
    logits = _forward(model, inputs)
    weights = _weights(logits)
    if not logits.requires_grad:
        return None
    found = _input_gradient(logits, weights, inputs)
    if found is None or not bool(torch.isfinite(found).all()):
        return None
    gradient = found.double().flatten(1)
    typical = gradient.norm(dim=1) / gradient.shape[1] ** 0.5
    if float(typical.max()) == 0:
        return None
    errors = []
    ids = torch.arange(len(start), device=start.device)
    for number in range(DIRECTIONS):
        direction = rng.normal(ids, tuple(start.shape[1:]), 0, "doctor-direction", number).double()
        direction /= direction.flatten(1).norm(dim=1).view(-1, *[1] * (start.ndim - 1))
        move = (step * direction).to(start.dtype)
        with torch.no_grad():
            ahead = (_forward(model, start + move).double() * weights).sum(1)
            behind = (_forward(model, start - move).double() * weights).sum(1)
        quotient = (ahead - behind) / (2 * step)
        errors.append((quotient - (gradient * direction.flatten(1)).sum(1)).abs() / typical.clamp(min=1e-30))
    return float(torch.cat(errors).median())


def _forward(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.enable_grad() if inputs.requires_grad else torch.no_grad():
        return ExaminedModel.attempt(lambda: model(inputs))


def _input_gradient(logits: Tensor, weights: Tensor, inputs: Tensor) -> Tensor | None:
    """None when no path leads to the inputs."""
    found: tuple[Tensor | None, ...] = torch.autograd.grad((logits * weights).sum(), inputs, allow_unused=True)
    return found[0]


def _weights(logits: Tensor) -> Tensor:
    """Fixed numbers, one per class, whose sum is zero: a combination that no shift of all logits moves."""
    ids = torch.arange(logits.shape[1], device=logits.device)
    drawn = rng.normal(ids, (1,), 0, "doctor-weights")[:, 0].double()
    return drawn - drawn.mean()


def _matters(patient: ExaminedModel) -> bool:
    logits = patient.ask(patient.few)
    other = patient.ask(1 - patient.few)
    return float((logits - other).abs().max()) > MOVED * spread(logits)


def _cut(patient: ExaminedModel) -> str:
    """Where the gradient is lost: the parameters, asked for theirs, tell inside from outside."""
    parameters = list(patient.model.parameters())
    frozen = [parameter.requires_grad for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.requires_grad_(parameter.is_floating_point())
        known = _forward(patient.model, patient.few.clone().requires_grad_(True)).requires_grad
    except MeasurementError:
        known = False
    finally:
        for parameter, before in zip(parameters, frozen, strict=True):
            parameter.requires_grad_(before)
    if known:
        return "keep the input in the graph: no .detach(), .data, numpy, PIL or cast to integer in its preprocessing"
    return "remove torch.no_grad(), inference_mode, .detach() or argmax from forward: attacks need its gradient"
