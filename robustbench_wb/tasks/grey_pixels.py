"""Grey CIFAR-10 images as pixel sequences: the image task of Long Range Arena (Tay et al. 2021, arXiv 2011.04006)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.tasks.hub_images import CIFAR10
from robustbench_wb.tasks.pixel_tokens import level_tokens, published_tokens, sequence_shape
from robustbench_wb.tasks.task import Dataset, Split

VALIDATION = 0.1
"""Share of the training images held out for validation: the last tenth, as in the publication."""
_LUMA = np.array([0.2989, 0.587, 0.114])


class GreyPixelsTask:
    """Sequences of the 1,024 grey levels of an image in raster order.

    With ``published``, black pixels have the id of padding, as in the original task.
    """

    def __init__(self, name: str, published: bool) -> None:
        self.name, self.published = name, published

    def load(self, data_dir: str | None) -> Dataset:
        """Load the images of the task ``cifar10``, with its suffix for a lossy copy, and convert them to sequences."""
        images = CIFAR10.load(data_dir)
        rest = round(len(images.train) * (1 - VALIDATION))
        parts = {
            "train": images.train.select_rows(slice(rest)),
            "validation": images.train.select_rows(slice(rest, None)),
            "test": images.test,
        }
        found = {name: self._sequences(part) for name, part in parts.items()}
        return Dataset(
            label=self.name + images.label.removeprefix(CIFAR10.name),
            classes=images.classes,
            train=found["train"],
            test=found["test"],
            shape=sequence_shape(images.test.inputs[0, 0].size, len(images.classes), self.published),
            validation=found["validation"],
            shortcuts=("majority", "pixels"),
        )

    def _sequences(self, part: Split) -> Split:
        """Convert images to token sequences. Grey is 0.2989 R + 0.587 G + 0.114 B, rounded down, as in TensorFlow."""
        grey = np.concatenate([self._grey(part.inputs[start : start + 4096]) for start in range(0, len(part), 4096)])
        return replace(part, inputs=published_tokens(grey) if self.published else level_tokens(grey))

    def _grey(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.floor(np.tensordot(images, _LUMA, (1, 0)) + 1e-6).astype(np.uint8)[:, None]


IMAGE_PIXELS = GreyPixelsTask("image-pixels", published=False)
LRA_IMAGE = GreyPixelsTask("lra-image", published=True)
