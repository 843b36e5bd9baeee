"""Textures of frost: six generated images of ice, or the images of a folder."""

import hashlib
import math
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import interpolate

from robustbench_wb import rng
from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.corruptions.fog import plasma

FOLDER = "RBWB_FROST_DIR"
"""Environment variable that names a folder of the user's own textures (PNG, JPEG)."""
SIDE = 1024
"""Side in pixels of a generated texture at scale 1."""
COUNT = 6
MEAN, DEVIATION = 158.0, 60.0
"""Mean and standard deviation of the grey levels, chosen to match the mean shift and the PSNR of CIFAR-C's frost."""
CRYSTALS = 28
"""Ice stars per texture."""
TINT = (-6.0, 0.0, 6.0)
"""Offsets of red, green and blue: ice is slightly blue."""


def textures(scale: float, smallest: int) -> Sequence[Tensor]:
    """Textures at a scale, uint8 (3, H, W) each, enlarged if a side would be below ``smallest``.

    Raises:
        UsageError: the folder of the environment variable contains no images, or one that cannot be read.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:
        return _grown(max(round(SIDE * scale), smallest))
    return _read(tuple((path, path.stat().st_mtime_ns) for path in _pictures(folder)), scale, smallest)


def textures_digest() -> str:
    """SHA-256 (hex) of the bytes of the folder's images; empty without a folder.

    Raises:
        UsageError: the folder contains no images.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:
        return ""
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in _pictures(folder))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _pictures(folder: str) -> list[Path]:
    found = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not found:
        raise UsageError(f"{FOLDER} is {folder!r}, which contains no images (png, jpg, jpeg)")
    return found


@lru_cache(maxsize=4)
def _read(pictures: tuple[tuple[Path, int], ...], scale: float, smallest: int) -> Sequence[Tensor]:
    found = []
    for path, _ in pictures:
        try:
            with Image.open(path) as opened:
                picture = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1)
        except OSError as error:
            raise UsageError(f"{FOLDER}: {path.name} cannot be read as an image ({error})") from error
        ratio = max(scale, *(smallest / side for side in picture.shape[1:]))
        size = [max(round(side * ratio), smallest) for side in picture.shape[1:]]
        # The reference shrinks textures in this way: it mixes two neighbours and skips the other pixels.
        found.append(interpolate(picture[None].float(), size, mode="bilinear").round().to(torch.uint8)[0])
    return found


@lru_cache(maxsize=4)
def _grown(side: int) -> Sequence[Tensor]:
    """Generate ice stars on a cloudy pane, with grey levels of ``MEAN`` and ``DEVIATION``."""
    numbers = torch.arange(COUNT)
    clouds = plasma(2 * rng.uniform(numbers, (128, 128), seed=0, label="frost pane") - 1, 1.6)[:, None]
    panes = interpolate(clouds, (side, side), mode="bilinear")[:, 0].numpy()
    return [_frozen(pane + 1.2 * _stars(number, side)) for number, pane in enumerate(panes)]


def _frozen(picture: NDArray[np.float64]) -> Tensor:
    """Picture scaled to mean and deviation, tinted: uint8 (3, side, side)."""
    level = MEAN + DEVIATION * (picture - picture.mean()) / picture.std()
    tinted = level[None] + np.array(TINT)[:, None, None]
    return torch.from_numpy(np.clip(np.rint(tinted), 0, 255).astype(np.uint8))


def _stars(number: int, side: int) -> NDArray[np.float64]:
    """Dendrites: six arms, each with branches at 60 degrees, each of these with twigs; (side, side) from 0 to 1.

    The pane is a torus: lines that leave on one side return on the other.
    """
    stars = rng.uniform(torch.tensor([number]), (CRYSTALS, 4), seed=0, label="frost stars")
    draws = stars[0].numpy().astype(np.float64)
    x, y, turn, length = draws.T
    reach = 0.05 + 0.2 * length
    arms = np.concatenate([_line(x, y, angle=math.tau * turn / 6 + k * math.pi / 3, length=reach) for k in range(6)])
    branches = _branched(arms, 14)
    twigs = _branched(branches, 6)
    points = [_points(lines, side, width) for lines, width in ((arms, 1.0), (branches, 0.8), (twigs, 0.6))]
    place, weight = (np.concatenate(parts) for parts in zip(*points, strict=True))
    drawn = np.bincount(place, weight, minlength=side * side).reshape(side, side)
    unit = side / SIDE
    glow = gaussian_filter(drawn, 6 * unit + 0.3, mode="wrap")
    lines = gaussian_filter(np.minimum(drawn, 1), 0.8 * unit + 0.2, mode="wrap")
    soft: NDArray[np.float64] = np.minimum(lines, 1) + glow / (glow + glow.mean())
    return soft / 2


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64], *, angle: NDArray[np.float64], length: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Lines as rows of start, angle and length, (lines, 4); the side of the pane is 1."""
    return np.stack([x, y, angle, length], 1)


def _branched(lines: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Pairs of branches along each line, shorter toward its tip, (branches, 4)."""
    x, y, angle, length = lines.T
    found = []
    for at in (np.arange(count) + 1.0) / (count + 1):
        foot_x, foot_y = x + at * length * np.cos(angle), y + at * length * np.sin(angle)
        shorter = 0.45 * (1 - at) * length
        found += [_line(foot_x, foot_y, angle=angle + way * math.pi / 3, length=shorter) for way in (-1, 1)]
    return np.concatenate(found)


def _points(lines: NDArray[np.float64], side: int, width: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Flat pixel indices along the lines, and the amount of ice at each."""
    x, y, angle, length = lines.T
    steps = np.linspace(0, 1, max(2, math.ceil(length.max() * side)))[:, None]
    columns = np.floor((x + steps * length * np.cos(angle)) * side).astype(np.int64) % side
    rows = np.floor((y + steps * length * np.sin(angle)) * side).astype(np.int64) % side
    weight = np.broadcast_to(width * length * side / len(steps), columns.shape)
    return (rows * side + columns).ravel(), weight.ravel()
