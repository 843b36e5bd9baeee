"""Modules of users in the form that is trained and measured: on their own, complete, with plain parameters."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustbench_wb.errors import SubjectError, error_text
from robustbench_wb.models.output_check import example_inputs
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.models.weights import weights_dtype


class ScriptedModel(nn.Module):
    """A module of TorchScript, which lacks methods of other modules. State is that of the script."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.script = script
        for part in script.modules():
            if not hasattr(part, "training"):  # a frozen script has no modes
                part.training = False

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the script."""
        logits: Tensor = self.script(inputs)
        return logits


def accept_module(module: nn.Module, shape: Shape, name: str) -> nn.Module:
    """Return a module without wrappers, or refuse it.

    The module inside ``DataParallel`` and ``torch.compile`` computes the same function on one device. Lazy parameters
    get their shape from one forward pass over an example. Scripts of TorchScript are wrapped.

    Raises:
        SubjectError: parameters have no values (meta device), or lazy ones cannot be made; ``name`` is in the message.
    """
    while (inner := _inside(module)) is not None:
        module = inner
    if isinstance(module, torch.jit.ScriptModule):
        module = ScriptedModel(module)
    if any(is_lazy(tensor) for tensor in _tensors(module)):
        _materialise(module, shape, name)
    if any(tensor.is_meta for tensor in _tensors(module)):
        raise SubjectError(f"{name}: parameters on the meta device have no values; create or load them on the CPU")
    return module


def freeze(module: nn.Module, device: torch.device | str) -> None:
    """Put a module on a device, in evaluation mode, with frozen parameters.

    Each method is called on its own: those that a user has replaced may return nothing.
    """
    module.to(device)
    module.eval()
    module.requires_grad_(False)


def needs_cast(module: nn.Module, shape: Shape) -> bool:
    """Whether a module takes images in the number format of its weights, such as bfloat16, and none in float32."""
    dtype = weights_dtype(module)
    if dtype in (None, torch.float32) or not isinstance(shape, ImageShape):
        return False
    images = example_inputs(shape)
    with _evaluating(module):
        return not _answers(module, images) and _answers(module, images.to(dtype))


def refuse_untrainable(module: nn.Module, name: str) -> None:
    """Refuse to train a module without trainable parameters.

    Raises:
        SubjectError: there is no parameter that requires a gradient.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise SubjectError(f"{name}: no parameter requires a gradient, so there is nothing to train; use recipe 'none'")


def _inside(module: nn.Module) -> nn.Module | None:
    """Module inside a wrapper of torch that changes only where or how fast it runs."""
    found: object = None
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        found = module.module
    elif type(module).__name__ == "OptimizedModule":  # torch.compile; importing its class takes seconds
        found = getattr(module, "_orig_mod", None)
    return found if isinstance(found, nn.Module) else None


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _materialise(module: nn.Module, shape: Shape, name: str) -> None:
    """Run one forward pass in evaluation mode, in which lazy parameters take their shapes."""
    try:
        with _evaluating(module):
            module(example_inputs(shape))
    except Exception as error:
        raise SubjectError(f"{name}: lazy parameters cannot be made: {error_text(error)}") from error
    if any(is_lazy(tensor) for tensor in _tensors(module)):
        raise SubjectError(f"{name}: some lazy parameters are not used in a forward pass; remove them")


def _answers(module: nn.Module, inputs: Tensor) -> bool:
    """Whether a forward pass raises nothing."""
    with suppress(Exception):
        module(inputs.clone())
        return True
    return False


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode without gradients; put the modes of all its parts back at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training
