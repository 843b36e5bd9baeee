"""Interfaces of the backbone (its "sockets"): attention, residual, feed-forward, embedding and head.

A block computes ``x = residual(x, x0, F)`` with ``F = attention(LN(.))``, then ``x = feedforward(x)``, whatever
mechanisms it holds. Shapes use B for the batch size, N for tokens, d for the width, H for heads and p for the head
dimension.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustbench_wb.models.shape import PositionMode, Shape


@dataclass(frozen=True, kw_only=True)
class LayerConfig:
    """Configuration of one layer: its index ``layer`` (from 0) among ``depth`` layers, and the sizes of the model."""

    layer: int
    depth: int
    width: int
    heads: int
    dim_head: int
    norm_eps: float


@dataclass(kw_only=True)
class Context:
    """Data that all layers of one forward pass share, beside the token stream.

    Attributes:
        positions: learned positions (N, d), for mechanisms with ``position = "separate"``. Tokens without a position
            (the class token) have a row of zeros.
        coordinates: token coordinates (N, axes): the index in a text, or row and column of the patch in an image.
            Rows of tokens without a position are zeros, to be ignored.
        prefix_tokens: number of leading tokens without a position (the class token).
        keep: bool (B, N), True for real tokens, False for padding; None when all tokens are real. The output at a real
            token must not depend on padding.
        causal: whether a token attends only to itself and to earlier tokens.
        words: word embedding matrix (V, d) of a text model; language-model heads may be tied to it.
        carry: tensors that a layer stores for later layers, such as the first layer's values; empty at the start of
            every forward pass.
        watch: callback that receives each layer's attention matrix (B, H, N, N) and the values (B, H, N, p) that it
            mixes. None except while layers are measured.
    """

    positions: Tensor | None = None
    coordinates: Tensor | None = None
    prefix_tokens: int = 0
    keep: Tensor | None = None
    causal: bool = False
    words: Tensor | None = None
    carry: dict[str, Tensor] = field(default_factory=dict)
    watch: Callable[[Tensor, Tensor], None] | None = None
    _mask: Tensor | None = field(default=None, init=False, repr=False)

    def mask(self, tokens: int, device: torch.device) -> Tensor | None:
        """Attention mask: bool, broadcastable to (B, H, N, N), True where a query (row) may attend to a key (column).

        None means that every query attends to every key. Real tokens never attend to padding; rows of padding tokens
        are arbitrary.
        """
        if self._mask is None:
            if self.causal:  # padding is on the right, where no real token attends
                self._mask = torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()[None, None]
            elif self.keep is not None:
                self._mask = self.keep[:, None, None, :]
        return self._mask


class Attention(nn.Module, ABC):
    """Attention mechanism: mixes tokens, which the block normalises. Built as ``cls(config, **attention_options)``."""

    position: ClassVar[PositionMode] = "added"
    """How the mechanism receives token positions."""

    @abstractmethod
    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Mix the normalised stream (B, N, d) into an update (B, N, d), without a skip connection."""


class Residual(nn.Module, ABC):
    """Residual rule: joins the attention sublayer to the stream. Built as ``cls(config, **residual_options)``."""

    @abstractmethod
    def forward(self, x: Tensor, x0: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the next stream (B, N, d) from the stream ``x``, the embedding output ``x0`` and the sublayer F."""


class FeedForward(nn.Module, ABC):
    """Feed-forward half of a block, including its norm and skip. Built as ``cls(config, **options)``."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map the stream (B, N, d) to the next stream (B, N, d), each token on its own."""


class Embedding(nn.Module, ABC):
    """Embedding: turns inputs into tokens.

    Built as ``cls(shape, width=..., norm_eps=..., position=..., **embedding_options)``. ``position`` is the attention
    mechanism's requirement: positions added to the stream, a table in the context, or coordinates only. The context
    always holds coordinates.
    """

    @abstractmethod
    def __init__(self, shape: Shape, *, width: int, norm_eps: float, position: PositionMode) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return the token stream x_0 (B, N, d) and a new context for this forward pass."""


class Head(nn.Module, ABC):
    """Head: maps the last stream to logits. Built as ``cls(width, classes, norm_eps, **head_options)``."""

    @abstractmethod
    def __init__(self, width: int, classes: int, norm_eps: float) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to logits: (B, classes), or (B, N, classes) for next-token prediction."""
