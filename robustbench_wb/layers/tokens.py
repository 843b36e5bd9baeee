"""What all measures share: which tokens are real, and unit length without a division by zero."""

import torch
from torch import Tensor


def counts(x: Tensor, keep: Tensor | None) -> Tensor:
    """Real tokens of each sample, (B,), in the number format of ``x`` (B, ..., N, d); CLS counts.

    ``keep`` is bool, (B, N), False for padding; None when all tokens are real. So everywhere in this room.
    """
    if keep is None:
        return torch.full((len(x),), float(x.shape[-2]), dtype=x.dtype, device=x.device)
    return keep.sum(dim=1).to(x.dtype)


def real(x: Tensor, keep: Tensor | None) -> Tensor:
    """``x`` (B, ..., N, d) with zeros at padding, whatever stood there, NaN included."""
    if keep is None:
        return x
    between = (1,) * (x.dim() - 3)
    return x.masked_fill(~keep.view(len(keep), *between, keep.shape[1], 1), 0.0)


def unit(x: Tensor) -> Tensor:
    """Every token (last axis) scaled to length 1; a zero token stays zero.

    The largest entry is divided out first, so that no square under- or overflows.
    """
    y = x / x.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    length: Tensor = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return y / length.clamp(min=1.0)  # it is 0 or at least 1


def energy(x: Tensor, keep: Tensor | None) -> Tensor:
    """Sum of squares over the real tokens of each sample, (B,)."""
    return real(x, keep).square().sum(dim=(-2, -1))
