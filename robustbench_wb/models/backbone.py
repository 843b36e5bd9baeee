"""Transformer backbone that all variants share: an embedding, a stack of blocks, and a head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.batching import trim_padding
from robustbench_wb.models.sockets import Attention, Context, Embedding, FeedForward, Head, Residual


class TransformerBlock(nn.Module):
    """Transformer block: ``x <- residual(x, x0, attention(LN(.)))``, then ``x <- feedforward(x)``.

    With ``post`` (post-norm, Vaswani et al. 2017) the first half is ``x <- LN(residual(x, x0, attention))``.
    """

    def __init__(
        self,
        *,
        norm: nn.LayerNorm,
        attention: Attention,
        residual: Residual,
        feedforward: FeedForward,
        post: bool = False,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.residual = residual
        self.feedforward = feedforward
        self.post = post

    def forward(self, x: Tensor, x0: Tensor, context: Context) -> Tensor:
        """Return the next stream (B, N, d) from the stream ``x`` and the embedding output ``x0``."""

        def sublayer(y: Tensor) -> Tensor:
            mixed: Tensor = self.attention(y if self.post else self.norm(y), context)
            return mixed

        half = self.residual(x, x0, sublayer)
        out: Tensor = self.feedforward(self.norm(half) if self.post else half)
        return out


class Backbone(nn.Module):
    """Blocks applied in order. There is no final norm; each head has its own."""

    def __init__(self, blocks: Sequence[TransformerBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x0: Tensor, context: Context) -> Tensor:
        """Return the last stream (B, N, d) for the embedding output ``x0`` (B, N, d)."""
        x = x0
        for block in self.blocks:
            x = block(x, x0, context)
        return x


class Transformer(nn.Module):
    """Text model: maps token ids (B, N), padded with 0 on the right, to logits.

    Logits are (B, classes) for classification and (B, N, V) for next-token prediction.
    """

    def __init__(self, embedding: Embedding, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.embedding = embedding
        self.backbone = backbone
        self.head = head

    def embed(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return the embedding output x_0 (B, N, d) and the context of this forward pass."""
        embedded: tuple[Tensor, Context] = self.embedding(inputs)
        return embedded

    def forward(self, inputs: Tensor) -> Tensor:
        """Map model inputs (images in [0, 1] or token ids) to logits."""
        tokens, context = self.embed(inputs)
        logits: Tensor = self.head(self.backbone(tokens, context), context)
        return logits


class PairClassifier(Transformer):
    """Classifier of document pairs: maps token ids (B, 2 length) to logits (B, classes).

    The backbone encodes each document separately; the head compares the two.
    """

    def __init__(self, embedding: Embedding, backbone: Backbone, head: Head, *, length: int) -> None:
        super().__init__(embedding, backbone, head)
        self.length = length

    def embed(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return tokens (2B, N, d), all first documents before all second documents, and their context."""
        rows = functional.pad(inputs, (0, 2 * self.length - inputs.shape[1]))  # the batch may have been trimmed
        return super().embed(trim_padding(torch.cat(torch.split(rows, self.length, dim=1))))


class ImageClassifier(Transformer):
    """Image classifier: maps images in [0, 1] to logits.

    The model normalises images itself; ``mean`` and ``std`` are buffers in its state, hence part of its identity.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        embedding: Embedding,
        backbone: Backbone,
        head: Head,
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__(embedding, backbone, head)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def embed(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return tokens (B, N, d) of float images (B, C, H, W) in [0, 1], and their context."""
        return super().embed((inputs - self.mean[:, None, None]) / self.std[:, None, None])
