"""What one sample costs: seconds of a forward and a backward pass, bytes of memory, and the batch that fits."""

from dataclasses import dataclass

import torch

from robustbench_wb.engine.batch import LIMIT, input_gradient, safe_batch, tiled
from robustbench_wb.engine.doctor.diagnosis import DoctorFinding
from robustbench_wb.engine.doctor.examined_model import ExaminedModel
from robustbench_wb.engine.timing import timed, train_pass
from robustbench_wb.errors import as_measurement_error

TIMED = 64
"""Largest batch that is timed on a CPU, where a larger one is no faster."""


@dataclass(frozen=True)
class Speed:
    """Seconds per sample."""

    forward: float
    backward: float
    """Of an input gradient, beyond the forward pass."""
    training: float
    """Of a training step without the optimiser."""


def memory(patient: ExaminedModel, batch: int) -> DoctorFinding:
    """The largest batch whose input gradient fits into half of the free memory; does the wanted one?"""
    if not patient.images:
        return DoctorFinding(
            check="memory", verdict="skipped", measured="no gradient of token ids is taken, so little is kept"
        )
    safe, measured = safe_batch(patient.model, patient.few)
    if safe is None:
        return DoctorFinding(check="memory", verdict="skipped", measured=measured)
    measured = f"{measured}; largest safe batch {safe}{' or more' if safe == LIMIT else ''}"
    if batch <= safe:
        return DoctorFinding(check="memory", verdict="ok", measured=measured)
    fix = f"use --batch-size {max(safe, 1)}: results do not depend on it"
    return DoctorFinding(check="memory", verdict="warn", measured=f"{measured}, wanted {batch}", fix=fix)


def speed(patient: ExaminedModel, batch: int) -> Speed:
    """Seconds per sample at ``batch``, on a CPU at most :data:`TIMED`: the best of a few repeats.

    Raises:
        MeasurementError: the model raised.
    """
    count = batch if patient.device.type == "cuda" else min(batch, TIMED)
    inputs = tiled(patient.few, count)
    model = patient.model

    def forward() -> None:
        with torch.no_grad():
            model(inputs)

    with as_measurement_error("the model"):
        plain = timed(forward, patient.device) / count
        whole = timed(lambda: input_gradient(model, inputs), patient.device) / count if patient.images else plain
        training = timed(lambda: train_pass(model, inputs), patient.device) / count
    return Speed(plain, max(whole - plain, 0.0), training)
