"""What mechanisms that know only where tokens lie share: coordinates, offsets, and neutrality of the rest."""

from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.sockets import Context


def placed(context: Context) -> Tensor:
    """(M, axes), the coordinates of the tokens that have a place: all but the leading ``context.unplaced``.

    Raises:
        UsageError: the context holds no coordinates.
    """
    if context.coordinates is None:
        raise UsageError("this attention needs an embedding that says where its tokens lie")
    return context.coordinates[context.unplaced :]


def offsets(context: Context) -> Tensor:
    """(M, M, axes), ``p_i - p_j`` of the tokens that have a place."""
    where = placed(context)
    return where[:, None] - where[None, :]


def neutral(logits: Tensor, context: Context) -> Tensor:
    """(..., M, M) to (..., N, N): 0, a kernel of 1, for every pair with a token that has no place."""
    return functional.pad(logits, (context.unplaced, 0, context.unplaced, 0))
