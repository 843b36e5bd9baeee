"""From the arrays of a task to what a model takes, and in which batches."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.models.shape import PAD

Rows = slice | Tensor


def to_inputs(array: NDArray[np.generic], device: torch.device | str) -> Tensor:
    """Images, uint8 0..255, to float32 in [0, 1]; token ids to int64. On the device."""
    whole = torch.tensor(array).to(device)  # a copy: the array may be mapped from a file
    return whole.float() / 255 if array.dtype == np.uint8 else whole.long()


def lengths(tokens: Tensor) -> Tensor:
    """How far the real tokens reach in each row of (N, L) ids, int64."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != PAD) * places).amax(1) if tokens.numel() else tokens.new_zeros(len(tokens), dtype=torch.int64)


def trim(tokens: Tensor) -> Tensor:
    """The ids without columns that hold padding only; at least one column stays."""
    longest = int(lengths(tokens).max()) if len(tokens) else 0
    return tokens[:, : max(longest, 1)]


def batches(inputs: Tensor, size: int) -> Iterator[tuple[Rows, Tensor]]:
    """Inputs in batches of at most ``size``, each with the rows it holds.

    Images come in their order. Texts come longest first and are trimmed, so that a batch holds hardly any padding and
    the largest one comes first.
    """
    if inputs.is_floating_point():
        for start in range(0, len(inputs), size):
            rows = slice(start, start + size)
            yield rows, inputs[rows]
        return
    for part in torch.split(torch.argsort(lengths(inputs), descending=True, stable=True), size):
        if len(part):
            yield part, trim(inputs[part])
