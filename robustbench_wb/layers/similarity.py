"""Token similarity: 1 if all tokens are parallel (over-smoothing; Dong et al. 2021, arXiv 2103.03404)."""

import torch
from torch import Tensor

from robustbench_wb.layers.real_tokens import counts, real, unit


def token_similarity(tokens: Tensor, keep: Tensor | None) -> Tensor:
    """Return the mean cosine over all pairs of different real tokens (B, N, d): (B,), -1 to 1; NaN for a single token.

    With unit tokens u it is ``(|sum u|^2 - sum |u|^2) / (n (n - 1))``. A zero token has cosine 0 with all others.
    """
    u = unit(real(tokens, keep))
    pairs = u.sum(dim=1).square().sum(dim=-1) - u.square().sum(dim=(1, 2))
    n = counts(tokens, keep)
    return torch.where(n > 1, pairs / (n * (n - 1)).clamp(min=1.0), torch.nan)
