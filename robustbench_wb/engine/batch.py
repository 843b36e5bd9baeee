"""How many samples go through a subject at once: as many as fit, fewer when memory runs out. Changes no result."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.stressors.stressor import SampleBatch

LIMIT = 4096
"""No larger batch is tried."""
SHARE = 0.5
"""Share of the free memory that a safe batch may take."""
OVERHEAD = 2.0
"""Backward needs about as much again as what is kept for it: gradients of the activations, and scratch space."""
ENOUGH = 256
"""On a CPU a larger batch is no faster."""
FEW = 8
"""Samples that are looked at to find out how a subject is to be asked."""
DRAWS = 20
"""Passes whose mean is one answer of a random subject (Croce & Hein 2020 use as many in their variant for such)."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class BatchSize:
    """The batch of one subject. It shrinks when memory runs out, and stays small."""

    size: int
    draws: int = 1
    """Passes whose mean is one answer of the subject."""

    def beside(self, other: "BatchSize") -> "BatchSize":
        """How two subjects are asked together: no more samples at once, and no fewer passes, than either needs."""
        return BatchSize(min(self.size, other.size), max(self.draws, other.draws))

    def fit(self, job: SampleBatch, work: Callable[[SampleBatch], T]) -> T:
        """Do the work; when memory runs out, do it again in batches of half the size.

        Raises:
            MemoryError, RuntimeError: memory ran out with one sample, or whatever else the work raises.
        """
        while True:
            try:
                return work(replace(job, batch=min(job.batch, self.size)))
            except (MemoryError, RuntimeError) as error:
                if self.size == 1 or not _out_of_memory(error):
                    raise
            # Outside the handler: the exception would keep the tensors that filled the memory alive.
            self.size //= 2
            _log.warning("memory ran out: going on with batches of %d", self.size)
            if job.inputs.is_cuda:
                torch.cuda.empty_cache()


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def batch_for(wanted: int | None, model: nn.Module, samples: NDArray[Any], device: torch.device) -> BatchSize:
    """How a subject is asked, found out with the first of its samples: images or token ids, as tasks give them."""
    inputs = to_inputs(samples[:FEW], device)
    draws = DRAWS if len(inputs) and is_random(model, inputs) else 1
    return BatchSize(_size(wanted, model, inputs), draws)


@torch.no_grad()
def is_random(model: nn.Module, inputs: Tensor) -> bool:
    """Whether five passes over the same inputs give different answers.

    Another class, or normalised logits further apart than 1e-4 in L2 (the thresholds of AutoAttack's own check).
    """
    first, *others = (model(inputs).float() for _ in range(5))
    direction = functional.normalize(first, dim=-1)
    return any(
        bool((other.argmax(-1) != first.argmax(-1)).any())
        or float((functional.normalize(other, dim=-1) - direction).norm(dim=-1).max()) > 1e-4
        for other in others
    )


def _size(wanted: int | None, model: nn.Module, inputs: Tensor) -> int:
    """The wanted batch; None: on CUDA the largest safe one, elsewhere one that is large enough to be fast, if safe.

    Of token ids no gradient is taken here, so that what they need is not known: :data:`ENOUGH`, until memory runs out.
    """
    if wanted is not None:
        return wanted
    if not inputs.is_floating_point() or not len(inputs):
        return ENOUGH
    try:
        with as_measurement_error("memory"):
            safe, _ = safe_batch(model, inputs)
    except MeasurementError:  # the attacks that need gradients will say so
        _log.debug("no gradient, so its memory is not known", exc_info=True)
        return ENOUGH
    limit = LIMIT if inputs.is_cuda else ENOUGH
    return limit if safe is None else max(1, min(safe, limit))


def safe_batch(model: nn.Module, inputs: Tensor) -> tuple[int | None, str]:
    """The largest power of two whose input gradient takes at most half of the free memory, and how that is known.

    ``inputs`` are a few samples. None: the device does not say how much memory is free.
    """
    return batch_by_trial(model, inputs) if inputs.is_cuda else _by_estimate(model, inputs)


def batch_by_trial(model: nn.Module, inputs: Tensor) -> tuple[int | None, str]:
    """Doubled until the peak passes the share of free memory, or memory runs out."""
    free, _ = torch.cuda.mem_get_info(inputs.device)
    before = torch.cuda.memory_allocated(inputs.device)
    safe, batch, peak = 0, 1, 0
    while batch <= LIMIT:
        torch.cuda.reset_peak_memory_stats(inputs.device)
        try:
            input_gradient(model, tiled(inputs, batch))
        except torch.OutOfMemoryError:
            break
        used = torch.cuda.max_memory_allocated(inputs.device) - before
        if used > SHARE * free:
            break
        safe, peak, batch = batch, used, 2 * batch
    torch.cuda.empty_cache()
    return safe, f"measured peak {_bytes(peak)} at batch {safe}, {_bytes(free)} free"


def _by_estimate(model: nn.Module, inputs: Tensor) -> tuple[int | None, str]:
    """From the bytes that autograd keeps per sample. Trying until memory runs out would end the process here."""
    one, five = (kept_bytes(model, tiled(inputs, count)) for count in (1, 5))
    per_sample = OVERHEAD * max((five - one) / 4, inputs[0].nbytes)
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


def input_gradient(model: nn.Module, inputs: Tensor) -> None:
    """One pass forward and back, as a search makes it."""
    with torch.enable_grad():
        asked = inputs.clone().requires_grad_(inputs.is_floating_point())
        logits = model(asked)
        if logits.requires_grad:
            torch.autograd.grad(logits.float().logsumexp(-1).sum(), asked, allow_unused=True)


def tiled(inputs: Tensor, count: int) -> Tensor:
    """``count`` samples, repeated as needed."""
    return inputs[torch.arange(count, device=inputs.device) % len(inputs)]


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
