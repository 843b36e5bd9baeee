"""Digest of model weights."""

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor


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
