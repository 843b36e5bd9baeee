"""TUPE-A: untied absolute positions (Ke, He, Liu 2021, arXiv 2006.15595): the control for bilateral attention."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.base import attend_joined, split_heads
from robustbench_wb.models.attention.row_blocks import is_long
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context, LayerConfig


class TupeAttention(SoftmaxAttention):
    """TUPE-A ``softmax((Q K^T + P U_Q (P U_K)^T) / sqrt(2p)) V``; all layers share the position term.

    The first layer owns U_Q and U_K and passes the term to later layers, which have no position parameters. Pairs with
    the class token have two learned numbers per head instead: one where it is the query, one where it is the key (the
    paper's reset, eq. 9).
    """

    position = "separate"

    def __init__(self, config: LayerConfig) -> None:
        super().__init__(config)
        first = config.layer == 0
        self.position_qk = nn.Linear(config.width, 2 * self.inner, bias=False) if first else None
        self.reset = nn.Parameter(torch.zeros(2, config.heads)) if first else None

    def position_logits(self, context: Context) -> Tensor:
        """Return position logits (1, H, N, N), computed once per forward pass.

        Raises:
            UsageError: the context holds no positions, or the first layer did not run.
        """
        if self.position_qk is not None and self.reset is not None:
            q, k = self._placed(context, self.position_qk)
            logits, prefix_tokens = q @ k.mT, context.prefix_tokens
            tokens = q.shape[-2] + prefix_tokens
            from_cls, to_cls = self.reset[:, :, None, None]
            logits = torch.cat([to_cls.expand(-1, tokens - prefix_tokens, prefix_tokens), logits], dim=2)
            logits = torch.cat([from_cls.expand(-1, prefix_tokens, tokens), logits], dim=1)[None]
            context.carry["untied positions"] = logits
        return _carried(context, "untied positions")

    def factors(self, context: Context) -> tuple[Tensor, Tensor]:
        """Return position queries and keys, each (1, H, N, p + 2), whose inner products are the position logits.

        The last two entries hold the reset of the class token.

        Raises:
            UsageError: the context holds no positions, or the first layer did not run.
        """
        if self.position_qk is not None and self.reset is not None:
            q, k = (
                functional.pad(x, (0, 0, context.prefix_tokens, 0)) for x in self._placed(context, self.position_qk)
            )
            cls = (torch.arange(q.shape[-2], device=q.device) < context.prefix_tokens).to(q.dtype)
            from_cls, to_cls = self.reset[:, :, None]
            asking = torch.stack([cls, 1 - cls], dim=-1).expand(self.heads, -1, -1)
            asked = torch.stack([from_cls.expand(-1, len(cls)), to_cls * cls], dim=-1)
            context.carry["untied queries"] = torch.cat([q, asking], dim=-1)[None]
            context.carry["untied keys"] = torch.cat([k, asked], dim=-1)[None]
        return _carried(context, "untied queries"), _carried(context, "untied keys")

    def _placed(self, context: Context, position_qk: nn.Linear) -> tuple[Tensor, Tensor]:
        """Scaled position queries and keys (H, M, p) of the tokens that have a position."""
        if context.positions is None:
            raise UsageError("tupe needs an embedding that keeps positions separate")
        both = position_qk(context.positions[context.prefix_tokens :]).chunk(2, dim=-1)
        q, k = (split_heads(part, self.heads) for part in both)
        return q / math.sqrt(2 * q.shape[-1]), k

    def mix(self, q: Tensor, k: Tensor, v: Tensor, *, context: Context) -> Tensor:
        """Return head outputs (B, H, N, p) from queries, keys and values of that shape."""
        q = q / math.sqrt(2)
        if is_long(q.shape[-2], context):
            return attend_joined(q, k, v, factors=self.factors(context), context=context)
        return super().mix(q, k, v, context=context)


def _carried(context: Context, name: str) -> Tensor:
    if name not in context.carry:
        raise UsageError("later layers of tupe need the first layer, which computes the position term")
    return context.carry[name]
