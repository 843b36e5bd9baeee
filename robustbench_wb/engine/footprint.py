"""What a subject costs whoever runs it: floating-point operations of an answer, and bytes of an input gradient.

Both are counted on the CPU, whatever the device of the run, for one sample: a grey image, or a text of the longest
length. They are properties of the architecture, the same on every machine with the same release of PyTorch.
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
from robustbench_wb.models.shape import ImageShape, Shape

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Footprint:
    """Costs that do not depend on what is measured; 0 where a subject cannot be asked so."""

    flops: int = 0
    """Floating-point operations of one forward pass of one sample: 2 per multiply-add of matrix products,
    convolutions and attention. What is done number by number (norms, activations, softmax, sums) is not counted."""
    peak_memory: int = 0
    """Bytes of all tensors that are alive at once at the peak of one forward pass and the input gradient of one sample,
    weights included. Scratch space inside an operator, and what an allocator holds in reserve, are not in it."""


def footprint(model: nn.Module, shape: Shape) -> Footprint:
    """Measure a model on the CPU. Its modes and torch's generator are put back; a model that raises has no footprint.

    Args:
        model: on the CPU; with its weights or without.
        shape: of the inputs that it takes.
    """
    sample = _sample(shape)
    modes = [(module, module.training) for module in model.modules()]
    frozen = [(tensor, tensor.requires_grad) for tensor in model.parameters()]
    try:
        with as_measurement_error("footprint"), torch.random.fork_rng(devices=[]):
            model.eval().requires_grad_(False)
            return Footprint(forward_flops(model, sample), gradient_bytes(model, sample))
    except HarnessError:  # the run itself will say what is wrong with the model
        _log.debug("no footprint", exc_info=True)
        return Footprint()
    finally:
        for module, training in modes:
            module.training = training
        for tensor, wanted in frozen:
            tensor.requires_grad_(wanted)


def forward_flops(model: nn.Module, inputs: Tensor) -> int:
    """Floating-point operations of one forward pass, as defined by :class:`Footprint`."""
    tally = _Flops()
    with torch.no_grad(), tally:
        model(inputs)
    return tally.flops


def gradient_bytes(model: nn.Module, inputs: Tensor) -> int:
    """Bytes alive at the peak of one pass forward and back, as defined by :class:`Footprint`.

    Where the input has no gradient, as token ids, the forward pass alone.
    """
    tally = _Alive((*model.parameters(), *model.buffers(), inputs))
    with _no_garbage_collection(), tally:
        input_gradient(model, inputs)
    return tally.peak


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of PyTorch
    """Sees every operator that runs."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: to hide a mode from the compiler PyTorch imports all of it, which takes seconds. Nothing here is
        compiled."""
        return False


class _Flops(_Mode):
    """Adds up what PyTorch's formulas say of the operators. Its own counter would do, but takes seconds to start."""

    # PyTorch has no formula for the fused attention of CPUs; it is that of all others.
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
            self.flops += int(formula(*args, **(kwargs or {}), out_val=made))
        return made


class _Alive(_Mode):
    """Adds up the storages that operators make, until they are freed."""

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
    """What reference cycles hold is freed at times that depend on all the rest of the process: here, never."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _sample(shape: Shape) -> Tensor:
    if isinstance(shape, ImageShape):
        return torch.full((1, shape.channels, shape.height, shape.width), 0.5)
    return torch.full((1, shape.documents * shape.length), shape.vocabulary - 1)
