"""Lifting of images to many channels by random filters, as before the convolutional layers of ReduNet."""

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.models.shape import ImageShape, PositionMode
from robustbench_wb.models.sockets import Context, Embedding
from robustbench_wb.models.sphere_norm import SphereNorm


class LiftedPatchEmbedding(Embedding):
    """Lifted patches ``normalise(ReLU(filters * image))`` (Chan et al. 2022, section 4.2, as implemented).

    The filters are Gaussian, drawn from the seed and not trained; the convolution is circular, so that a circular shift
    of the image by a patch is one of the tokens. A filter covers 2 x 2 patches, and there is a token for each patch,
    while the published filters have 3 to 9 pixels and a token for each pixel. There is no class token and no position.
    """

    filters: Tensor
    coordinates: Tensor

    def __init__(self, shape: ImageShape, *, width: int, norm_eps: float, position: PositionMode) -> None:
        super().__init__(shape, width=width, norm_eps=norm_eps, position=position)
        self.patch = shape.patch
        self.register_buffer("filters", torch.randn(width, shape.channels, 2 * shape.patch, 2 * shape.patch))
        rows, columns = torch.arange(shape.height // shape.patch), torch.arange(shape.width // shape.patch)
        grid = torch.cartesian_prod(rows, columns).float().view(-1, 2)
        self.register_buffer("coordinates", grid, persistent=False)  # derived from the shape
        self.norm = SphereNorm()

    def forward(self, inputs: Tensor) -> tuple[Tensor, Context]:
        """Return tokens (B, N, d) of images (B, C, H, W), each sample of unit length, and their context."""
        around = functional.pad(inputs, (0, self.patch, 0, self.patch), mode="circular")
        lifted = functional.conv2d(around, self.filters, stride=self.patch).relu()
        tokens: Tensor = self.norm(lifted.flatten(2).mT)
        return tokens, Context(coordinates=self.coordinates)
