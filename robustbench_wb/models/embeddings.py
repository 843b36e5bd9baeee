"""Images or token ids to the token stream: patches or words, the class token, positions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.shape import PAD, ImageShape, TextShape
from robustbench_wb.models.sockets import Context, Embedding, Position


def patchify(images: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) to (B, N, patch * patch * C): raster order; inside a patch the channel is fastest."""
    b, c, h, w = images.shape
    cut = images.reshape(b, c, h // patch, patch, w // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, (h // patch) * (w // patch), patch * patch * c)


class PositionTable(nn.Module):
    """Learned positions, N(0, std), given to the stream or to the context, whichever the attention asks for.

    Kept separate, the table has no row for the leading ``unplaced`` tokens (it would be a dead parameter), and it
    passes a layer norm without parameters, so that its scale is that of the content.
    """

    def __init__(self, tokens: int, width: int, norm_eps: float, position: Position, unplaced: int, std: float) -> None:
        super().__init__()
        self.norm_eps, self.position, self.unplaced = norm_eps, position, unplaced
        rows = {"added": tokens, "separate": tokens - unplaced, "none": 0}[position]
        self.table = nn.Parameter(torch.empty(rows, width).normal_(std=std)) if rows else None

    def forward(self, tokens: Tensor, context: Context) -> Tensor:
        """The stream (B, N, d), with positions or without; the context is completed in place."""
        count = tokens.shape[1]
        context.unplaced = self.unplaced
        if self.table is None:
            return tokens
        if self.position == "added":
            return tokens + self.table[:count]
        table = self.table[: count - self.unplaced]
        table = functional.layer_norm(table, table.shape[-1:], eps=self.norm_eps)
        context.positions = functional.pad(table, (0, 0, self.unplaced, 0))
        return tokens


class PatchEmbedding(Embedding):
    """``[cls; patches W + b] + positions`` (Dosovitskiy et al. 2021, eq. 1), cls and positions of std 0.02.

    The class token has no place: where positions are separate its row is zero.
    """

    start_std = 0.02
    coordinates: Tensor

    def __init__(self, shape: ImageShape, width: int, norm_eps: float, position: Position) -> None:
        super().__init__(shape, width, norm_eps, position)
        self.patch = shape.patch
        self.project = self.projection(shape.patch_values, width, norm_eps)
        self.cls = nn.Parameter(torch.empty(1, 1, width).normal_(std=self.start_std))
        self.positions = PositionTable(shape.patches + 1, width, norm_eps, position, 1, self.start_std)
        rows, columns = torch.arange(shape.height // shape.patch), torch.arange(shape.width // shape.patch)
        grid = functional.pad(torch.cartesian_prod(rows, columns).float().view(-1, 2), (0, 0, 1, 0))
        self.register_buffer("coordinates", grid, persistent=False)  # it follows from the shape

    def projection(self, values: int, width: int, norm_eps: float) -> nn.Module:
        """The map from the values of a patch to a token."""
        return nn.Linear(values, width)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Images (B, C, H, W) to tokens (B, 1 + N, d) and their context."""
        return self.join(self.project(patchify(inputs, self.patch)))

    def join(self, patches: Tensor) -> tuple[Tensor, Context]:
        """Projected patches (B, N, d) to tokens: behind the class token, with their positions."""
        tokens = torch.cat([self.cls.expand(len(patches), -1, -1), patches], dim=1)
        context = Context(coordinates=self.coordinates)
        stream: Tensor = self.positions(tokens, context)
        return stream, context


class CratePatchEmbedding(PatchEmbedding):
    """CRATE's: ``LN(LN(patches) W + b)``, cls and positions from N(0, 1).

    The first norm removes each patch's mean and gain, so brightness and contrast hardly reach the model;
    compare with a variant that lacks it with that in mind.
    """

    start_std = 1.0

    def projection(self, values: int, width: int, norm_eps: float) -> nn.Module:
        """The map from the values of a patch to a token."""
        before, after = nn.LayerNorm(values, eps=norm_eps), nn.LayerNorm(width, eps=norm_eps)
        return nn.Sequential(before, nn.Linear(values, width), after)


class TokenEmbedding(Embedding):
    """``words[id] + positions``, both of std 0.02; with ``norm`` a layer norm of eps 1e-12 over the sum (BERT).

    Padding (id 0) is found here and kept out of sight of the other tokens.
    """

    def __init__(self, shape: TextShape, width: int, norm_eps: float, position: Position, norm: bool = False) -> None:
        super().__init__(shape, width, norm_eps, position)
        self.causal, self.unplaced = shape.causal, shape.unplaced
        self.words = nn.Embedding(shape.vocabulary, width)
        nn.init.normal_(self.words.weight, std=0.02)
        self.positions = PositionTable(shape.length, width, norm_eps, position, shape.unplaced, 0.02)
        self.norm = nn.LayerNorm(width, eps=1e-12) if norm else None

    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Token ids, int64 (B, N), to tokens (B, N, d) and their context."""
        index = torch.arange(inputs.shape[1], device=inputs.device, dtype=torch.float32)
        keep = inputs != PAD
        context = Context(
            coordinates=(index - self.unplaced).clamp(min=0)[:, None],
            keep=keep if not bool(keep.all()) else None,
            causal=self.causal,
            words=self.words.weight,
        )
        stream: Tensor = self.positions(self.words(inputs), context)
        return (stream if self.norm is None else self.norm(stream)), context
