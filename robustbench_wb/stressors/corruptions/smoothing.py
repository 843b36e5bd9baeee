"""Exact Gaussian smoothing of random fields: the batch size cannot change a bit."""

from functools import lru_cache

import torch
from torch import Tensor

from robustbench_wb.stressors.corruptions.filters import BandedMatrix, Border, gaussian_matrix

_QUANTA = 2.0**22
"""Quanta per unit of a field. Values below 16 need 26 bits, weights 20: sums are exact in float64."""


def smooth(fields: Tensor, sigma: float, *, border: Border, truncate: float = 4.0) -> Tensor:
    """Gaussian filter of each field, like ``scipy.ndimage.gaussian_filter``, rounded to 2^-22 after each direction.

    Args:
        fields: float32 (..., H, W), of magnitude below 16.
        sigma: in pixels.
        border: pixels beyond the edges.
        truncate: radius of the kernel in sigmas.
    """
    down, along = (
        _lines(side, sigma, truncate=truncate, border=border, device=fields.device) for side in fields.shape[-2:]
    )
    halfway = along.rows((fields.double() * _QUANTA).round_()).round_()
    return (down.columns(halfway) / _QUANTA).float()


@lru_cache(maxsize=32)
def _lines(side: int, sigma: float, *, truncate: float, border: Border, device: torch.device) -> BandedMatrix:
    return BandedMatrix(gaussian_matrix(side, sigma, truncate=truncate, border=border).to(device))
