"""Segmentation head: patch tokens to logits of every pixel."""

from torch import Tensor, nn
from torch.nn import functional

from robustbench_wb.models.sockets import Context, Head


class PatchDecoder(Head):
    """Linear decoder: ``LN(x) W + b`` of every patch token gives the logits of the squares that its patch consists of.

    A patch of ``squares`` x ``squares`` squares has ``squares`` x ``squares`` x classes outputs, which are put in their
    places (sub-pixel layer, Shi et al. 2016, arXiv 1609.05158) and interpolated bilinearly to the pixels of a square.
    With one square per patch this is the linear decoder of Segmenter (Strudel et al. 2021, arXiv 2105.05633, section
    3.2). The class token and register tokens are not used.

    Args:
        width: dimension of a token.
        classes: number of classes.
        norm_eps: eps of the layer norm.
        rows: number of patches from top to bottom.
        squares: number of squares from top to bottom of a patch.
        stride: side of a square in pixels.
    """

    def __init__(
        self, width: int, classes: int, norm_eps: float, *, rows: int = 1, squares: int = 1, stride: int = 1
    ) -> None:
        super().__init__(width, classes, norm_eps)
        self.rows, self.squares, self.stride = rows, squares, stride
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.linear = nn.Linear(width, squares * squares * classes)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the last stream (B, N, d) to logits (B, classes, height, width)."""
        patches = self.linear(self.norm(x[:, context.prefix_tokens :]))
        grid = patches.transpose(1, 2).unflatten(2, (self.rows, -1))
        logits = functional.pixel_shuffle(grid, self.squares)
        if self.stride == 1:
            return logits
        return functional.interpolate(logits, scale_factor=float(self.stride), mode="bilinear", align_corners=False)
