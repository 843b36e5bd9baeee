"""Similarity of tokens: 1 when a layer has made all tokens alike (over-smoothing; Dong et al. 2021, 2103.03404)."""

import torch
from torch import Tensor

from robustbench_wb.layers.tokens import counts, real, unit


def token_similarity(tokens: Tensor, keep: Tensor | None) -> Tensor:
    """Mean cosine over all pairs of different real tokens of (B, N, d), (B,), -1 to 1; NaN for a single token.

    With unit tokens u: ``(|sum u|^2 - sum |u|^2) / (n (n - 1))``. A zero token has cosine 0 with every other.
    """
    u = unit(real(tokens, keep))
    pairs = u.sum(dim=1).square().sum(dim=-1) - u.square().sum(dim=(1, 2))
    n = counts(tokens, keep)
    return torch.where(n > 1, pairs / (n * (n - 1)).clamp(min=1.0), torch.nan)
