"""CIFAR-10 in grey, pixel by pixel: the image task of Long Range Arena (Tay et al. 2021, arXiv 2011.04006)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.shape import TextShape
from robustbench_wb.tasks.hub import CIFAR10
from robustbench_wb.tasks.task import Dataset, Split
from robustbench_wb.tasks.vocabulary import CLS, SPECIAL

VALIDATION = 0.1
"""The last tenth of the training images, as in the publication."""
LEVELS = 256
_LUMA = np.array([0.2989, 0.587, 0.114])


def level_tokens(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """``[CLS]`` and the grey levels of images (N, 1, H, W) in raster order, (N, 1 + H W): no level has the id of
    padding."""
    levels = images.reshape(len(images), -1).astype(np.int32) + len(SPECIAL)
    return np.pad(levels, ((0, 0), (1, 0)), constant_values=CLS)


def published_tokens(images: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The same as published: ids are the levels themselves, so that black pixels pass for padding and are not seen."""
    levels = images.reshape(len(images), -1).astype(np.int32)
    return np.pad(levels, ((0, 0), (1, 0)), constant_values=LEVELS)


def sequence_shape(pixels: int, classes: int, published: bool) -> TextShape:
    """What a row of pixels asks of a model: as published its class token answers, else the mean over all pixels."""
    vocabulary = LEVELS + 1 if published else LEVELS + len(SPECIAL)
    return TextShape(vocabulary=vocabulary, length=1 + pixels, classes=classes, pool="cls" if published else "mean")


class GreyPixels:
    """The 1,024 grey levels of an image, row after row."""

    def __init__(self, name: str, published: bool) -> None:
        self.name, self.published = name, published

    def load(self, data_dir: str | None) -> Dataset:
        """The images as ``cifar10`` has them; a lossy copy is named so here, too."""
        images = CIFAR10.load(data_dir)
        rest = round(len(images.train) * (1 - VALIDATION))
        parts = {
            "train": Split(images.train.inputs[:rest], images.train.labels[:rest]),
            "validation": Split(images.train.inputs[rest:], images.train.labels[rest:]),
            "test": images.test,
        }
        found = {name: self._sequences(part) for name, part in parts.items()}
        return Dataset(
            self.name + images.label.removeprefix(CIFAR10.name),
            images.classes,
            found["train"],
            found["test"],
            sequence_shape(images.test.inputs[0, 0].size, len(images.classes), self.published),
            validation=found["validation"],
            shortcuts=("majority", "pixels"),
        )

    def _sequences(self, part: Split) -> Split:
        """Grey is 0.2989 R + 0.587 G + 0.114 B, rounded down, as TensorFlow has it."""
        grey = np.concatenate([self._grey(part.inputs[start : start + 4096]) for start in range(0, len(part), 4096)])
        return replace(part, inputs=published_tokens(grey) if self.published else level_tokens(grey))

    def _grey(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.floor(np.tensordot(images, _LUMA, (1, 0)) + 1e-6).astype(np.uint8)[:, None]


IMAGE_PIXELS = GreyPixels("image-pixels", published=False)
LRA_IMAGE = GreyPixels("lra-image", published=True)
