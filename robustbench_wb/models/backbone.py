"""The one backbone: a stack of blocks with sockets, between an embedding and a head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.inputs import trim
from robustbench_wb.models.sockets import Attention, Context, Embedding, FeedForward, Head, Residual


class Block(nn.Module):
    """``x <- residual(x, x0, attention(LN(.)))``, then ``x <- feedforward(x)``.

    With ``post`` the first half is ``x <- LN(residual(x, x0, attention))``, as in the first transformers.
    """

    def __init__(
        self, norm: nn.LayerNorm, attention: Attention, residual: Residual, feedforward: FeedForward, post: bool = False
    ) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.residual = residual
        self.feedforward = feedforward
        self.post = post

    def forward(self, x: Tensor, x0: Tensor, context: Context) -> Tensor:
        """The next stream (B, N, d), from this one and the embedding output ``x0``."""

        def sublayer(y: Tensor) -> Tensor:
            mixed: Tensor = self.attention(y if self.post else self.norm(y), context)
            return mixed

        half = self.residual(x, x0, sublayer)
        out: Tensor = self.feedforward(self.norm(half) if self.post else half)
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


class Transformer(nn.Module):
    """Token ids (B, N), padded with 0 on the right, to logits (B, classes), or (B, N, V) for the next tokens."""

    def __init__(self, embedding: Embedding, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.embedding = embedding
        self.backbone = backbone
        self.head = head

    def embed(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """The embedding output x_0 (B, N, d), and the context of this forward pass."""
        embedded: tuple[Tensor, Context] = self.embedding(inputs)
        return embedded

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs as the task has them, to logits."""
        tokens, context = self.embed(inputs)
        logits: Tensor = self.head(self.backbone(tokens, context), context)
        return logits


class PairClassifier(Transformer):
    """Rows of two documents, (B, 2 length) ids, to logits. Every document is read alone; the head sees both."""

    def __init__(self, embedding: Embedding, backbone: Backbone, head: Head, length: int) -> None:
        super().__init__(embedding, backbone, head)
        self.length = length

    def embed(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Token ids to tokens (2B, N, d), all first documents before all second ones, and their context."""
        rows = functional.pad(inputs, (0, 2 * self.length - inputs.shape[1]))  # the batch may have been trimmed
        return super().embed(trim(torch.cat(torch.split(rows, self.length, dim=1))))


class ImageClassifier(Transformer):
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
        super().__init__(embedding, backbone, head)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def embed(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Float images (B, C, H, W) in [0, 1] to tokens (B, N, d) and their context."""
        return super().embed((inputs - self.mean[:, None, None]) / self.std[:, None, None])
