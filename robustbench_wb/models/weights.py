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


def other_state(model: nn.Module) -> bytes:
    """State of a model that is no tensor, to be compared; empty without such state."""
    found = {name: value for name, value in model.state_dict().items() if not isinstance(value, Tensor)}
    try:
        return pickle.dumps(found) if found else b""
    except (pickle.PicklingError, TypeError, AttributeError):
        return repr(found).encode()


def put_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load tensors into a model; state that is no tensor stays its own.

    Raises:
        RuntimeError: a name or a shape does not fit.
    """
    own = {name: value for name, value in model.state_dict().items() if not isinstance(value, Tensor)}
    model.load_state_dict({**own, **tensors})


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
