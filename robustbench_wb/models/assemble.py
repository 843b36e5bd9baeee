"""Assembly of a model from its mechanisms.

This module does not import the registry, so that a new registry entry leaves every code digest unchanged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import nn

from robustbench_wb.models.backbone import Backbone, ImageClassifier, PairClassifier, Transformer, TransformerBlock
from robustbench_wb.models.shape import PositionMode, Shape, TextShape
from robustbench_wb.models.sockets import Attention, Embedding, FeedForward, Head, LayerConfig, Residual
from robustbench_wb.models.variant import Size


class EmbeddingFactory(Protocol):
    """Constructor of an embedding whose options are already bound."""

    def __call__(self, shape: Shape, *, width: int, norm_eps: float, position: PositionMode) -> Embedding:
        """Build the embedding for inputs of ``shape``."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """Constructors of a model's mechanisms with their options bound, and settings of the whole model.

    ``post`` selects post-norm blocks; ``initialisation`` is ``xavier`` (see ``xavier``) or torch's default.
    """

    attention: Callable[[LayerConfig], Attention]
    residual: Callable[[LayerConfig], Residual]
    feedforward: Callable[[LayerConfig], FeedForward]
    embedding: EmbeddingFactory
    head: Callable[[int, int, float], Head]
    position: PositionMode
    post: bool
    norm_eps: float
    initialisation: Literal["xavier", "torch"]


def assemble(
    parts: ModelParts, size: Size, shape: Shape, *, mean: Sequence[float], std: Sequence[float]
) -> Transformer:
    """Build a model with weights drawn from torch's default generator.

    ``mean`` and ``std`` hold one value per channel, for images in [0, 1]; both are empty for text.
    """
    eps = parts.norm_eps
    embedding = parts.embedding(shape, width=size.width, norm_eps=eps, position=parts.position)
    configs = [
        LayerConfig(layer=i, depth=size.depth, width=size.width, heads=size.heads, dim_head=size.dim_head, norm_eps=eps)
        for i in range(size.depth)
    ]
    blocks = [
        TransformerBlock(
            norm=nn.LayerNorm(size.width, eps=eps),
            attention=parts.attention(config),
            residual=parts.residual(config),
            feedforward=parts.feedforward(config),
            post=parts.post,
        )
        for config in configs
    ]
    backbone, head = Backbone(blocks), parts.head(size.width, shape.classes, eps)
    model: Transformer
    if mean:
        model = ImageClassifier(embedding, backbone, head, mean=mean, std=std)
    elif isinstance(shape, TextShape) and shape.documents == 2:
        model = PairClassifier(embedding, backbone, head, length=shape.length)
    else:
        model = Transformer(embedding, backbone, head)
    if parts.initialisation == "xavier":
        model.apply(xavier)
    return model


def xavier(module: nn.Module) -> None:
    """Initialise a linear layer as ViT's authors do: weights U(+-sqrt(6 / (fan in + fan out))), biases 0.

    The rule fits any width (Glorot & Bengio 2010). CRATE keeps torch's default, U(+-1/sqrt(fan in)) for weights and
    biases.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
