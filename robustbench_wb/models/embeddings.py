"""Images to tokens: patches, the class token, positions."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.sockets import Context, Embedding


def patchify(images: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) to (B, N, patch * patch * C): raster order; inside a patch the channel is fastest."""
    b, c, h, w = images.shape
    cut = images.reshape(b, c, h // patch, patch, w // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, (h // patch) * (w // patch), patch * patch * c)


class PatchEmbedding(Embedding):
    """``[cls; patches W + b] + positions`` (Dosovitskiy et al. 2021, eq. 1), cls and positions of std 0.02.

    With ``separate`` the stream is ``[cls; patches W + b]``, and the context holds the table of the patches
    through a layer norm without parameters, with a row of zeros for CLS, which has no position.
    """

    start_std = 0.02

    def __init__(self, shape: ImageShape, width: int, norm_eps: float, separate: bool) -> None:
        super().__init__(shape, width, norm_eps, separate)
        self.patch = shape.patch
        self.norm_eps = norm_eps
        self.separate = separate
        self.project = self.projection(shape.patch_values, width, norm_eps)
        # CLS has no place in a separate table: a row for it would be a dead parameter.
        rows = shape.patches if separate else shape.patches + 1
        self.cls = nn.Parameter(torch.empty(1, 1, width).normal_(std=self.start_std))
        self.positions = nn.Parameter(torch.empty(1, rows, width).normal_(std=self.start_std))

    def projection(self, values: int, width: int, norm_eps: float) -> nn.Module:
        """The map from the values of a patch to a token."""
        return nn.Linear(values, width)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Images (B, C, H, W) to tokens (B, 1 + N, d) and their context."""
        patches: Tensor = self.project(patchify(inputs, self.patch))
        tokens = torch.cat([self.cls.expand(len(patches), -1, -1), patches], dim=1)
        if not self.separate:
            return tokens + self.positions, Context()
        table = functional.layer_norm(self.positions[0], self.positions.shape[-1:], eps=self.norm_eps)
        return tokens, Context(positions=functional.pad(table, (0, 0, 1, 0)))


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
