"""Linear attention (Katharopoulos, Vyas, Pappas, Fleuret 2020, arXiv 2006.16236)."""

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.attention.row_blocks import scan_by_rows
from robustbench_wb.models.sockets import Context


class LinearAttention(PerHeadAttention):
    """Linear attention ``sum_j f(q_i) . f(k_j) v_j / sum_j f(q_i) . f(k_j)`` with ``f(x) = elu(x) + 1``.

    Time and memory grow with N, not with N^2: sums of ``f(k_j) v_j^T`` over keys replace the attention matrix. With
    causal attention the sums run over prefixes, in blocks of rows. The denominator is exact where the published code
    adds 1e-6, and is not below the smallest normal number. No extra parameters.
    """

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        q, k = _features(q), _features(k)
        if context.keep is not None:
            k = k * context.keep[:, None, :, None].to(k.dtype)
        if context.watch is not None:
            matrix = q @ k.mT
            matrix = matrix.tril() if context.causal else matrix
            context.watch(matrix / _safe(matrix.sum(dim=-1, keepdim=True)), v)
        extended = functional.pad(v, (0, 1), value=1.0)  # its last entry sums up the denominator
        if context.causal:
            state = k.new_zeros((*k.shape[:2], k.shape[-1], extended.shape[-1]))
            return scan_by_rows(_block, state, (q, k, extended))
        return _ratio(q @ (k.mT @ extended))


def _features(x: Tensor) -> Tensor:
    """elu(x) + 1, without the cancellation that makes it zero for x below -17 in float32."""
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def _safe(total: Tensor) -> Tensor:
    return total.clamp(min=torch.finfo(total.dtype).tiny)


def _ratio(sums: Tensor) -> Tensor:
    """Weighted sums of values divided by the sum of the weights, which is the last entry."""
    return sums[..., :-1] / _safe(sums[..., -1:])


def _block(rows: slice, state: Tensor, q: Tensor, k: Tensor, extended: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of some rows, and the sums of f(k_j) v_j^T over all rows so far, (B, H, p, p + 1)."""
    q, k, extended = (x[:, :, rows] for x in (q, k, extended))
    return _ratio((q @ k.mT).tril() @ extended + q @ state), state + k.mT @ extended
