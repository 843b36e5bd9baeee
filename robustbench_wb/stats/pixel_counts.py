"""Intersection over union and pixel accuracy from pixel counts per image, with intervals.

Counts are integers (N, K, 3) for N images and K classes: pixels labelled with the class, pixels predicted as the class,
and pixels that are both. Pixels that do not count (void) are in none of them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.stats.intervals import Interval
from robustbench_wb.streams import philox_stream, scale_to_integers

Counts = NDArray[np.int32]
Floats = NDArray[np.float64]

DRAWS: Final = 1_000
"""Bootstrap samples per interval."""


class MeanIou(NamedTuple):
    """Mean IoU of a set of images, or the mean of several mIoU, with its 95 % interval."""

    value: float
    interval: Interval


def class_iou(counts: NDArray[np.generic]) -> Floats:
    """IoU of each class, (..., K), from counts (..., K, 3); NaN for classes without a labelled pixel."""
    labelled, predicted, both = np.moveaxis(counts.astype(np.float64), -1, 0)
    union = labelled + predicted - both
    found: Floats = np.divide(both, union, out=np.full(union.shape, np.nan), where=labelled > 0)
    return found


def image_iou(counts: Counts) -> Floats:
    """Mean IoU of each image over the classes in its label, (N,)."""
    found: Floats = np.nanmean(class_iou(counts), axis=-1)
    return found


def mean_iou(parts: Sequence[Counts]) -> MeanIou:
    """Mean of the mIoU of several evaluations of the same images, in the same order.

    mIoU is the mean, over the classes that are labelled in some image, of IoU = both / (labelled + predicted - both),
    where the counts are sums over the images (Everingham et al. 2015, International Journal of Computer Vision 111,
    98-136). The interval has the 2.5 and 97.5 percentiles over ``DRAWS`` bootstrap samples of whole images (Efron 1979,
    Annals of Statistics 7, 1-26): pixels of one image are dependent, images are not. All evaluations share the drawn
    images, because they are of the same images. A single image has the interval from 0 to 1.

    Raises:
        ValueError: there are no evaluations, or no images.
    """
    if not parts or not len(parts[0]):
        raise ValueError("mean IoU needs at least one evaluation of one image")
    value = float(np.mean([np.nanmean(class_iou(counts.sum(0, dtype=np.int64))) for counts in parts]))
    if len(parts[0]) == 1:
        return MeanIou(value, Interval(0.0, 1.0))
    low, high = np.quantile(np.mean([_resampled(counts) for counts in parts], axis=0), (0.025, 0.975))
    return MeanIou(value, Interval(float(low), float(high)))


def pixel_accuracy(counts: Counts) -> float:
    """Share of the counted pixels of all images that have their label predicted."""
    return float(counts[..., 2].sum() / counts[..., 0].sum())


def worst_counts(parts: Sequence[Counts]) -> Counts:
    """Counts of each image in the evaluation that has the smallest mean IoU of the image, (N, K, 3)."""
    worst = np.argmin([image_iou(counts) for counts in parts], axis=0)
    found: Counts = np.stack(parts)[worst, np.arange(len(worst))]
    return found


def _resampled(counts: Counts) -> Floats:
    """Values of mIoU over bootstrap samples of the images, (DRAWS,)."""
    sums = _times(len(counts)) @ counts.reshape(len(counts), -1).astype(np.float64)
    found: Floats = np.nanmean(class_iou(sums.reshape(DRAWS, *counts.shape[1:])), axis=-1)
    return found


@lru_cache(maxsize=1)
def _times(images: int) -> Floats:
    """How often each bootstrap sample has each image, (DRAWS, N), from a fixed stream."""
    words = philox_stream("pixel bootstrap").random_raw(DRAWS * images)
    places = scale_to_integers(images, words) + np.repeat(np.arange(DRAWS) * images, images)
    return np.bincount(places, minlength=DRAWS * images).reshape(DRAWS, images).astype(np.float64)
