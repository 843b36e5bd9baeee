"""The sockets of the backbone: what a mechanism is given, and what it must return.

A block is ``x = residual(x, x0, F)`` with ``F = attention(LN(.))``, then ``x = feedforward(x)``. It does not
know which mechanisms it holds. B is the batch, N the tokens, d the width, H the heads and p the dimension of
a head.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from robustbench_wb.models.shape import ImageShape


@dataclass(frozen=True)
class Place:
    """Where a mechanism sits: layer ``layer`` (from 0) of ``depth``, and the sizes it must fit."""

    layer: int
    depth: int
    width: int
    heads: int
    dim_head: int
    norm_eps: float


@dataclass
class Context:
    """What travels beside the token stream through the layers of one forward pass.

    Attributes:
        positions: (N, d), the position of each token, where the variant keeps positions out of the stream. A
            row of zeros is a token without a position (CLS).
        mask: bool, broadcastable to (B, H, N, N); True where a query (row) may look at a key (column).
        carry: tensors that one layer leaves for later layers (the first layer's values, say); empty at the
            start of every forward pass.
    """

    positions: Tensor | None = None
    mask: Tensor | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)


class Attention(nn.Module, ABC):
    """Mixes tokens. Built as ``cls(place, **attention_options)``; the block normalises its input."""

    uses_positions: ClassVar[bool] = False
    """Whether the mechanism needs ``context.positions``, that is, a variant with ``position="separate"``."""

    @abstractmethod
    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to (B, N, d), without a skip."""


class Residual(nn.Module, ABC):
    """Joins the attention half to the stream. Built as ``cls(place, **residual_options)``."""

    @abstractmethod
    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """The next stream (B, N, d), from the stream ``x``, the embedding output ``x0`` and F_l."""


class FeedForward(nn.Module, ABC):
    """The second half of a block, norm and skip included. Built as ``cls(place, **options)``."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) to (B, N, d), token by token."""


class Embedding(nn.Module, ABC):
    """Turns inputs into tokens. Built as ``cls(shape, width, norm_eps, separate, **embedding_options)``.

    ``separate`` asks for positions in the context instead of in the stream.
    """

    @abstractmethod
    def __init__(self, shape: ImageShape, width: int, norm_eps: float, separate: bool) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """The token stream x_0 (B, N, d), and a fresh context for this forward pass."""


class Head(nn.Module, ABC):
    """Reads the answer off the last stream. Built as ``cls(width, classes, norm_eps)``."""

    @abstractmethod
    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) to logits (B, classes)."""
