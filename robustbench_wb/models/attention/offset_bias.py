"""Base class of attentions whose position logits depend only on offsets between token coordinates."""

from abc import abstractmethod
from functools import partial
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.biased import RowBias, by_rows
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context


def token_coordinates(context: Context) -> Tensor:
    """Return the coordinates (M, axes) of the tokens that have a position: all but the ``context.prefix_tokens``.

    Raises:
        UsageError: the context holds no coordinates.
    """
    if context.coordinates is None:
        raise UsageError("this attention needs an embedding that provides token coordinates")
    return context.coordinates[context.prefix_tokens :]


class OffsetBiasAttention(SoftmaxAttention):
    """Attention ``softmax(Q K^T / sqrt(p) + logit_p) V``, where logit_p is a function of p_i - p_j per head.

    Pairs with the class token have logit_p = 0, a kernel of 1. The function has at most one learned tensor.
    """

    position = "none"
    pairs_name: ClassVar[str]
    """Key in ``context.carry`` under which layers share ``pairs``."""

    @abstractmethod
    def pairs(self, offset: Tensor) -> Tensor:
        """Reduce offsets (m, M, axes) to one number per pair, (m, M), which all layers share."""

    @abstractmethod
    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """Return position logits (H, m, M) for the numbers (m, M) that ``pairs`` returns."""

    @property
    @abstractmethod
    def learned(self) -> Tensor:
        """Tensor that ``logits`` takes beside the pairs."""

    def position_logits(self, context: Context) -> Tensor | RowBias:
        """Return position logits (1, H, N, N), or a rule that computes them by rows; all samples share them.

        Raises:
            UsageError: the context holds no coordinates.
        """
        where = token_coordinates(context)
        tokens = len(where) + context.prefix_tokens
        if by_rows(tokens, where.device, context):
            return RowBias(partial(self._rows, where, context.prefix_tokens), (self.learned,))
        if self.pairs_name not in context.carry:
            context.carry[self.pairs_name] = self.pairs(where[:, None] - where[None, :])
        logits = self.logits(context.carry[self.pairs_name], self.learned)
        return functional.pad(logits, (context.prefix_tokens, 0, context.prefix_tokens, 0))[None]

    def _rows(self, where: Tensor, prefix_tokens: int, rows: slice, learned: Tensor) -> Tensor:
        """Position logits (1, H, rows, N) of some query rows."""
        first, last = max(rows.start - prefix_tokens, 0), max(rows.stop - prefix_tokens, 0)
        logits = self.logits(self.pairs(where[first:last, None] - where[None, :]), learned)
        return functional.pad(logits, (prefix_tokens, 0, rows.stop - rows.start - (last - first), 0))[None]
