"""Data of segmentation tasks: images, and a label for every pixel."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.segmentation_shape import VOID, SegmentationShape
from robustbench_wb.spec import digest
from robustbench_wb.tasks.task import Dataset, Split


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentationDataset(Dataset):
    """Dataset whose splits have labels (N, H, W): the class of every pixel, or ``VOID`` for pixels that do not count.

    The training split may have no samples; models are then evaluated as they are.

    Raises:
        DataError: images or labels have wrong types, shapes or ranges.
    """

    shape: SegmentationShape

    def __post_init__(self) -> None:
        """Check all splits that have samples."""
        for name, split in (("train", self.train), ("test", self.test), ("validation", self.validation)):
            problem = "" if split is None or (name == "train" and not len(split)) else _problem(split, self.shape)
            if problem:
                raise DataError(f"task {self.label!r}, {name} split: {problem}")

    @cached_property
    def digest(self) -> str:
        """Digest of the test split and of the IoU from which an image counts as correct."""
        return digest([self.test.digest(), self.shape.least_iou])


def _problem(split: Split, shape: SegmentationShape) -> str:
    """Describe what is wrong with the samples of a split; empty if all is well."""
    images, labels, size = split.inputs, split.labels, (shape.height, shape.width)
    if images.dtype != np.uint8 or images.shape[1:] != (shape.channels, *size):
        return f"images must be levels from 0 to 255, uint8 {(shape.channels, *size)}; these are {images.shape[1:]}"
    if labels.shape != (len(images), *size) or not len(labels):
        return f"{len(images)} images of {size} pixels need as many labels; these are {labels.shape}"
    for label, mask in enumerate(labels):
        counted = mask[mask != VOID]
        if not counted.size:
            return f"no pixel of label {label} counts"
        if int(counted.min()) < 0 or int(counted.max()) >= shape.classes:
            low, high = int(counted.min()), int(counted.max())
            return f"label {label} has {low} to {high}; the task has {shape.classes} classes, numbered from 0"
    return ""


def load_split(folder: Path, prefix: str) -> Split:
    """Return the split whose arrays are in a folder, mapped from ``{prefix}images.npy`` and ``{prefix}masks.npy``."""
    images, masks = (np.load(folder / f"{prefix}{name}.npy", mmap_mode="r") for name in ("images", "masks"))
    return segmentation_split(images, masks)


def write_images(path: Path, images: Iterable[NDArray[np.uint8]], *, count: int, size: int) -> None:
    """Write images, uint8 (3, size, size), one after the other into the file of an array (count, 3, size, size)."""
    pages = open_memmap(path, "w+", np.uint8, (count, 3, size, size))
    for row, levels in enumerate(images):
        pages[row] = levels
    pages.flush()


def segmentation_split(images: NDArray[np.uint8], masks: NDArray[np.int16]) -> Split:
    """Return images (N, C, H, W) and masks (N, H, W) as a split. Labels stay int16, a quarter of the size of int64."""
    return Split(inputs=images, labels=cast("NDArray[np.int64]", masks))
