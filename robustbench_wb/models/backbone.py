"""The one backbone: a stack of blocks with sockets, between an embedding and a head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robustbench_wb.models.sockets import Attention, Context, Embedding, FeedForward, Head, Residual


class Block(nn.Module):
    """``x <- residual(x, x0, attention(LN(.)))``, then ``x <- feedforward(x)``."""

    def __init__(self, norm: nn.LayerNorm, attention: Attention, residual: Residual, feedforward: FeedForward) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.residual = residual
        self.feedforward = feedforward

    def forward(self, x: Tensor, x0: Tensor, context: Context) -> Tensor:
        """The next stream (B, N, d), from this one and the embedding output ``x0``."""

        def sublayer(y: Tensor) -> Tensor:
            mixed: Tensor = self.attention(self.norm(y), context)
            return mixed

        out: Tensor = self.feedforward(self.residual(x, x0, sublayer))
        return out


class Backbone(nn.Module):
    """The blocks in order. There is no norm at the end: heads bring their own."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x0: Tensor, context: Context) -> Tensor:
        """The last stream (B, N, d), from the embedding output."""
        x = x0
        for block in self.blocks:
            x = block(x, x0, context)
        return x


class ImageClassifier(nn.Module):
    """Images in [0, 1] to logits. Normalisation is inside, and in the state: it is part of the subject."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        embedding: Embedding,
        backbone: Backbone,
        head: Head,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.backbone = backbone
        self.head = head
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, C, H, W) in [0, 1] to logits (B, classes)."""
        tokens, context = self.embedding((images - self.mean[:, None, None]) / self.std[:, None, None])
        logits: Tensor = self.head(self.backbone(tokens, context))
        return logits
