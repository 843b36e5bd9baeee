"""Tracing of the label from the pixels of an image."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.pathfinder.parameters import PathfinderParameters

_MARKER = 255
_IN_PLANE = np.zeros((3, 3, 3), bool)
_IN_PLANE[1] = True
"""Structuring element: eight neighbours within an image, none across images."""


def trace_labels(images: NDArray[np.uint8], parameters: PathfinderParameters) -> NDArray[np.int64]:
    """Trace images (N, S, S): 1 if a chain of paddles leads from one marker to the other, else 0, int64 (N,).

    Two pixels of ink are connected if they are at most ``parameters.gap`` rows and columns apart: every pixel is
    enlarged to a square of that side, and squares touch under the same condition. Markers are spots of white pixels.

    Raises:
        DataError: an image does not have exactly two markers.
    """
    ends = find_markers(images)
    # The window of maximum_filter is centred; its position does not change which squares touch.
    size = (1, parameters.gap, parameters.gap)
    padded = np.pad(images > 0, ((0, 0), (parameters.gap,) * 2, (parameters.gap,) * 2))
    chains, _ = ndimage.label(ndimage.maximum_filter(padded, size), structure=_IN_PLANE)
    at = ends + parameters.gap
    number = np.arange(len(images))[:, None]
    first, second = chains[number, at[..., 0], at[..., 1]].T
    joined: NDArray[np.int64] = (first == second).astype(np.int64)
    return joined


def find_markers(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find a white pixel (row, column) of each of the two markers, (N, 2, 2), in raster order.

    Raises:
        DataError: an image does not have exactly two markers.
    """
    spots, _ = ndimage.label(images == _MARKER, structure=_IN_PLANE)
    flat = spots.ravel()
    where = np.flatnonzero(flat)
    first = where[np.unique(flat[where], return_index=True)[1]]
    image, row, column = np.unravel_index(first, images.shape)
    wrong = np.flatnonzero(np.bincount(image, minlength=len(images)) != 2)
    if len(wrong):
        raise DataError(f"pathfinder: image {wrong[0]} has {int((image == wrong[0]).sum())} markers instead of two")
    return np.stack([row, column], axis=1).reshape(-1, 2, 2)
