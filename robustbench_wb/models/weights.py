"""Weights of models, and their digest."""

import hashlib
import json
import pickle
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """State of a model without what is no tensor (``get_extra_state``), which its code makes."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def weights_dtype(model: nn.Module) -> torch.dtype | None:
    """Number format of the first parameter with fractions; None without such a parameter."""
    return next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), None)


def other_state(model: nn.Module) -> bytes:
    """State of a model that is no tensor, to be compared; empty without such state."""
    found = {name: value for name, value in model.state_dict().items() if not isinstance(value, Tensor)}
    try:
        return pickle.dumps(found) if found else b""
    except (pickle.PicklingError, TypeError, AttributeError):
        return repr(found).encode()


def put_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors into a model, which may come from another copy of the model that ran already.

    State that is no tensor stays its own. A buffer that the model registers or replaces in its forward pass is not
    there yet, or has another shape or type: it is registered first.

    Raises:
        RuntimeError: a name or a shape does not fit.
    """
    own = model.state_dict()
    for name, tensor in tensors.items():
        before = own.get(name)
        if isinstance(before, Tensor) and (before.shape, before.dtype) == (tensor.shape, tensor.dtype):
            continue
        place, _, leaf = name.rpartition(".")
        part = dict(model.named_modules()).get(place)
        if part is not None and (leaf in part._buffers or not hasattr(part, leaf)):
            device = before.device if isinstance(before, Tensor) else "cpu"
            part.register_buffer(leaf, tensor.detach().clone().to(device))
    model.load_state_dict({**{name: value for name, value in own.items() if not isinstance(value, Tensor)}, **tensors})


def weights_digest(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) over (name, dtype, shape, bytes) of tensors, sorted by name; device and strides do not count."""
    total = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().resolve_conj().resolve_neg().contiguous()
        header = [name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        total.update(json.dumps(header).encode() + b"\n")
        # As bytes, because numpy has no bfloat16; flat, because a scalar has no last axis to view.
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
