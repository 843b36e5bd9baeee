"""Functions that all measures share: masking of padding, and scaling to unit length.

Throughout this package ``keep`` is bool (B, N), False for padding, or None if all tokens are real.
"""

import torch
from torch import Tensor


def counts(x: Tensor, keep: Tensor | None) -> Tensor:
    """Return the number of real tokens per sample, (B,), in the dtype of ``x`` (B, ..., N, d), class token included."""
    if keep is None:
        return torch.full((len(x),), float(x.shape[-2]), dtype=x.dtype, device=x.device)
    return keep.sum(dim=1).to(x.dtype)


def real(x: Tensor, keep: Tensor | None) -> Tensor:
    """Return ``x`` (B, ..., N, d) with zeros at padding, even where it is NaN."""
    if keep is None:
        return x
    shape = (len(keep), *(1,) * (x.dim() - 3), keep.shape[1], 1)
    return x.masked_fill(~keep.view(shape), 0.0)


def unit(x: Tensor) -> Tensor:
    """Scale every token (last axis) to length 1; zero tokens stay zero.

    Tokens are divided by their largest entry first, so that no square underflows or overflows.
    """
    y = x / x.abs().amax(dim=-1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    length: Tensor = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return y / length.clamp(min=1.0)  # the length is 0 or at least 1


def energy(x: Tensor, keep: Tensor | None) -> Tensor:
    """Return the sum of squares over the real tokens of each sample, (B,)."""
    return real(x, keep).square().sum(dim=(-2, -1))
