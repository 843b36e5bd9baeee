"""Cost of running a model: floating-point operations per forward pass, and peak memory per input gradient.

Both are counted on the CPU, whatever the device of the run, for one sample: a grey image, or a text of the largest
length. They are properties of the architecture, equal on all machines with the same release of PyTorch.
"""

import gc
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop

from robustbench_wb.engine.batch import input_gradient
from robustbench_wb.errors import HarnessError, as_measurement_error
from robustbench_wb.models.accepted_module import freeze
from robustbench_wb.models.shape import ImageShape, Shape

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Footprint:
    """Cost of one sample of a model. Both numbers are 0 if the model raised."""

    flops: int = 0
    """Floating-point operations of one forward pass of one sample: 2 per multiply-add of matrix products,
    convolutions and attention, 8 where the numbers are complex. Elementwise operations, reductions (norms, activations,
    softmax) and Fourier transforms are not counted."""
    peak_memory: int = 0
    """Peak bytes of all tensors that exist at the same time in one forward pass and the input gradient of one sample,
    weights included. Scratch space inside an operator and reserves of an allocator are not included."""


def measure_footprint(model: nn.Module, shape: Shape) -> Footprint:
    """Measure the cost of a model on the CPU. Training modes and torch's random generator are restored afterwards.

    Args:
        model: model on the CPU, trained or not.
        shape: shape of the inputs that the model takes.

    Returns:
        The cost, or zeros if the model raised.
    """
    sample = _sample(shape)
    modes = [(module, module.training) for module in model.modules()]
    frozen = [(tensor, tensor.requires_grad) for tensor in model.parameters()]
    try:
        with as_measurement_error("footprint"), torch.random.fork_rng(devices=[]):
            freeze(model, "cpu")
            return Footprint(flops=forward_flops(model, sample), peak_memory=gradient_bytes(model, sample))
    except HarnessError:  # the run reports what is wrong with the model
        _log.debug("no footprint", exc_info=True)
        return Footprint()
    finally:
        for module, training in modes:
            module.training = training
        for tensor, wanted in frozen:
            tensor.requires_grad_(wanted)


def forward_flops(model: nn.Module, inputs: Tensor) -> int:
    """Floating-point operations of one forward pass of a batch, counted as in ``Footprint.flops``."""
    tally = _Flops()
    with torch.no_grad(), tally:
        model(inputs)
    return tally.flops


def gradient_bytes(model: nn.Module, inputs: Tensor) -> int:
    """Peak bytes of one forward pass and input gradient of a batch, counted as in ``Footprint.peak_memory``.

    Inputs without a gradient, such as token ids, are measured in the forward pass alone.
    """
    tally = _Alive((*model.parameters(), *model.buffers(), inputs))
    with _no_garbage_collection(), tally:
        input_gradient(model, inputs)
    return tally.peak


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of PyTorch
    """Dispatch mode that is called for every operator that runs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Always false: to hide a mode from its compiler, PyTorch imports the whole compiler, which takes seconds.
        No code here is compiled."""
        return False


class _Flops(_Mode):
    """Sum of PyTorch's formulas for the operators that run. PyTorch's own counter does this too, but starts slowly."""

    # PyTorch has no formula for the fused attention of CPUs; the one for other devices holds.
    _FORMULAS: Final = {**flop_registry, torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop}

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of PyTorch
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        formula = self._FORMULAS.get(func.overloadpacket)
        if formula is not None:
            real = 4 if isinstance(made, Tensor) and made.is_complex() else 1  # real multiply-adds in one
            self.flops += real * int(formula(*args, **(kwargs or {}), out_val=made))
        return made


class _Alive(_Mode):
    """Sum of the bytes of all storages that operators create and that are not freed yet, and its peak."""

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of PyTorch
        self.alive = self.peak = 0
        self._known: dict[int, int] = {}
        for tensor in given:
            self._add(tensor)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor)
        return made

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            return
        self._known[place] = size
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._free, place).atexit = False

    def _free(self, place: int) -> None:
        self.alive -= self._known.pop(place, 0)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch garbage collection off: when it frees reference cycles depends on the rest of the process."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _sample(shape: Shape) -> Tensor:
    """A batch of one: a grey image, or a text of the largest length."""
    if isinstance(shape, ImageShape):
        return torch.full((1, shape.channels, shape.height, shape.width), 0.5)
    return torch.full((1, shape.documents * shape.length), shape.vocabulary - 1)
