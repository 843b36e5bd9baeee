"""Number of samples in one forward pass: as many as fit, fewer when memory runs out. Cannot change a result."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.engine.device_errors import free_cached_memory, is_out_of_memory
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.stressors.model_access import ModelAccess

LIMIT = 4096
"""Largest batch that is tried."""
SHARE = 0.5
"""Share of the free memory that a safe batch may take."""
OVERHEAD = 2.0
"""Memory of a backward pass over what autograd keeps for it: gradients of the activations, and scratch space."""
ENOUGH = 256
"""Batch size above which a CPU is no faster."""
FEW = 8
"""Samples on which the batch size and the randomness of a model are determined."""
DRAWS = 20
"""Forward passes whose mean is one output of a randomised model (Croce & Hein 2020 take 20 for such models)."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class BatchSize:
    """Batch size of one model. It shrinks when memory runs out, and stays small."""

    size: int
    draws: int = 1
    """Forward passes whose mean is one output of the model; more than 1 for a randomised model."""

    def beside(self, other: "BatchSize") -> "BatchSize":
        """Batch of two models that run in turns: the smaller size, and the larger number of passes."""
        return BatchSize(min(self.size, other.size), max(self.draws, other.draws))

    def fit(self, access: ModelAccess, work: Callable[[ModelAccess], T]) -> T:
        """Do the work with access to the model; when memory runs out, do it again in batches of half the size.

        Raises:
            MemoryError, RuntimeError: memory ran out with one sample, or whatever else the work raises.
        """
        while True:
            try:
                return work(replace(access, batch_size=min(access.batch_size, self.size)))
            except (MemoryError, RuntimeError) as error:
                if self.size == 1 or not is_out_of_memory(error):
                    raise
            # Outside the handler: the exception would keep the tensors that filled the memory alive.
            self.size //= 2
            _log.warning("memory ran out: going on with batches of %d", self.size)
            free_cached_memory(next(access.model.parameters(), torch.empty(0)).device)


class BatchSizes:
    """Batch size of each model of a task, determined when it is first needed.

    Args:
        wanted: samples per forward pass; None: as many as are fast and fit.
        device: where the models are.
        sharers: processes that share the memory of the device.
    """

    def __init__(self, wanted: int | None, device: torch.device, *, sharers: int = 1) -> None:
        self._wanted, self._device, self._sharers = wanted, device, sharers
        self._known: WeakKeyDictionary[nn.Module, BatchSize] = WeakKeyDictionary()
        self._draws: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()

    def of(self, model: nn.Module, samples: NDArray[Any]) -> BatchSize:
        """Batch size of a model on ``samples``: images or token ids, as tasks give them."""
        if model not in self._known:
            draws = self.draws(model, samples)
            with as_measurement_error("first forward passes"):
                inputs = to_inputs(samples[:FEW], self._device)
                size = batch_size_for(self._wanted, model, inputs, sharers=self._sharers)
                self._known[model] = BatchSize(size, draws)
        return self._known[model]

    def draws(self, model: nn.Module, samples: NDArray[Any]) -> int:
        """Forward passes whose mean is one output of a model: 1, or ``DRAWS`` if its answers are random."""
        if model not in self._draws:
            # The first samples suffice.
            with as_measurement_error("first forward passes"):
                inputs = to_inputs(samples[:FEW], self._device)
                self._draws[model] = DRAWS if len(inputs) and is_random(model, inputs) else 1
        return self._draws[model]


@torch.no_grad()
def is_random(model: nn.Module, inputs: Tensor) -> bool:
    """Whether five forward passes over the same inputs differ.

    They differ by another class, or by normalised logits more than 1e-4 apart in L2 (AutoAttack's own thresholds).
    """
    first, *others = (model(inputs).float() for _ in range(5))
    direction = functional.normalize(first, dim=-1)
    return any(
        bool((other.argmax(-1) != first.argmax(-1)).any())
        or float((functional.normalize(other, dim=-1) - direction).norm(dim=-1).max()) > 1e-4
        for other in others
    )


def batch_size_for(wanted: int | None, model: nn.Module, inputs: Tensor, *, sharers: int = 1) -> int:
    """The wanted batch size. None: on CUDA the largest safe one, elsewhere a safe one that is large enough to be fast.

    Token ids have no input gradient, so the memory of one is unknown: their batch is ``ENOUGH`` until memory runs
    out.
    """
    if wanted is not None:
        return wanted
    if not inputs.is_floating_point() or not len(inputs):
        return ENOUGH
    try:
        with as_measurement_error("memory"):
            safe, _ = safe_batch(model, inputs, sharers)
    except MeasurementError:  # attacks that need gradients report it
        _log.debug("no gradient, so its memory is not known", exc_info=True)
        return ENOUGH
    limit = LIMIT if inputs.is_cuda else ENOUGH
    return limit if safe is None else max(1, min(safe, limit))


def safe_batch(model: nn.Module, inputs: Tensor, sharers: int = 1) -> tuple[int | None, str]:
    """The largest power of two whose input gradient takes at most half of the free memory, and how it was found.

    Args:
        model: the model, on the device of the inputs.
        inputs: a few samples.
        sharers: processes that share the memory of the device, among which the free memory is divided.

    Returns:
        Batch size, None if the device does not say how much memory is free; and how it was found, as text.
    """
    share = SHARE / sharers
    return batch_by_trial(model, inputs, share) if inputs.is_cuda else _by_estimate(model, inputs, share)


def batch_by_trial(model: nn.Module, inputs: Tensor, share: float = SHARE) -> tuple[int | None, str]:
    """Double the batch until its peak passes the share of free memory, or memory runs out."""
    free, _ = torch.cuda.mem_get_info(inputs.device)
    before = torch.cuda.memory_allocated(inputs.device)
    safe, batch, peak = 0, 1, 0
    while batch <= LIMIT:
        torch.cuda.reset_peak_memory_stats(inputs.device)
        try:
            input_gradient(model, tiled(inputs, batch))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            break
        used = torch.cuda.max_memory_allocated(inputs.device) - before
        if used > share * free:
            break
        safe, peak, batch = batch, used, 2 * batch
    torch.cuda.empty_cache()
    return safe, f"measured peak {_bytes(peak)} at batch {safe}, {_bytes(free)} free"


def _by_estimate(model: nn.Module, inputs: Tensor, share: float) -> tuple[int | None, str]:
    """Estimate the batch from the bytes that autograd keeps per sample: on a CPU, running out ends the process."""
    one, five = (kept_bytes(model, tiled(inputs, count)) for count in (1, 5))
    per_sample = OVERHEAD * max((five - one) / 4, inputs[0].nbytes)
    measured = f"about {_bytes(per_sample)} per sample (what autograd keeps, doubled)"
    free = free_bytes()
    if free is None:
        return None, f"{measured}; free memory is not known on this device"
    safe = 1
    while safe < LIMIT and 2 * safe * per_sample <= share * free:
        safe *= 2
    return safe, f"{measured}, {_bytes(free)} free"


def kept_bytes(model: nn.Module, inputs: Tensor) -> int:
    """Bytes of the tensors that one forward pass keeps for the input gradient, without the weights."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        # The output is held until all tensors are counted, so that no address is used twice.
        answer = model(inputs.clone().requires_grad_(inputs.is_floating_point()))
    del answer
    return sum(kept.values())


def free_bytes() -> int | None:
    """Free memory of the system in bytes; None where it does not say."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def input_gradient(model: nn.Module, inputs: Tensor) -> None:
    """Run one forward pass and one input gradient, as an attack does."""
    with torch.enable_grad():
        asked = inputs.clone().requires_grad_(inputs.is_floating_point())
        logits = model(asked)
        if logits.requires_grad:
            torch.autograd.grad(logits.float().logsumexp(-1).sum(), asked, allow_unused=True)


def tiled(inputs: Tensor, count: int) -> Tensor:
    """Repeat samples until there are ``count`` of them."""
    return inputs[torch.arange(count, device=inputs.device) % len(inputs)]


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
