"""What mechanisms that know only where tokens lie share: coordinates, offsets, and neutrality of the rest."""

from abc import abstractmethod
from functools import partial
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.attention.biased import RowBias, by_rows
from robustbench_wb.models.attention.softmax import SoftmaxAttention
from robustbench_wb.models.sockets import Context


def placed(context: Context) -> Tensor:
    """(M, axes), the coordinates of the tokens that have a place: all but the leading ``context.unplaced``.

    Raises:
        UsageError: the context holds no coordinates.
    """
    if context.coordinates is None:
        raise UsageError("this attention needs an embedding that says where its tokens lie")
    return context.coordinates[context.unplaced :]


class PlacedAttention(SoftmaxAttention):
    """``softmax(Q K^T / sqrt(p) + logit_p) V``, with a logit_p per head that is a function of p_i - p_j.

    Pairs with a token without a place get 0, a kernel of 1. What is learned of the function is one tensor.
    """

    position = "none"
    pairs_name: ClassVar[str]
    """Under which name the layers share :meth:`pairs`."""

    @abstractmethod
    def pairs(self, offset: Tensor) -> Tensor:
        """Offsets (m, M, axes) to what the logits need to know of each pair, (m, M); the same for every layer."""

    @abstractmethod
    def logits(self, pairs: Tensor, learned: Tensor) -> Tensor:
        """(m, M) to (H, m, M)."""

    @property
    @abstractmethod
    def learned(self) -> Tensor:
        """What :meth:`logits` is a function of, beside the pairs."""

    def position_logits(self, context: Context) -> Tensor | RowBias:
        """(1, H, N, N), the same for every image of the batch.

        Raises:
            UsageError: the context holds no coordinates.
        """
        where = placed(context)
        tokens = len(where) + context.unplaced
        if by_rows(tokens, where.device, context):
            return RowBias(partial(self._rows, where, context.unplaced), (self.learned,))
        if self.pairs_name not in context.carry:
            context.carry[self.pairs_name] = self.pairs(where[:, None] - where[None, :])
        logits = self.logits(context.carry[self.pairs_name], self.learned)
        return functional.pad(logits, (context.unplaced, 0, context.unplaced, 0))[None]

    def _rows(self, where: Tensor, unplaced: int, rows: slice, learned: Tensor) -> Tensor:
        """The same, (1, H, rows, N)."""
        first, last = max(rows.start - unplaced, 0), max(rows.stop - unplaced, 0)
        logits = self.logits(self.pairs(where[first:last, None] - where[None, :]), learned)
        return functional.pad(logits, (unplaced, 0, rows.stop - rows.start - (last - first), 0))[None]
