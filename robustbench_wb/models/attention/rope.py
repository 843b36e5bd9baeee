"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864), axial in images (Heo et al. 2024, arXiv 2403.13298)."""

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend
from robustbench_wb.models.attention.offset_bias import token_coordinates
from robustbench_wb.models.attention.per_head import PerHeadAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class RopeAttention(PerHeadAttention):
    """RoPE ``softmax((R_i q_i) (R_j k_j)^T / sqrt(p)) v_j``, where R_i rotates each pair of neighbouring entries.

    Each of the A axes has p / A entries, whose pair t is rotated by coordinate * (base^(1/A))^(-2tA/p). The effective
    base is 10000 for texts and 100 for images, whose sides have the square root of the number of tokens. The class
    token is not rotated: relative to other tokens it lies at the origin. Between other tokens only offsets count.
    """

    position = "none"

    def __init__(self, config: LayerConfig, base: float = 10000.0) -> None:
        super().__init__(config)
        self.base = base

    def angles(self, context: Context, dim_head: int) -> Tensor:
        """Return rotation angles (N, p/2) in radians; 0 for tokens without a position.

        Raises:
            UsageError: the context holds no coordinates, or ``dim_head`` is not a multiple of twice the number of axes.
        """
        where = token_coordinates(context)
        axes = where.shape[-1]
        if dim_head % (2 * axes):
            raise UsageError(f"rope over {axes} axes needs heads of a multiple of {2 * axes} entries, not {dim_head}")
        share = torch.arange(0, dim_head, 2 * axes, dtype=where.dtype, device=where.device) / dim_head
        speeds = self.base ** (-share / axes)
        return functional.pad((where[:, :, None] * speeds).flatten(1), (0, 0, context.prefix_tokens, 0))

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        if "turn" not in context.carry:
            angles = self.angles(context, q.shape[-1])
            context.carry["turn"] = torch.stack([angles.cos(), angles.sin()]).to(q.dtype)
        turn = context.carry["turn"]
        return attend(rotate(q, turn), rotate(k, turn), v, context=context)


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate the pairs (x_2t, x_2t+1) of ``x`` (..., N, p) by angles whose cosines and sines are in (2, N, p/2)."""
    cos, sin = turn
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
