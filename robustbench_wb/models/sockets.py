"""The sockets of the backbone: what a mechanism is given, and what it must return.

A block is ``x = residual(x, x0, F)`` with ``F = attention(LN(.))``, then ``x = feedforward(x)``. It does not
know which mechanisms it holds. B is the batch, N the tokens, d the width, H the heads and p the dimension of
a head.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustbench_wb.models.shape import Position as Position


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
        positions: (N, d), the position of each token, for mechanisms with ``position = "separate"``. A row of
            zeros is a token without a place (CLS).
        coordinates: (N, axes), where each token lies: its index in a text, row and column of its patch in an
            image. Rows of tokens without a place are zeros and mean nothing.
        unplaced: how many leading tokens (CLS) have no place.
        keep: bool, (B, N), True for real tokens, False for padding; None when all are real. A result at a real
            token must not depend on padding.
        causal: whether a token may look only at itself and at earlier ones.
        words: (V, d), the word table of a text model: heads that predict words may be tied to it.
        carry: tensors that one layer leaves for later layers (the first layer's values, say); empty at the
            start of every forward pass.
        watch: told the attention matrix (B, H, N, N) and the values (B, H, N, p) it mixes, of each layer in turn.
            None except while the layers are being measured.
    """

    positions: Tensor | None = None
    coordinates: Tensor | None = None
    unplaced: int = 0
    keep: Tensor | None = None
    causal: bool = False
    words: Tensor | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)
    watch: Callable[[Tensor, Tensor], None] | None = None
    _mask: Tensor | None = field(default=None, init=False, repr=False)

    def mask(self, tokens: int, device: torch.device) -> Tensor | None:
        """bool, broadcastable to (B, H, N, N), True where a query (row) may look at a key (column); None: everywhere.

        Padding is kept out of sight of real tokens. What a padding token itself sees is of no consequence.
        """
        if self._mask is None:
            if self.causal:  # padding stands on the right, where no real token looks
                self._mask = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()[None, None]
            elif self.keep is not None:
                self._mask = self.keep[:, None, None, :]
        return self._mask


class Attention(nn.Module, ABC):
    """Mixes tokens. Built as ``cls(place, **attention_options)``; the block normalises its input."""

    position: ClassVar[Position] = "added"
    """Where the mechanism finds the positions of tokens."""

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
    """Turns inputs into tokens. Built as ``cls(shape, width, norm_eps, position, **embedding_options)``.

    ``position`` is what the attention mechanism asks for: a table added to the stream, a table in the context, or
    coordinates alone (which the context holds in any case).
    """

    @abstractmethod
    def __init__(self, shape: Any, width: int, norm_eps: float, position: Position) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """The token stream x_0 (B, N, d), and a fresh context for this forward pass."""


class Head(nn.Module, ABC):
    """Reads the answer off the last stream. Built as ``cls(width, classes, norm_eps, **head_options)``."""

    @abstractmethod
    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, N, d) to logits: (B, classes), or (B, N, classes) where every token answers."""
