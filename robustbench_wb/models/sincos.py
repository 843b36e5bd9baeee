"""Patch embedding with fixed sine and cosine positions, as in masked autoencoders."""

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_wb.errors import UsageError
from robustbench_wb.models.embeddings import PatchEmbedding
from robustbench_wb.models.shape import ImageShape, PositionMode


def sincos(places: Tensor, width: int) -> Tensor:
    """Encode coordinates (N,) as (N, width): ``sin(x w_i)``, then ``cos(x w_i)``, with w_i = 10000^(-2i / width).

    The formula is in Vaswani et al. 2017, section 3.5; here all sines come first. Computed in float64.
    """
    rates = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64, device=places.device) / (width / 2))
    angles = places.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_grid(rows: int, columns: int, width: int) -> Tensor:
    """Position table of a grid, float64 (rows columns, width), in raster order.

    The first half of the channels encodes the column, the second half the row.

    Raises:
        UsageError: the width is not a multiple of 4.
    """
    if width % 4:
        raise UsageError(f"fixed 2-D positions need a width that is a multiple of 4, not {width}")
    row, column = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2).unbind(dim=1)
    return torch.cat([sincos(column, width // 2), sincos(row, width // 2)], dim=1)


class SincosPatchEmbedding(PatchEmbedding):
    """Patch embedding ``[cls; patches W + b] + positions`` with fixed positions (He et al. 2022).

    The class token's position is a row of zeros. The table is a buffer, not a parameter: imported checkpoints replace
    it.
    """

    def __init__(self, shape: ImageShape, *, width: int, norm_eps: float, position: PositionMode) -> None:
        super().__init__(shape, width=width, norm_eps=norm_eps, position=position)
        learned = self.positions.table
        if learned is not None:
            grid = sincos_grid(shape.height // shape.patch, shape.width // shape.patch, width).to(learned)
            del self.positions.table
            table = functional.pad(grid, (0, 0, len(learned) - len(grid), 0))
            self.positions.register_buffer("table", table)
