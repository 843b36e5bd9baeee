"""Attention entropy: how widely queries spread their attention over tokens."""

import torch
from torch import Tensor

from robustbench_wb.layers.real_tokens import counts, real


def attention_entropy(matrix: Tensor, mask: Tensor | None, keep: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mean row entropy of ``matrix`` (B, H, N, N), in nats and as a share of its maximum, (B,) each.

    The entropy is ``-sum_j a_ij ln a_ij``, averaged over heads and real queries. The share divides each row by ln of
    the number of keys that the query attends to under ``mask`` (bool, broadcastable to the matrix; None for all keys).
    Queries with a single key are left out of the mean share, which is NaN if no query remains.

    Rows are first normalised to ``|a| / sum |a|``. This changes nothing for softmax, and makes mechanisms with negative
    or unnormalised weights comparable.
    """
    batch, heads, tokens, _ = matrix.shape
    seen = torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=matrix.device) if mask is None else mask
    weight = real(matrix, keep).abs().masked_fill(~seen, 0.0)
    total = weight.sum(dim=-1, keepdim=True)
    shares = weight / total.clamp(min=torch.finfo(matrix.dtype).tiny)
    entropy = torch.special.entr(shares).sum(dim=-1)  # (B, H, N), 0 at padding

    keys = seen.sum(dim=-1).expand(batch, 1, tokens).to(matrix.dtype)
    queries = torch.ones_like(keys, dtype=torch.bool) if keep is None else keep[:, None, :]
    choice = queries & (keys > 1)
    share = (entropy / keys.clamp(min=2.0).log()).masked_fill(~choice, 0.0)
    mean = entropy.sum(dim=(1, 2)) / (heads * counts(matrix, keep))
    return mean, share.sum(dim=(1, 2)) / (heads * choice.sum(dim=(1, 2)))
