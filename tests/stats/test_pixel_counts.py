"""Mean IoU against scikit-learn and loops, and its bootstrap interval."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from robustbench_wb.stats.pixel_counts import Counts, class_iou, image_iou, mean_iou, pixel_accuracy, worst_counts

CLASSES = 4


def masks(seed: int, images: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions (N, 6, 5) of four classes; a third of the predictions are drawn anew."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, (images, 6, 5))
    return labels, np.where(draw.random(labels.shape) < 1 / 3, draw.integers(0, CLASSES, labels.shape), labels)


def counted(labels: np.ndarray, answers: np.ndarray) -> Counts:
    one = [
        [[(a == k).sum(), (b == k).sum(), ((a == k) & (b == k)).sum()] for k in range(CLASSES)]
        for a, b in zip(labels, answers, strict=True)
    ]
    return np.array(one, np.int32)


def test_iou_is_the_jaccard_score_of_scikit_learn() -> None:
    labels, answers = masks(0)
    counts = counted(labels, answers)
    expected = jaccard_score(labels.ravel(), answers.ravel(), average=None)
    np.testing.assert_allclose(class_iou(counts.sum(0)), expected)
    assert mean_iou([counts]).value == pytest.approx(expected.mean())
    assert pixel_accuracy(counts) == pytest.approx((labels == answers).mean())
    for label, answer, found in zip(labels, answers, image_iou(counts), strict=True):
        own = np.unique(label)
        assert found == pytest.approx(jaccard_score(label.ravel(), answer.ravel(), average=None, labels=own).mean())


def test_classes_that_no_image_has_are_left_out() -> None:
    labels, answers = np.zeros((2, 6, 5), np.int64), np.zeros((2, 6, 5), np.int64)
    answers[0, 0, 0] = 3  # predicted but never labelled
    assert mean_iou([counted(labels, answers)]).value == pytest.approx(59 / 60)


def test_interval_covers_the_mean_iou_of_many_images() -> None:
    truth = mean_iou([counted(*masks(1, 4000))]).value
    inside = 0
    for seed in range(200):
        _, (low, high) = mean_iou([counted(*masks(1000 + seed, 40))])
        inside += low <= truth <= high
    assert 176 <= inside <= 198  # 88 to 99 %: percentile intervals of 40 images cover a little less than 95 %


def test_equal_counts_have_equal_intervals_and_one_image_has_none() -> None:
    counts = counted(*masks(2))
    assert mean_iou([counts]) == mean_iou([counts.copy()]) == mean_iou([counts, counts])
    assert mean_iou([counts[:1]]).interval == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least one"):
        mean_iou([counts[:0]])


def test_worst_counts_are_those_of_the_smallest_iou_of_each_image() -> None:
    labels, first = masks(3)
    second = np.where(np.arange(30)[:, None, None] % 2 == 0, labels, 0)
    parts = [counted(labels, first), counted(labels, second)]
    worst = worst_counts(parts)
    for row, found in enumerate(worst):
        ious = [image_iou(part)[row] for part in parts]
        np.testing.assert_array_equal(found, parts[int(np.argmin(ious))][row])
    assert mean_iou([worst]).value < min(mean_iou([part]).value for part in parts)
