"""ALiBi: attention with linear biases (Press et al. 2022, arXiv 2108.12409; images as in CROMA, arXiv 2311.00566)."""

import torch
from torch import Tensor

from robustbench_wb.models.attention.biased import RowBias
from robustbench_wb.models.attention.offset_bias import OffsetBiasAttention
from robustbench_wb.models.sockets import Context, LayerConfig


def slopes(heads: int) -> list[float]:
    """Return one slope per head: 2^(-8/H), 2^(-16/H), ..., 2^-8 if H is a power of two.

    Otherwise the slopes of the next lower power of two come first, then every other slope of twice that power (Press et
    al. 2022).
    """
    power = 1 << (heads.bit_length() - 1)
    first = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    between = [2.0 ** (-4.0 * (i + 1) / power) for i in range(0, 2 * (heads - power), 2)]
    return first + between


class AlibiAttention(OffsetBiasAttention):
    """ALiBi ``softmax(Q K^T / sqrt(p) - m_h |p_i - p_j|) V``, with a constant slope m_h per head.

    The distance is Euclidean: |i - j| in texts, in both directions; the distance between patches in images. Pairs with
    the class token have bias 0. Nothing about positions is learned.
    """

    pairs_name = "distances"
    slopes: Tensor

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config)
        self.register_buffer("slopes", torch.tensor(slopes(config.heads)), persistent=False)  # derived from H

    @property
    def learned(self) -> Tensor:
        """Slopes (H,), which are constants here."""
        return self.slopes

    def pairs(self, offset: Tensor) -> Tensor:
        """Return Euclidean distances (m, M) of offsets (m, M, axes)."""
        return offset.square().sum(dim=-1).sqrt()

    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """Return biases (H, m, M) for distances (m, M)."""
        return (-learned[:, None, None] * pairs).to(self.qkv.weight.dtype)

    def position_logits(self, context: Context) -> Tensor | RowBias:
        """Return the bias (1, H, N, N), or a rule that computes it by rows; layers and samples share it.

        Raises:
            UsageError: the context holds no coordinates.
        """
        if "linear biases" in context.carry:
            return context.carry["linear biases"]
        logits = super().position_logits(context)
        if isinstance(logits, Tensor):
            context.carry["linear biases"] = logits
        return logits
