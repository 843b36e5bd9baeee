"""Patches with fixed sine and cosine positions, as masked autoencoders have them."""

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.embeddings import PatchEmbedding
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.sockets import Position


def sincos(places: Tensor, width: int) -> Tensor:
    """(N,) coordinates to (N, width): ``sin(x w_i)``, then ``cos(x w_i)``, w_i = 10000^(-2i / width).

    Vaswani et al. 2017, section 3.5, all sines first. Computed in float64.
    """
    rates = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64, device=places.device) / (width / 2))
    angles = places.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_grid(rows: int, columns: int, width: int) -> Tensor:
    """(rows columns, width), float64, raster order: the column in the first half of the channels, the row in the other.

    Raises:
        UsageError: the width is not a multiple of 4.
    """
    if width % 4:
        raise UsageError(f"fixed 2-D positions need a width that is a multiple of 4, not {width}")
    row, column = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2).unbind(dim=1)
    return torch.cat([sincos(column, width // 2), sincos(row, width // 2)], dim=1)


class SincosPatchEmbedding(PatchEmbedding):
    """``[cls; patches W + b] + positions`` with fixed positions, the class token's a row of zeros (He et al. 2022).

    The table is in the state, not among the parameters: checkpoints of others bring their own.
    """

    def __init__(self, shape: ImageShape, width: int, norm_eps: float, position: Position) -> None:
        super().__init__(shape, width, norm_eps, position)
        learned = self.positions.table
        if learned is not None:
            grid = sincos_grid(shape.height // shape.patch, shape.width // shape.patch, width).to(learned)
            del self.positions.table
            table = functional.pad(grid, (0, 0, len(learned) - len(grid), 0))
            self.positions.register_buffer("table", table)
