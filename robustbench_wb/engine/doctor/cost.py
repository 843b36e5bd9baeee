"""What one sample costs: seconds of a forward and a backward pass, bytes of memory, and the batch that fits."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_wb.engine.doctor.finding import Finding
from robustbench_wb.engine.doctor.patient import Patient
from robustbench_wb.engine.measure import one_line

LIMIT = 4096
"""No larger batch is tried."""
SHARE = 0.5
"""Share of the free memory that a safe batch may take."""
OVERHEAD = 2.0
"""Backward needs about as much again as what is kept for it: gradients of the activations, and scratch space."""
TIMED = 64
"""Largest batch that is timed on a CPU, where a larger one is no faster."""
PATIENCE = 1.0
"""Seconds after which a timing is not repeated more than twice; a pass of thrice that is not repeated."""


@dataclass(frozen=True)
class Speed:
    """Seconds per sample."""

    forward: float
    backward: float
    """Of an input gradient, beyond the forward pass."""
    training: float
    """Of a training step without the optimiser."""


def memory(patient: Patient, batch: int) -> Finding:
    """The largest batch whose input gradient fits into half of the free memory; does the wanted one?"""
    if not patient.images:
        return Finding(
            check="memory", verdict="skipped", measured="no gradient of token ids is taken, so little is kept"
        )
    safe, measured = _by_trial(patient) if patient.device.type == "cuda" else _by_estimate(patient)
    if safe is None:
        return Finding(check="memory", verdict="skipped", measured=measured)
    measured = f"{measured}; largest safe batch {safe}{' or more' if safe == LIMIT else ''}"
    if batch <= safe:
        return Finding(check="memory", verdict="ok", measured=measured)
    fix = f"use --batch-size {max(safe, 1)}: results do not depend on it"
    return Finding(check="memory", verdict="warn", measured=f"{measured}, wanted {batch}", fix=fix)


def _by_trial(patient: Patient) -> tuple[int | None, str]:
    """Doubled until the peak passes the share of free memory, or memory runs out."""
    free, _ = torch.cuda.mem_get_info(patient.device)
    before = torch.cuda.memory_allocated(patient.device)
    safe, batch, peak = 0, 1, 0
    while batch <= LIMIT:
        torch.cuda.reset_peak_memory_stats(patient.device)
        try:
            _gradient(patient.model, _tiled(patient.few, batch))
        except torch.OutOfMemoryError:
            break
        used = torch.cuda.max_memory_allocated(patient.device) - before
        if used > SHARE * free:
            break
        safe, peak, batch = batch, used, 2 * batch
    torch.cuda.empty_cache()
    return safe, f"measured peak {_bytes(peak)} at batch {safe}, {_bytes(free)} free"


def _by_estimate(patient: Patient) -> tuple[int | None, str]:
    """From the bytes that autograd keeps per sample. Trying until memory runs out would end the process here."""
    one, five = (kept_bytes(patient.model, _tiled(patient.few, count)) for count in (1, 5))
    per_sample = OVERHEAD * max((five - one) / 4, patient.few[0].nbytes)
    measured = f"about {_bytes(per_sample)} per sample (what autograd keeps, doubled)"
    free = free_bytes()
    if free is None:
        return None, f"{measured}; free memory is not known on this device"
    safe = 1
    while safe < LIMIT and 2 * safe * per_sample <= SHARE * free:
        safe *= 2
    return safe, f"{measured}, {_bytes(free)} free"


def kept_bytes(model: nn.Module, inputs: Tensor) -> int:
    """Bytes of the tensors that one forward pass keeps for the input gradient, weights left out."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # Held until all are counted, so that no address is used twice.
        answer = model(inputs.clone().requires_grad_(inputs.is_floating_point()))
    del answer
    return sum(kept.values())


def free_bytes() -> int | None:
    """Memory that the system can still give; None where it does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def speed(patient: Patient, batch: int) -> Speed:
    """Seconds per sample at ``batch``, on a CPU at most :data:`TIMED`: the best of a few repeats.

    Raises:
        MeasurementError: the model raised.
    """
    count = batch if patient.device.type == "cuda" else min(batch, TIMED)
    inputs = _tiled(patient.few, count)
    model = patient.model

    def forward() -> None:
        with torch.no_grad():
            model(inputs)

    with one_line("the model"):
        plain = _seconds(forward, patient.device) / count
        whole = _seconds(lambda: _gradient(model, inputs), patient.device) / count if patient.images else plain
        training = _seconds(lambda: _train(model, inputs), patient.device) / count
    return Speed(plain, max(whole - plain, 0.0), training)


def _seconds(action: Callable[[], None], device: torch.device) -> float:
    best, spent = float("inf"), 0.0
    for number in range(6):
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken = time.perf_counter() - started
        if number or taken > 3 * PATIENCE:  # the first pass warms up, unless it is all that can be afforded
            best = min(best, taken)
        spent += taken
        if (number > 1 and spent > PATIENCE) or taken > 3 * PATIENCE:
            break
    return best


def _gradient(model: nn.Module, inputs: Tensor) -> None:
    with torch.enable_grad():
        asked = inputs.clone().requires_grad_(inputs.is_floating_point())
        logits = model(asked)
        if logits.requires_grad:
            torch.autograd.grad(logits.float().logsumexp(-1).sum(), asked, allow_unused=True)


def _train(model: nn.Module, inputs: Tensor) -> None:
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            logits = model(inputs)
            if logits.requires_grad:
                torch.autograd.grad(logits.float().logsumexp(-1).sum(), parameters, allow_unused=True)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)


def _tiled(inputs: Tensor, count: int) -> Tensor:
    """``count`` samples, repeated as needed."""
    return inputs[torch.arange(count, device=inputs.device) % len(inputs)]


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
