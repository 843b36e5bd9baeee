"""Small segmentation data: dark pictures with a bright rectangle, and their masks."""

from pathlib import Path

import numpy as np
from PIL import Image


def scene(seed: int, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 (side, side, 3), and its mask, uint8 (side, side): 1 in the rectangle, else 0."""
    draw = np.random.default_rng(seed)
    top, left = draw.integers(1, side // 2, 2)
    mask = np.zeros((side, side), np.uint8)
    mask[top : top + side // 3, left : left + side // 3] = 1
    picture = draw.integers(10, 60, (side, side, 3)) + 160 * mask[..., None]
    return picture.astype(np.uint8), mask


def write_scenes(folder: Path, *, count: int, split: str = "", first: int = 0) -> None:
    """Write ``count`` pictures to ``images`` and their masks to ``masks``, in folders of a split if it is given."""
    for name in ("images", "masks"):
        (folder / name / split).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        picture, mask = scene(number)
        Image.fromarray(picture).save(folder / "images" / split / f"{number:03}.png")
        Image.fromarray(mask).save(folder / "masks" / split / f"{number:03}.png")
