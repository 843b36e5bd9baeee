"""Checks of the model's output: its shape, its dtype, whether its values are finite, whether they are logits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel
from robustbench_wb.errors import MeasurementError

SUM_TOLERANCE = 1e-3
"""Largest distance from 1 of the sum of a row of probabilities, and from 0 of the logsumexp of log-probabilities."""


def check_answers(examined: ExaminedModel) -> DoctorFinding:
    """Check that the output is a float tensor with one row per input and one column per class."""
    name, count = "answers", len(examined.first_inputs)
    tokens = (examined.first_inputs.shape[1],) if examined.shape.causal else ()
    expected = (count, *tokens, examined.shape.classes)
    try:
        logits: object = examined.logits(examined.first_inputs)
    except MeasurementError as error:
        return DoctorFinding(check=name, verdict="fail", measured=str(error), fix=_fix_for_exception(examined))
    if not isinstance(logits, Tensor):
        fix = "return the tensor of logits itself, not an object or tuple around it"
        measured = f"the model returns a {type(logits).__name__}"
        return DoctorFinding(check=name, verdict="fail", measured=measured, fix=fix)
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


def _fix_for_exception(examined: ExaminedModel) -> str:
    """Advice for a model that raises on valid inputs: its dtype is the usual cause."""
    dtypes = {p.dtype for p in examined.model.parameters() if p.is_floating_point()} - {torch.float32}
    if dtypes:
        return f"convert the weights with model.float(): they are {_names(dtypes)}, and inputs are float32"
    what = "images (B, C, H, W) in [0, 1], float32" if examined.is_image else "token ids (B, L), int64"
    return f"make forward take {what}, at the task's size and on the model's device"


def _names(dtypes: set[torch.dtype]) -> str:
    return " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def check_dtype(examined: ExaminedModel) -> DoctorFinding:
    """Check that weights, buffers and logits are float32: half precision fails, double precision is a warning.

    In half precision small gradients become zero. Double precision takes time, and hides rounding errors.
    """
    found = {tensor.dtype for tensor in examined.model.parameters() if tensor.is_floating_point()}
    found |= {tensor.dtype for tensor in examined.model.buffers() if tensor.is_floating_point()}
    found.add(examined.logits(examined.first_inputs).dtype)
    other = found - {torch.float32}
    if not other:
        return DoctorFinding(check="dtype", verdict="ok", measured="weights, buffers and logits are float32")
    half = bool(other & {torch.float16, torch.bfloat16})
    fix = "build the model with model.float(), and remove casts from forward"
    fix += ": in half precision small gradients become zero, and attacks look weaker than they are" if half else ""
    return DoctorFinding(check="dtype", verdict="fail" if half else "warn", measured=f"{_names(other)} found", fix=fix)


def check_finite(examined: ExaminedModel) -> DoctorFinding:
    """Check that logits are finite on black, white, grey, noise and checkerboard images, and on samples of the task.

    Each kind of image is a batch of its own. Models of tokens are checked on samples of the task only.
    """
    if not examined.is_image:
        logits = examined.logits(examined.first_inputs)
        bad = [] if bool(torch.isfinite(logits).all()) else ["texts of the task"]
    else:
        bad = [
            name
            for name, images in _extreme_images(examined)
            if not bool(torch.isfinite(examined.logits(images)).all())
        ]
    if not bad:
        return DoctorFinding(check="finite", verdict="ok", measured="logits are finite on extreme inputs")
    fix = "guard the division, logarithm or norm that meets a zero (add a small constant, or clamp)"
    return DoctorFinding(
        check="finite", verdict="fail", measured=f"NaN or infinite logits for {', '.join(bad)}", fix=fix
    )


def _extreme_images(examined: ExaminedModel) -> Iterator[tuple[str, Tensor]]:
    """Name and batch (B, C, H, W) of each kind of image."""
    image = examined.first_inputs[:1]
    for level, name in ((0.0, "black"), (1.0, "white"), (0.5, "grey")):
        yield f"{name} images", torch.full_like(image, level)
    generator = torch.Generator().manual_seed(0)
    yield "noise", torch.rand(image.shape, generator=generator).to(image)
    rows, columns = torch.arange(image.shape[2])[:, None], torch.arange(image.shape[3])
    yield "a checkerboard", ((rows + columns) % 2).to(image).expand_as(image)
    yield "images of the task", examined.first_inputs


def check_logits(examined: ExaminedModel) -> DoctorFinding:
    """Check that rows are neither probabilities (not negative, sum 1) nor log-probabilities (logsumexp 0)."""
    logits = examined.logits(examined.first_inputs).double().flatten(0, -2)
    sums, log_sums = logits.sum(1), torch.logsumexp(logits, 1)
    if bool((logits >= 0).all()) and float((sums - 1).abs().max()) < SUM_TOLERANCE:
        return DoctorFinding(
            check="logits",
            verdict="fail",
            measured="every row is non-negative and sums to 1: probabilities",
            fix="remove the softmax at the end: the loss applies a softmax, and a second one flattens the gradient",
        )
    if float(log_sums.abs().max()) < SUM_TOLERANCE:
        return DoctorFinding(
            check="logits",
            verdict="warn",
            measured="logsumexp of every row is 0: log-probabilities",
            fix="remove the log_softmax at the end: the cross-entropy stays the same, but logits lose their scale",
        )
    return DoctorFinding(
        check="logits", verdict="ok", measured=f"rows sum to {float(sums.min()):.3g} to {float(sums.max()):.3g}"
    )
