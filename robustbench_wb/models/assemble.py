"""Puts chosen parts together. It never sees the catalogue: a new name there changes no digest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from robustbench_wb.models.backbone import Backbone, Block, ImageClassifier, PairClassifier, Transformer
from robustbench_wb.models.shape import Position, Shape, TextShape
from robustbench_wb.models.sockets import Attention, Embedding, FeedForward, Head, Place, Residual
from robustbench_wb.models.variant import Size


@dataclass(frozen=True)
class Parts:
    """The makers of the chosen mechanisms, their options already bound, and what goes with them."""

    attention: Callable[[Place], Attention]
    residual: Callable[[Place], Residual]
    feedforward: Callable[[Place], FeedForward]
    embedding: Callable[[Shape, int, float, Position], Embedding]
    head: Callable[[int, int, float], Head]
    position: Position
    post: bool
    norm_eps: float
    initialisation: Literal["xavier", "torch"]


def assemble(parts: Parts, size: Size, shape: Shape, moments: tuple[Sequence[float], Sequence[float]]) -> Transformer:
    """The model, its weights drawn from the default generator of the current device.

    ``moments`` are mean and standard deviation per channel of images in [0, 1]; both are empty for text.
    """
    eps = parts.norm_eps
    embedding = parts.embedding(shape, size.width, eps, parts.position)
    places = [Place(i, size.depth, size.width, size.heads, size.dim_head, eps) for i in range(size.depth)]
    blocks = [
        Block(
            nn.LayerNorm(size.width, eps=eps),
            parts.attention(place),
            parts.residual(place),
            parts.feedforward(place),
            parts.post,
        )
        for place in places
    ]
    backbone, head = Backbone(blocks), parts.head(size.width, shape.classes, eps)
    mean, std = moments
    model: Transformer
    if mean:
        model = ImageClassifier(embedding, backbone, head, mean, std)
    elif isinstance(shape, TextShape) and shape.documents == 2:
        model = PairClassifier(embedding, backbone, head, shape.length)
    else:
        model = Transformer(embedding, backbone, head)
    if parts.initialisation == "xavier":
        model.apply(xavier)
    return model


def xavier(module: nn.Module) -> None:
    """The start of ViT's authors, for any width: linear weights of U(+-sqrt(6 / (fan in + fan out))), no biases.

    CRATE keeps torch's own: U(+-1/sqrt(fan in)), biases too.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
