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
PATTERNS: Final = 1_999
"""Random patterns per permutation test; with the observed one, p-values are multiples of 1/2,000."""


class MeanIou(NamedTuple):
    """Mean IoU of a set of images, or the mean of several mIoU, with its 95 % interval."""

    value: float
    interval: Interval


class MeanIouChange(NamedTuple):
    """Change of a mean IoU, new minus old, with its 95 % interval, and the p-value of a test without the interval."""

    value: float
    interval: Interval
    p: float


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


def mean_iou_change(old: Counts, new: Counts) -> MeanIouChange:
    """Change of mIoU between two models on the same images, in the same order.

    The interval has the 2.5 and 97.5 percentiles of the change over ``DRAWS`` bootstrap samples of images, each with
    both models. The p-value is two-sided and does not use the interval: under the null hypothesis the two models are
    exchangeable on every image, so that the two counts of an image could be swapped. It is (1 + as extreme) /
    (1 + ``PATTERNS``) over random patterns of swaps (Phipson & Smyth 2010, Statistical Applications in Genetics and
    Molecular Biology 9, 39), with mIoU computed anew for each pattern. A single image has the interval from -1 to 1.

    Raises:
        ValueError: there are no images, or the two counts differ in shape.
    """
    if old.shape != new.shape or not len(old):
        raise ValueError(f"a change of mean IoU needs pairs of images, not {old.shape} and {new.shape} counts")
    before, after = (counts.reshape(len(counts), -1).astype(np.float64) for counts in (old, new))
    value = _miou(after.sum(0), old.shape) - _miou(before.sum(0), old.shape)
    words = philox_stream("pixel permutation").random_raw(PATTERNS * len(old))
    moved = (words >> np.uint64(63)).astype(np.float64).reshape(PATTERNS, -1) @ (after - before)
    swapped = _miou(after.sum(0) - moved, old.shape) - _miou(before.sum(0) + moved, old.shape)
    extreme = int(np.count_nonzero(np.abs(swapped) >= np.abs(value) - 1e-12))
    low, high = (-1.0, 1.0)
    if len(old) > 1:
        low, high = np.quantile(_resampled(new) - _resampled(old), (0.025, 0.975))
    return MeanIouChange(float(value), Interval(float(low), float(high)), (1 + extreme) / (1 + PATTERNS))


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
    return _miou(_times(len(counts)) @ counts.reshape(len(counts), -1).astype(np.float64), counts.shape)


def _miou(sums: Floats, shape: tuple[int, ...]) -> Floats:
    """mIoU of sums of counts, (...,), from (..., K * 3); ``shape`` ends in (K, 3)."""
    found: Floats = np.nanmean(class_iou(sums.reshape(*sums.shape[:-1], *shape[1:])), axis=-1)
    return found


@lru_cache(maxsize=1)
def _times(images: int) -> Floats:
    """How often each bootstrap sample has each image, (DRAWS, N), from a fixed stream."""
    words = philox_stream("pixel bootstrap").random_raw(DRAWS * images)
    places = scale_to_integers(images, words) + np.repeat(np.arange(DRAWS) * images, images)
    return np.bincount(places, minlength=DRAWS * images).reshape(DRAWS, images).astype(np.float64)
