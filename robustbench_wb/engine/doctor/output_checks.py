"""Checks of what comes out: its form, its number format, whether it is finite, whether it is logits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel
from robustbench_wb.errors import MeasurementError

SUM_TOLERANCE = 1e-3
"""By how much a row of probabilities may miss 1, and a row of log-probabilities 0."""


def answers(patient: ExaminedModel) -> DoctorFinding:
    """A float tensor of one row per input and one column per class."""
    name, count = "answers", len(patient.few)
    tokens = (patient.few.shape[1],) if patient.shape.causal else ()
    expected = (count, *tokens, patient.shape.classes)
    try:
        logits: object = patient.ask(patient.few)
    except MeasurementError as error:
        return DoctorFinding(check=name, verdict="fail", measured=str(error), fix=_why_raised(patient))
    if not isinstance(logits, Tensor):
        fix = "return the tensor of logits itself, not an object or tuple around it"
        return DoctorFinding(check=name, verdict="fail", measured=f"it returns a {type(logits).__name__}", fix=fix)
    form = f"{str(logits.dtype).removeprefix('torch.')} {tuple(logits.shape)} for {count} inputs"
    if not logits.is_floating_point():
        fix = "return the logits before argmax: attacks need their gradient"
        return DoctorFinding(check=name, verdict="fail", measured=f"{form}: labels, not logits", fix=fix)
    if logits.shape[:-1] == expected[:-1] and logits.shape != expected:
        measured = f"{form}: {logits.shape[-1]} classes, and the task has {expected[-1]}"
        fix = f"give the last layer {expected[-1]} outputs (`shape.classes`), in the order of the task's classes"
        return DoctorFinding(check=name, verdict="fail", measured=measured, fix=fix)
    if logits.shape != expected:
        fix = "return one row per input and one column per class; do not squeeze, average or pad the batch"
        return DoctorFinding(check=name, verdict="fail", measured=f"{form}, expected {expected}", fix=fix)
    return DoctorFinding(check=name, verdict="ok", measured=form)


def _why_raised(patient: ExaminedModel) -> str:
    dtypes = {p.dtype for p in patient.model.parameters() if p.is_floating_point()} - {torch.float32}
    if dtypes:
        return f"convert the weights with model.float(): they are {_names(dtypes)}, and inputs come in float32"
    what = "images (B, C, H, W) in [0, 1], float32" if patient.images else "token ids (B, L), int64"
    return f"make forward take {what}, at the task's size and on the model's device"


def _names(dtypes: set[torch.dtype]) -> str:
    return " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def number_format(patient: ExaminedModel) -> DoctorFinding:
    """float32 weights and logits: half loses small gradients, double costs time and hides rounding."""
    found = {tensor.dtype for tensor in patient.model.parameters() if tensor.is_floating_point()}
    found |= {tensor.dtype for tensor in patient.model.buffers() if tensor.is_floating_point()}
    found.add(patient.ask(patient.few).dtype)
    other = found - {torch.float32}
    if not other:
        return DoctorFinding(check="dtype", verdict="ok", measured="weights, buffers and logits are float32")
    half = bool(other & {torch.float16, torch.bfloat16})
    fix = "build the model with model.float() and leave out casts in forward"
    fix += ": in half precision small gradients become zero, and attacks look weaker than they are" if half else ""
    return DoctorFinding(check="dtype", verdict="fail" if half else "warn", measured=f"{_names(other)} found", fix=fix)


def finite(patient: ExaminedModel) -> DoctorFinding:
    """Finite logits for black, white, grey, noisy and checkered images, each alone in its batch."""
    if not patient.images:
        logits = patient.ask(patient.few)
        bad = [] if bool(torch.isfinite(logits).all()) else ["texts of the task"]
    else:
        bad = [what for what, image in _extremes(patient) if not bool(torch.isfinite(patient.ask(image)).all())]
    if not bad:
        return DoctorFinding(check="finite", verdict="ok", measured="logits are finite on extreme inputs")
    fix = "guard the division, logarithm or norm that meets a zero (add a small constant, or clamp)"
    return DoctorFinding(
        check="finite", verdict="fail", measured=f"NaN or infinite logits for {', '.join(bad)}", fix=fix
    )


def _extremes(patient: ExaminedModel) -> Iterator[tuple[str, Tensor]]:
    image = patient.few[:1]
    for level, what in ((0.0, "black"), (1.0, "white"), (0.5, "grey")):
        yield f"{what} images", torch.full_like(image, level)
    generator = torch.Generator().manual_seed(0)
    yield "noise", torch.rand(image.shape, generator=generator).to(image)
    rows, columns = torch.arange(image.shape[2])[:, None], torch.arange(image.shape[3])
    yield "a checkerboard", ((rows + columns) % 2).to(image).expand_as(image)
    yield "images of the task", patient.few


def are_logits(patient: ExaminedModel) -> DoctorFinding:
    """Rows that are probabilities (sum 1, none negative) or their logarithms (log of the sum of exponents 0)?"""
    logits = patient.ask(patient.few).double().flatten(0, -2)
    sums, log_sums = logits.sum(1), torch.logsumexp(logits, 1)
    if bool((logits >= 0).all()) and float((sums - 1).abs().max()) < SUM_TOLERANCE:
        return DoctorFinding(
            check="logits",
            verdict="fail",
            measured="every row is non-negative and sums to 1: probabilities",
            fix="remove the softmax at the end: the loss applies it, and twice flattens the gradient",
        )
    if float(log_sums.abs().max()) < SUM_TOLERANCE:
        return DoctorFinding(
            check="logits",
            verdict="warn",
            measured="logsumexp of every row is 0: log-probabilities",
            fix="remove the log_softmax at the end: cross-entropy is the same without it, confidence readings are not",
        )
    return DoctorFinding(
        check="logits", verdict="ok", measured=f"rows sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}"
    )
