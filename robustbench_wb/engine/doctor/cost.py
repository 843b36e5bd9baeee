"""Cost of one sample: seconds of a forward and a backward pass, bytes of memory, and the largest batch that fits."""

from dataclasses import dataclass

import torch

from robustbench_wb.engine.batch import LIMIT, input_gradient, safe_batch, tiled
from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel
from robustbench_wb.engine.timing import timed, train_pass
from robustbench_wb.errors import as_measurement_error

MAX_TIMED_BATCH = 64
"""Largest batch that is timed on a CPU, where a larger batch is no faster per sample."""


@dataclass(frozen=True)
class PassTimes:
    """Seconds per sample of the passes that a run consists of."""

    forward: float
    """Seconds of a forward pass."""
    backward: float
    """Seconds of an input gradient, beyond its forward pass."""
    training: float
    """Seconds of a training step without the optimiser."""


def check_memory(examined: ExaminedModel, batch: int) -> DoctorFinding:
    """Find the largest batch whose input gradient fits into half of the free memory, and compare ``batch`` with it."""
    if not examined.is_image:
        return DoctorFinding(check="memory", verdict="skipped", measured="token ids have no input gradient to store")
    safe, measured = safe_batch(examined.model, examined.first_inputs)
    if safe is None:
        return DoctorFinding(check="memory", verdict="skipped", measured=measured)
    measured = f"{measured}; largest safe batch {safe}{' or more' if safe == LIMIT else ''}"
    if batch <= safe:
        return DoctorFinding(check="memory", verdict="ok", measured=measured)
    fix = f"use --batch-size {max(safe, 1)}: results do not depend on the batch size"
    return DoctorFinding(check="memory", verdict="warn", measured=f"{measured}, requested {batch}", fix=fix)


def time_passes(examined: ExaminedModel, batch: int) -> PassTimes:
    """Seconds per sample in batches of ``batch`` (on a CPU of at most ``MAX_TIMED_BATCH``), the best of repeats.

    Raises:
        MeasurementError: the model raised.
    """
    count = batch if examined.device.type == "cuda" else min(batch, MAX_TIMED_BATCH)
    inputs = tiled(examined.first_inputs, count)
    model = examined.model

    def forward() -> None:
        with torch.no_grad():
            model(inputs)

    with as_measurement_error("the model"):
        plain = timed(forward, examined.device) / count
        whole = timed(lambda: input_gradient(model, inputs), examined.device) / count if examined.is_image else plain
        training = timed(lambda: train_pass(model, inputs), examined.device) / count
    return PassTimes(forward=plain, backward=max(whole - plain, 0.0), training=training)
