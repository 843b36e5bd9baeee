"""Conversion of task arrays to model inputs, and batching."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.models.shape import PAD

Rows = slice | Tensor


def to_inputs(array: NDArray[np.generic], device: torch.device | str) -> Tensor:
    """Model inputs on ``device``: uint8 images (0 to 255) or float images in [0, 1] become float32 in [0, 1], token ids
    become int64."""
    whole = torch.tensor(array).to(device)  # a copy: the array may be mapped from a file
    if whole.is_floating_point():
        return whole.float()
    return whole.float() / 255 if array.dtype == np.uint8 else whole.long()


def text_lengths(tokens: Tensor) -> Tensor:
    """Return the length of each text without padding, int64 (N,), for token ids (N, L) padded on the right."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return ((tokens != PAD) * places).amax(1) if tokens.numel() else tokens.new_zeros(len(tokens), dtype=torch.int64)


def trim_padding(tokens: Tensor) -> Tensor:
    """Token ids (N, L) without trailing columns that hold only padding; at least one column is kept."""
    longest = int(text_lengths(tokens).max()) if len(tokens) else 0
    return tokens[:, : max(longest, 1)]


def batches(inputs: Tensor, size: int) -> Iterator[tuple[Rows, Tensor]]:
    """Yield batches of at most ``size`` samples, each with the row indices of its samples in ``inputs``.

    Images keep their order. Texts are sorted by length, longest first, and trimmed: this keeps padding low and puts the
    largest batch first.
    """
    if inputs.is_floating_point():
        for start in range(0, len(inputs), size):
            rows = slice(start, start + size)
            yield rows, inputs[rows]
        return
    for part in torch.split(torch.argsort(text_lengths(inputs), descending=True, stable=True), size):
        if len(part):
            yield part, trim_padding(inputs[part])
