"""Coding rates: nats needed to code tokens up to a distortion eps (Yu et al. 2023, arXiv 2306.01129).

Values depend on eps, on the scaling of tokens and on the sum over heads, so only numbers of one convention are
comparable. The convention here is that of the reference implementation: tokens scaled to unit length, eps^2 = 0.01,
natural logarithm, class token included.
"""

import torch
from torch import Tensor

from robustbench_wb.layers.real_tokens import counts, real, unit

EPS2 = 0.01
"""Squared distortion eps^2."""


def subspace_rate(values: Tensor, keep: Tensor | None) -> Tensor:
    """Return the coding rate R^c in nats, (B,): ``sum_k 1/2 logdet(I + p / (n eps^2) W_k^T W_k)`` over the heads k.

    ``values`` (B, H, N, p) are the values that attention mixes; each token's p-vector per head is scaled to unit
    length. In CRATE they are W = LN(X) U^T, and R^c is the coding rate that its authors publish per layer.
    """
    scale = values.shape[-1] / (counts(values, keep) * EPS2)
    return _half_logdet(unit(real(values, keep)), scale[:, None]).sum(dim=1)


def subspace_bounds(count: Tensor, heads: int, dim_head: int) -> tuple[Tensor, Tensor]:
    """Return the minimum and maximum of R^c for ``count`` (B,) nonzero tokens.

    The minimum ``1/2 h ln(1 + p / eps^2)`` holds for parallel tokens. The maximum ``1/2 h r ln(1 + p / (eps^2 r))``,
    with r = min(n, p), holds for evenly spread tokens.
    """
    rank = count.clamp(max=dim_head)
    low = 0.5 * heads * torch.log1p(torch.full_like(count, dim_head / EPS2))
    high = 0.5 * heads * rank * torch.log1p(dim_head / (EPS2 * rank))
    return low, high


def subspace_share(rate: Tensor, values: Tensor, keep: Tensor | None) -> Tensor:
    """Return the relative position of R^c between its bounds, 0 to 1, (B,), which is comparable across model sizes.

    The result is NaN for a single token, where both bounds are equal.
    """
    low, high = subspace_bounds(counts(values, keep), values.shape[1], values.shape[-1])
    return torch.where(high > low, (rate - low) / (high - low), torch.nan)


def stream_rate(tokens: Tensor, keep: Tensor | None) -> Tensor:
    """Return the coding rate R in nats, (B,): ``1/2 logdet(I + d / (n eps^2) Z^T Z)`` of tokens (B, N, d).

    Tokens are scaled to unit length. The formula is the paper's; the scaling is a choice made here, because no code for
    R is published.
    """
    scale = tokens.shape[-1] / (counts(tokens, keep) * EPS2)
    return _half_logdet(unit(real(tokens, keep)), scale)


def _half_logdet(x: Tensor, scale: Tensor) -> Tensor:
    """``1/2 logdet(I + scale X^T X)`` of (..., n, m), by Sylvester's identity on the smaller side."""
    n, m = x.shape[-2:]
    gram = x.mT @ x if m <= n else x @ x.mT
    identity = torch.eye(min(n, m), dtype=x.dtype, device=x.device)
    logdet: Tensor = torch.linalg.slogdet(identity + scale[..., None, None] * gram).logabsdet
    return 0.5 * logdet
