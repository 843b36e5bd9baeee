"""Generated segmentation task: handwritten digits scattered on textured ground. No network is needed."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.source import code_digest
from robustbench_wb.tasks.digits import DIGITS
from robustbench_wb.tasks.segmentation import SegmentationDataset, segmentation_split
from robustbench_wb.tasks.split_cache import load_or_make_splits
from robustbench_wb.tasks.task import Split

SIDE: Final = 40
"""Side of an image in pixels."""
TRAIN, TEST = 2000, 400
"""Number of images in the two splits."""
_DIGITS: Final = (2, 3)
"""Smallest and largest number of digits in an image."""
_SIZES: Final = (14, 19)
"""Smallest and largest side of a digit in pixels."""
_TRIES: Final = 20
"""Places that are tried for a digit until it overlaps no other; then it is left out."""
_INK: Final = 96
"""Ink level from which a pixel belongs to the digit."""
_GROUND_TONE, _DIGIT_TONE = (0, 130), (150, 256)
"""Ranges of the levels of ground and digits in each channel, ends excluded."""
_SEEDS: Final = {"train": 1, "test": 2}


class ScatteredDigitsTask:
    """Colour images of 40 x 40 pixels with two or three handwritten digits; the label of a pixel is its digit.

    Class 0 is the ground: two random colours, mixed by smooth noise. Digits are enlarged to 14 to 19 pixels (bicubic),
    have a random bright colour each, and do not overlap. A pixel belongs to a digit from 96 of 255 levels of ink on.
    Digits of the training images come from the training split of the task ``digits``, those of the test images from its
    test split. All numbers are drawn from fixed streams of numpy's RandomState, and images are made of integers, so
    that every machine makes the same ones.
    """

    name = "scattered-digits"
    suite = "adversarial-segmentation"

    def load(self, data_dir: str | None) -> SegmentationDataset:
        """Draw both splits, or read them from the cache; ``data_dir`` is ignored."""
        digits = DIGITS.load(data_dir)
        splits = load_or_make_splits(
            {"code": code_digest(__name__), "name": self.name},
            name=self.name,
            verb="generate",
            make=lambda: {
                "train": _draw_split(digits.train, TRAIN, _SEEDS["train"]),
                "test": _draw_split(digits.test, TEST, _SEEDS["test"]),
            },
        )
        return SegmentationDataset(
            label=self.name,
            classes=("ground", *digits.classes),
            train=splits["train"],
            test=splits["test"],
            shape=SegmentationShape(channels=3, height=SIDE, width=SIDE, classes=1 + len(digits.classes), patch=8),
        )


def _draw_split(digits: Split, count: int, seed: int) -> Split:
    draw = np.random.RandomState(seed)
    drawn = [_draw_image(digits, draw) for _ in range(count)]
    return segmentation_split(np.stack([image for image, _ in drawn]), np.stack([mask for _, mask in drawn]))


def _draw_image(digits: Split, draw: np.random.RandomState) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Draw an image, uint8 (3, H, W), and its labels, int16 (H, W)."""
    image, mask = _ground(draw), np.zeros((SIDE, SIDE), np.int16)
    taken = np.zeros((SIDE, SIDE), np.bool_)
    for _ in range(draw.randint(_DIGITS[0], _DIGITS[1] + 1)):
        which, side = draw.randint(len(digits)), draw.randint(_SIZES[0], _SIZES[1] + 1)
        tone = draw.randint(*_DIGIT_TONE, size=(3, 1, 1))
        for top, left in draw.randint(SIDE - side + 1, size=(_TRIES, 2)):
            place = (slice(top, top + side), slice(left, left + side))
            if not taken[place].any():
                taken[place] = True
                ink = _enlarged(digits.inputs[which, 0], side).astype(np.int64)
                image[:, *place] = _mixed(image[:, *place], tone, ink)
                mask[place][ink >= _INK] = 1 + digits.labels[which]
                break
    return image, mask


def _ground(draw: np.random.RandomState) -> NDArray[np.uint8]:
    """Draw textured ground, uint8 (3, H, W): two colours in shares that vary smoothly, at two scales."""
    one, other = draw.randint(*_GROUND_TONE, size=(2, 3, 1, 1))
    coarse, fine = (_enlarged(draw.randint(256, size=(n, n)).astype(np.uint8), SIDE).astype(np.int64) for n in (4, 14))
    return _mixed(one, other, (2 * coarse + fine) // 3)


def _mixed(one: NDArray[np.generic], other: NDArray[np.int64], share: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Mix two colours; ``share`` of the second is 0 to 255."""
    return ((one.astype(np.int64) * (255 - share) + other * share + 127) // 255).astype(np.uint8)


def _enlarged(levels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC), np.uint8)


SCATTERED_DIGITS = ScatteredDigitsTask()
