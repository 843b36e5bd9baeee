"""Somebody's model in memory behind the rule of this package: images in [0, 1] or token ids in, float logits out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustbench_wb.errors import HarnessError, SubjectError, UsageError, first_line
from robustbench_wb.models.weights import weights_dtype

Logits = Callable[[Tensor], Tensor]
"""A model, or any function from a batch to logits (B, classes)."""


class Normalise(nn.Module):
    """``(x - mean) / std`` per channel, for images (B, C, H, W) in [0, 1]."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images."""
        return (images - self.mean.to(images.device)) / self.std.to(images.device)


def normalise(mean: Sequence[float] | float, std: Sequence[float] | float, channels: int) -> Normalise:
    """Normalisation by a mean and a standard deviation per channel, or one number for all channels.

    Raises:
        UsageError: there is neither one number nor one per channel, or a deviation is not above zero.
    """
    found = []
    for name, value in (("mean", mean), ("std", std)):
        try:
            numbers = torch.as_tensor(value, dtype=torch.float32).flatten()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"{name}: give one number, or one per channel ({channels}), not {value!r}", name
            ) from error
        if len(numbers) not in (1, channels) or not bool(torch.isfinite(numbers).all()):
            raise UsageError(f"{name} has {len(numbers)} numbers; give one, or one per channel ({channels})", name)
        found.append(numbers.expand(channels).reshape(1, channels, 1, 1).clone())
    if float(found[1].min()) <= 0:
        raise UsageError(f"std must be above zero, got {found[1].flatten().tolist()}", "std")
    return Normalise(found[0], found[1])


class WrappedModel(nn.Module):
    """A model or function with its preprocessing inside, so that attacks work on the inputs before it."""

    def __init__(self, model: Logits, before: Logits | None) -> None:
        super().__init__()
        self.model, self.before = model, before
        self._dtype = weights_dtype(self) or torch.float32

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, classes); the field ``logits`` of the answer where the model returns more than a tensor."""
        given = inputs if self.before is None else self.before(inputs)
        if given.is_floating_point():
            given = given.to(self._dtype)
        answer: object = self.model(given)
        return cast("Tensor", getattr(answer, "logits", answer))

    def get_input_embeddings(self) -> nn.Module | None:
        """Table of word vectors that the model names, as models of transformers do; None if it names none."""
        ask = getattr(self.model, "get_input_embeddings", None)
        return ask() if callable(ask) else None


@torch.no_grad()
def count_classes(model: nn.Module, inputs: Tensor) -> int:
    """Number of classes, from the logits of one or two inputs.

    Raises:
        SubjectError: the model raised, or its answer is not a float tensor (B, classes) with two classes or more.
    """
    size = tuple(inputs.shape)
    try:
        logits: object = model(inputs)
    except HarnessError:
        raise
    except Exception as error:
        raise SubjectError(
            f"model: raised {type(error).__name__} on inputs of shape {size}: {first_line(error)}"
        ) from error
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise SubjectError(f"model: returned {kind} for inputs of shape {size}; expected float logits (N, classes)")
    if logits.ndim != 2 or len(logits) != len(inputs) or logits.shape[1] < 2:
        shape = tuple(logits.shape)
        raise SubjectError(f"model: returned shape {shape} for inputs of shape {size}; expected logits (N, classes)")
    return logits.shape[1]


def device_of(model: Logits) -> torch.device:
    """Device of the first parameter or buffer of a module; the CPU for functions and modules without any."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    return tensors[0].device if tensors else torch.device("cpu")


def refuse_incomplete(model: nn.Module) -> None:
    """Refuse a module whose parameters have no values.

    Raises:
        UsageError: parameters are lazy, or on the meta device.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        raise UsageError("model: lazy parameters have no shape yet; run the model once on a batch", "model")
    if any(tensor.is_meta for tensor in tensors):
        raise UsageError("model: parameters on the meta device have no values; load them first", "model")


@contextmanager
def borrowed(model: Logits | None, device: torch.device) -> Iterator[None]:
    """Put a module on a device, in evaluation mode, with frozen parameters; put all of it back at the end.

    Modes of every submodule, ``requires_grad``, buffers and the device come back as they were, and buffers that the
    model registered meanwhile are gone. Functions are left alone.

    Raises:
        UsageError: the module lies on several devices and would have to move.
    """
    if not isinstance(model, nn.Module):
        yield
        return
    before = list({tensor.device for tensor in (*model.parameters(), *model.buffers())})
    moves = bool(before) and device not in before
    if moves and len(before) > 1:
        raise UsageError(f"device: the model lies on {len(before)} devices and is not moved to {device}", "device")
    # A frozen script of TorchScript has no modes.
    modes = [(module, module.training) for module in model.modules() if hasattr(module, "training")]
    frozen = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    plain = [part for part in model.modules() if not isinstance(part, torch.jit.ScriptModule)]
    registered = [(part, dict(part._buffers)) for part in plain]
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        if moves:
            model.to(device)
        model.eval()
        for parameter, _ in frozen:  # a script of TorchScript cannot do it as a whole
            parameter.requires_grad_(False)
        yield
    finally:
        if moves:
            model.to(before[0])
        for module, training in modes:
            module.training = training
        for parameter, wanted in frozen:
            parameter.requires_grad_(wanted)
        with torch.no_grad():
            for part, tensors in registered:  # the model may have registered or replaced some
                part._buffers.clear()
                part._buffers.update(tensors)
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
