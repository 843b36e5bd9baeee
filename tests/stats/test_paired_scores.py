"""Changes of calibration, Brier score, AUROC and mean IoU: values against single estimates, coverage by simulation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from robustbench_wb.stats.auroc import auroc
from robustbench_wb.stats.calibration import bin_gaps, brier_score, calibration_error
from robustbench_wb.stats.paired_scores import Answers, Scores, auroc_change, brier_change, calibration_change
from robustbench_wb.stats.pixel_counts import PATTERNS, mean_iou, mean_iou_change


def two_models(draw: np.random.Generator, n: int, old: float, new: float, own: float) -> tuple[Answers, Answers]:
    """Answers of two models to the same samples, each too confident by its excess.

    ``own`` is the spread of the second model's confidence around that of the first.
    """
    skill, luck = draw.normal(1.5, 1.5, n), draw.random(n)
    first, second = 1 / (1 + np.exp(-skill)), 1 / (1 + np.exp(-skill - own * draw.normal(size=n)))
    return Answers(first, luck < np.clip(first - old, 0, 1)), Answers(second, luck < np.clip(second - new, 0, 1))


@pytest.mark.parametrize(
    ("old", "new", "own"),
    [(0.0, 0.0, 0.3), (0.0, 0.05, 0.3), (0.1, 0.1, 0.3), (0.1, 0.0, 1.0), (0.2, 0.1, 0.1), (0.03, 0.06, 0.0)],
)
def test_intervals_cover_the_change_of_the_calibration_error(old: float, new: float, own: float) -> None:
    many = two_models(np.random.default_rng(9), 400_000, old, new, own)
    # A calibrated model has an error of 0, not that of the noise of many samples.
    errors = [
        float(np.abs(bin_gaps(*one).mean(0)).sum()) if excess else 0.0
        for one, excess in zip(many, (old, new), strict=True)
    ]
    truth, draw, inside, widths, apart = errors[1] - errors[0], np.random.default_rng(0), 0, 0.0, 0.0
    for _ in range(60):
        first, second = two_models(draw, 200, old, new, own)
        low, high = calibration_change(first, second).interval
        inside += low <= truth <= high
        widths += high - low
        apart += sum(np.ptp(calibration_error(*one).interval) for one in (first, second))
    assert inside >= 57  # 95 %
    assert widths < apart  # narrower than the ends of the two intervals allow


def test_the_change_of_the_calibration_error_is_the_difference_of_the_errors() -> None:
    old, new = two_models(np.random.default_rng(0), 300, 0.0, 0.2, 0.3)
    found, back = calibration_change(old, new), calibration_change(new, old)
    assert found.value == pytest.approx(calibration_error(*new).value - calibration_error(*old).value)
    assert back.value == pytest.approx(-found.value)
    np.testing.assert_allclose(back.interval, (-found.interval.high, -found.interval.low), atol=1e-12)
    assert 0 < found.interval.low < found.value < found.interval.high
    same = calibration_change(old, old)
    assert same.value == 0
    assert same.interval.low == pytest.approx(-same.interval.high)
    firsts = [Answers(one.confidences[:1], one.correct[:1]) for one in (old, new)]
    assert calibration_change(firsts[0], firsts[1]).interval == (-1, 1)


def test_the_change_of_the_brier_score_is_paired_and_covers() -> None:
    draw = np.random.default_rng(0)
    old = draw.beta(1, 5, 4_000)
    new = np.clip(old + draw.normal(0.004, 0.02, 4_000), 0, 2)
    found = brier_change(old, new)
    assert found.value == pytest.approx(brier_score(new).value - brier_score(old).value)
    assert 0 < found.interval.low < (new - old).mean() < found.interval.high
    # Unpaired, the two intervals overlap.
    assert brier_score(old).interval.high > brier_score(new).interval.low
    inside = 0
    for _ in range(200):
        rows = draw.integers(0, 4_000, 100)
        low, high = brier_change(old[rows], new[rows]).interval
        inside += low <= (new - old).mean() <= high
    assert 180 <= inside <= 199


@pytest.mark.parametrize(("shift", "shared"), [(1.0, 0.0), (1.0, 0.9), (1.5, 0.9), (3.0, 0.5)])
def test_the_change_of_the_area_covers(shift: float, shared: float) -> None:
    """Scores of the old model are normal, 1 apart; those of the new one are ``shift`` apart and correlated."""
    areas = 0.7602499389, {1.0: 0.7602499389, 1.5: 0.8555778168, 3.0: 0.9830525732}[shift]  # Phi(shift / sqrt(2))
    draw, inside = np.random.default_rng(0), 0
    for _ in range(300):
        old = draw.normal(size=(2, 80))
        new = shared**0.5 * old + (1 - shared) ** 0.5 * draw.normal(size=(2, 80))
        found = auroc_change(Scores(old[0] + 1, old[1]), Scores(new[0] + shift, new[1]))
        inside += found.interval.low <= areas[1] - areas[0] <= found.interval.high
    assert 276 <= inside <= 300  # 92 %


def test_the_change_of_the_area_is_that_of_scikit_learn_and_has_an_interval_at_one() -> None:
    draw = np.random.default_rng(1)
    old, new = draw.normal(size=(2, 40)), draw.normal(size=(2, 40))
    labels = np.repeat([1, 0], 40)
    found = auroc_change(Scores(old[0] + 1, old[1]), Scores(new[0] + 2, new[1]))
    sides = [roc_auc_score(labels, np.concatenate(pair)) for pair in ((old[0] + 1, old[1]), (new[0] + 2, new[1]))]
    assert found.value == pytest.approx(sides[1] - sides[0])
    perfect = Scores(old[0] + 100, old[1])
    low, high = auroc_change(perfect, perfect).interval
    assert low < 0 < high
    assert high == pytest.approx(1 - auroc(*perfect).interval.low)
    # The areas of one model move together: apart, the interval would be as wide as both single ones, squared and added.
    one = Scores(old[0] + 1, old[1])
    single, same = auroc(one.inside, one.outside).interval, auroc_change(one, one).interval
    assert same.high - same.low < 2**0.5 * (single.high - single.low) / 3


def images(draw: np.random.Generator, n: int, gains: np.ndarray) -> np.ndarray:
    """Counts of two classes for two models, int32 (2, n, 2, 3): of 100 pixels, each model finds some of each class."""
    labelled = draw.integers(10, 90, n)
    skill = draw.beta(6, 3, n)
    sides = []
    for gain in gains:
        own = np.clip(skill + gain + draw.normal(0, 0.05, n), 0, 1)
        both = np.stack([draw.binomial(labelled, own), draw.binomial(100 - labelled, own)], 1)
        predicted = np.stack([both[:, 0] + 100 - labelled - both[:, 1], both[:, 1] + labelled - both[:, 0]], 1)
        sides.append(np.stack([np.stack([labelled, 100 - labelled], 1), predicted, both], 2))
    return np.array(sides, np.int32)


@pytest.mark.parametrize("gain", [0.0, 0.04])
def test_interval_and_permutation_test_of_mean_iou_agree_with_simulated_models(gain: float) -> None:
    gains, draw = np.array([0.0, gain]), np.random.default_rng(0)
    many = images(np.random.default_rng(9), 400_000, gains).sum(1, dtype=np.int64)
    iou = many[..., 2] / (many[..., 0] + many[..., 1] - many[..., 2])
    truth = float(np.diff(iou.mean(1))[0]) if gain else 0.0
    found = [mean_iou_change(*images(draw, 50, gains)) for _ in range(120)]
    inside = sum(low <= truth <= high for _, (low, high), _ in found)
    assert inside >= 105  # 87.5 %, of 50 images
    significant = np.mean([p <= 0.05 for *_, p in found])
    excludes = np.mean([low > 0 or high < 0 for _, (low, high), _ in found])
    assert significant <= 0.11 if not gain else significant >= 0.5
    assert abs(significant - excludes) < 0.08
    both = [(p <= 0.05) == (low > 0 or high < 0) for _, (low, high), p in found]
    assert np.mean(both) > 0.9


def test_the_change_of_mean_iou_is_the_difference_and_all_swaps_are_as_likely() -> None:
    old, new = images(np.random.default_rng(3), 6, np.array([0.0, 0.1]))
    found = mean_iou_change(old, new)
    assert found.value == pytest.approx(mean_iou([new]).value - mean_iou([old]).value)
    extreme = 0
    for pattern in range(64):
        swapped = (pattern >> np.arange(6) & 1).astype(bool)[:, None, None]
        sides = np.where(swapped, new, old), np.where(swapped, old, new)
        extreme += abs(mean_iou([sides[1]]).value - mean_iou([sides[0]]).value) >= abs(found.value) - 1e-12
    assert found.p == pytest.approx(extreme / 64, abs=4 * (0.25 / PATTERNS) ** 0.5)
    assert mean_iou_change(new, old).p == pytest.approx(found.p)
    assert mean_iou_change(old, old) == (0.0, (0.0, 0.0), 1.0)
    assert mean_iou_change(old[:1], new[:1]).interval == (-1, 1)


def test_samples_that_are_not_paired_are_refused() -> None:
    answers = Answers(np.ones(3), np.ones(3, np.bool_))
    few = Answers(np.ones(2), np.ones(2, np.bool_))
    for call in (
        lambda: calibration_change(answers, few),
        lambda: brier_change(np.ones(3), np.ones(2)),
        lambda: auroc_change(Scores(np.ones(3), np.ones(3)), Scores(np.ones(2), np.ones(2))),
        lambda: mean_iou_change(np.ones((3, 2, 3), np.int32), np.ones((2, 2, 3), np.int32)),
        lambda: brier_change(np.empty(0), np.empty(0)),
    ):
        with pytest.raises(ValueError, match="pairs"):
            call()
