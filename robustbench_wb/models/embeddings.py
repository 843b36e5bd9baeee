"""Embeddings: image patches or words, the class token, and positions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.shape import PAD, ImageShape, PositionMode, TextShape
from robustbench_wb.models.sockets import Context, Embedding


def patchify(images: Tensor, patch: int) -> Tensor:
    """Cut images (B, C, H, W) into patches (B, N, patch * patch * C), in raster order.

    Inside a patch the channel index varies fastest.
    """
    b, c, h, w = images.shape
    cut = images.reshape((b, c, h // patch, patch, w // patch, patch))
    return cut.permute((0, 2, 4, 3, 5, 1)).reshape(b, (h // patch) * (w // patch), patch * patch * c)


class PositionTable(nn.Module):
    """Learned positions, initialised from N(0, std), for ``tokens`` tokens of dimension ``width``.

    They are added to the stream or stored in the context, as the attention mechanism requires. A separate table has no
    row for the ``prefix_tokens`` leading tokens (that row would never be trained). It passes a layer norm without
    parameters, so that it has the scale of the content.
    """

    def __init__(
        self, *, tokens: int, width: int, norm_eps: float, position: PositionMode, prefix_tokens: int, std: float
    ) -> None:
        super().__init__()
        self.norm_eps, self.position, self.prefix_tokens = norm_eps, position, prefix_tokens
        rows = {"added": tokens, "separate": tokens - prefix_tokens, "none": 0}[position]
        self.table = nn.Parameter(torch.empty(rows, width).normal_(std=std)) if rows else None

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """Return the stream (B, N, d), with positions where they are added; ``context`` is completed in place."""
        count = tokens.shape[1]
        context.prefix_tokens = self.prefix_tokens
        if self.table is None:
            return tokens
        if self.position == "added":
            return tokens + self.table[:count]
        table = self.table[: count - self.prefix_tokens]
        table = functional.layer_norm(table, table.shape[-1:], eps=self.norm_eps)
        context.positions = functional.pad(table, (0, 0, self.prefix_tokens, 0))
        return tokens


class PatchEmbedding(Embedding):
    """Patch embedding ``[cls; patches W + b] + positions`` (Dosovitskiy et al. 2021, eq. 1).

    The class token and positions start from N(0, 0.02). In a separate position table the class token's row is zero.
    """

    start_std = 0.02
    coordinates: Tensor

    def __init__(self, shape: ImageShape, *, width: int, norm_eps: float, position: PositionMode) -> None:
        super().__init__(shape, width=width, norm_eps=norm_eps, position=position)
        self.patch = shape.patch
        self.project = self.projection(shape.patch_values, width, norm_eps)
        self.cls = nn.Parameter(torch.empty(1, 1, width).normal_(std=self.start_std))
        self.positions = PositionTable(
            tokens=shape.patches + 1,
            width=width,
            norm_eps=norm_eps,
            position=position,
            prefix_tokens=1,
            std=self.start_std,
        )
        rows, columns = torch.arange(shape.height // shape.patch), torch.arange(shape.width // shape.patch)
        grid = functional.pad(torch.cartesian_prod(rows, columns).float().view(-1, 2), (0, 0, 1, 0))
        self.register_buffer("coordinates", grid, persistent=False)  # derived from the shape

    def projection(self, values: int, width: int, norm_eps: float) -> nn.Module:
        """Return the map from the ``values`` of a patch to a token of dimension ``width``."""
        return nn.Linear(values, width)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return tokens (B, 1 + N, d) of images (B, C, H, W), and their context."""
        return self.join(self.project(patchify(inputs, self.patch)))

    def join(self, patches: Tensor) -> tuple[Tensor, Context]:
        """Put the class token before projected patches (B, N, d) and add positions; return tokens (B, 1 + N, d)."""
        tokens = torch.cat([self.cls.expand(len(patches), -1, -1), patches], dim=1)
        context = Context(coordinates=self.coordinates)
        stream: Tensor = self.positions(tokens, context)
        return stream, context


class CratePatchEmbedding(PatchEmbedding):
    """CRATE's patch embedding ``LN(LN(patches) W + b)``; class token and positions start from N(0, 1).

    The first norm removes each patch's mean and gain, so changes of brightness and contrast hardly reach the model.
    Keep this in mind when you compare CRATE with a variant without this norm.
    """

    start_std = 1.0

    def projection(self, values: int, width: int, norm_eps: float) -> nn.Module:
        """Return CRATE's map from the ``values`` of a patch to a token of dimension ``width``."""
        before, after = nn.LayerNorm(values, eps=norm_eps), nn.LayerNorm(width, eps=norm_eps)
        return nn.Sequential(before, nn.Linear(values, width), after)


class TokenEmbedding(Embedding):
    """Text embedding ``words[id] + positions``, both initialised from N(0, 0.02).

    With ``norm`` the sum passes a layer norm with eps 1e-12, as in BERT. The embedding detects padding (id 0) and masks
    it in the context.
    """

    def __init__(
        self, shape: TextShape, *, width: int, norm_eps: float, position: PositionMode, norm: bool = False
    ) -> None:
        super().__init__(shape, width=width, norm_eps=norm_eps, position=position)
        self.causal, self.prefix_tokens = shape.causal, shape.prefix_tokens
        self.words = nn.Embedding(shape.vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.02)
        self.positions = PositionTable(
            tokens=shape.length,
            width=width,
            norm_eps=norm_eps,
            position=position,
            prefix_tokens=shape.prefix_tokens,
            std=0.02,
        )
        self.norm = nn.LayerNorm(width, eps=1e-12) if norm else None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return tokens (B, N, d) of token ids, int64 (B, N), and their context."""
        index = torch.arange(inputs.shape[1], device=inputs.device, dtype=torch.float32)
        keep = inputs != PAD
        context = Context(
            coordinates=(index - self.prefix_tokens).clamp(min=0)[:, None],
            keep=keep if not bool(keep.all()) else None,
            causal=self.causal,
            words=self.words.weight,
        )
        stream: Tensor = self.positions(self.words(inputs), context)
        return (stream if self.norm is None else self.norm(stream)), context
