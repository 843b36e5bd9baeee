"""Projective maps of images."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb.stressors.corruptions.fields import bilinear, pixel_grid

Matrix = NDArray[np.float64]
"""Map of homogeneous pixel coordinates (x, y, 1) relative to the centre of the image, float64 (3, 3)."""


def warped(images: Tensor, matrix: Matrix) -> Tensor:
    """Images moved by a map, bilinear, with black outside: uint8 (B, C, H, W) to float64 of the same shape."""
    height, width = images.shape[-2:]
    rows, columns = pixel_grid(images)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    back = np.linalg.inv(matrix).tolist()
    source_x, source_y, scale = (row[0] * x + row[1] * y + row[2] for row in back)
    ones = torch.ones((len(images), 1, 1), dtype=torch.float64, device=images.device)
    # A source within rounding of a pixel is that pixel: the clean frame is the image.
    places = [(part / scale * ones * 2**20).round() / 2**20 for part in (source_y, source_x)]
    return bilinear(images.double(), places[0] + (height - 1) / 2, places[1] + (width - 1) / 2)


def rotation(degrees: float) -> Matrix:
    """Clockwise rotation about the centre."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def scaling(factor: float) -> Matrix:
    """Enlargement about the centre."""
    return np.diag([factor, factor, 1.0])


def translation(pixels: float) -> Matrix:
    """Translation to the right."""
    return np.array([[1.0, 0, pixels], [0, 1, 0], [0, 0, 1]])


def tilt(degrees: float, diagonal: float) -> Matrix:
    """Perspective view of an image that is turned about its vertical and then its horizontal axis by one angle.

    The distance and the focal length are the diagonal of the image, in pixels.
    """
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    about_y = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    turned = (about_x @ about_y)[:, :2]
    place = np.array([0, 0, diagonal])
    found: Matrix = np.diag([diagonal, diagonal, 1.0]) @ np.column_stack([turned, place])
    return found
