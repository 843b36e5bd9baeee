"""Corruption errors against hand-computed values, and AlexNet's errors against the published means."""

import numpy as np
import pytest

from robustbench_wb.analysis.curves.alexnet import COMMON, ERRORS
from robustbench_wb.analysis.curves.corruption_errors import corruption_errors
from robustbench_wb.errors import UsageError
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import bootstrap_interval
from robustbench_wb.stressors.catalogue import STRESSORS
from tests.known import known
from tests.report.curve_sample import alexnet_run, cell, counted, curve_run
from tests.store.make import row

# Averages as the same table of the reference states them.
PUBLISHED = {
    "gaussian-noise": 0.886428, "shot-noise": 0.894468, "impulse-noise": 0.922640, "defocus-blur": 0.819880,
    "glass-blur": 0.826268, "motion-blur": 0.785948, "zoom-blur": 0.798360, "snow": 0.866816, "frost": 0.826572,
    "fog": 0.819324, "brightness": 0.564592, "contrast": 0.853204, "elastic-transform": 0.646056, "pixelate": 0.717840,
    "jpeg-compression": 0.606500, "speckle-noise": 0.845388, "gaussian-blur": 0.787108, "spatter": 0.717512,
    "saturate": 0.658248,
}  # fmt: skip


def test_the_reference_is_the_published_table() -> None:
    assert ERRORS.keys() == PUBLISHED.keys()
    for name, errors in ERRORS.items():
        assert np.mean(errors) == pytest.approx(PUBLISHED[name], abs=1e-9)
    assert len(COMMON) == 15
    assert np.mean([ERRORS[name] for name in COMMON]) == pytest.approx(0.788993, abs=1e-6)
    assert "contrast" in STRESSORS


def test_alexnet_against_itself_is_100() -> None:
    (found,) = corruption_errors(alexnet_run(), {}, alexnet=True)
    assert found.mean == pytest.approx(0.788993, abs=1e-6)
    (against,) = found.normalised
    assert against.reference == "AlexNet"
    assert against.mean == pytest.approx(100)
    assert against.relative_mean == pytest.approx(100)
    assert len(against.ce) == 19
    assert list(against.ce.values()) == pytest.approx([100] * 19)


def test_half_of_alexnet_s_errors_are_half_the_mce() -> None:
    rows = [one.model_copy(update={"accuracy": 1 - (1 - known(one.accuracy)) / 2}) for one in alexnet_run()]
    (found,) = corruption_errors(rows, {}, alexnet=True)
    assert found.normalised[0].mean == pytest.approx(50)
    assert found.normalised[0].relative_mean == pytest.approx(50)
    # With another clean error the CE stays and the relative CE changes.
    clean = [one.model_copy(update={"accuracy": 0.436}) if one.stressor == "clean" else one for one in alexnet_run()]
    (found,) = corruption_errors(clean, {}, alexnet=True)
    assert found.normalised[0].mean == pytest.approx(100)
    assert found.normalised[0].relative["fog"] == pytest.approx(100 * (4.09662 - 5 * 0.564) / (4.09662 - 5 * 0.435))


def test_by_hand_and_beside_a_baseline() -> None:
    rows, records = curve_run()
    vit, crate = corruption_errors(rows, records, baseline="vit")
    assert (vit.clean.variant, crate.clean.variant) == ("vit", "crate")
    assert vit.errors["fog"] == pytest.approx((0.2, 0.3, 0.4, 0.5, 0.6))
    assert crate.errors["speckle-noise"] == pytest.approx((0.2, 0.3, 0.4, 0.5, 0.6))
    # Fog alone is one of the 15; speckle noise is not.
    assert (vit.common, vit.mean, crate.mean) == (("fog",), pytest.approx(0.4), pytest.approx(0.5))
    assert list(vit.normalised[0].ce.values()) == pytest.approx([100, 100])
    against = crate.normalised[0]
    assert against.reference == "vit"
    assert against.ce == pytest.approx({"fog": 125, "speckle-noise": 100 * 2 / 1.5})
    # Above the clean error: 0.5 - 0.2 and 0.4 - 0.1 in the mean.
    assert against.relative["fog"] == pytest.approx(100)
    assert (against.mean, against.relative_mean) == (pytest.approx(125), pytest.approx(100))
    right = np.array([[i < 9 - s for i in range(10)] for s in range(1, 6)])
    assert (vit.low, vit.high) == bootstrap_interval(1 - right.mean(0))
    assert corruption_errors(rows, {})[0].low is None
    named = corruption_errors(rows, records, baseline="crate-nano")
    assert named[0].normalised[0].ce["fog"] == pytest.approx(80)


def ladder(name: str, rights: list[int], variant: str) -> list[ScoreRow]:
    return [cell(counted(r), stressor=name, strength=str(s), variant=variant)[0] for s, r in enumerate(rights, 1)]


def test_a_baseline_without_errors_divides_nothing() -> None:
    rows = []
    for variant, fog, frost in (("good", [10] * 5, [9] * 5), ("bad", [5] * 5, [6] * 5)):
        rows += [cell(counted(10 if variant == "good" else 8), stressor="clean", strength="", variant=variant)[0]]
        rows += ladder("fog", fog, variant) + ladder("frost", frost, variant)
    good, bad = corruption_errors(rows, {}, baseline="good")
    assert good.normalised[0].ce == {"frost": pytest.approx(100), "fog": None}
    assert bad.normalised[0].ce == {"frost": pytest.approx(400), "fog": None}
    assert (bad.normalised[0].mean, bad.normalised[0].relative_mean) == (None, None)
    # A reference with a lower error under corruption than clean gives no relative CE.
    better = [row.model_copy(update={"accuracy": 0.1}) if _is(row, "clean", "good") else row for row in rows]
    assert corruption_errors(better, {}, baseline="good")[1].normalised[0].relative["frost"] is None


def _is(row: ScoreRow, stressor: str, variant: str) -> bool:
    return (row.stressor, row.variant) == (stressor, variant)


def test_corruptions_that_are_not_whole_are_left_out() -> None:
    rows, records = curve_run()
    rows = [one for one in rows if (one.stressor, one.strength) != ("fog", "3")]
    assert corruption_errors(rows, records) == []
    with pytest.raises(UsageError, match="nothing to normalise"):
        corruption_errors(rows, records, baseline="vit")
    most = [one for one in alexnet_run() if (one.stressor, one.strength) != ("snow", "3")]
    (found,) = corruption_errors(most, {}, alexnet=True)
    assert len(found.common) == 14
    assert found.normalised[0].mean is None
    failed = row(None, 10, "no", stressor="fog", strength="3", variant="vit", classes=10, suite="mine")
    assert [one.clean.variant for one in corruption_errors([*curve_run()[0], failed], {})] == ["vit", "crate"]


def changed(**update: object) -> list[ScoreRow]:
    return [one.model_copy(update=update) for one in alexnet_run()]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(classes=10, task="cifar10"), "ImageNet's 1000 classes; task 'cifar10' has 10"),
        (changed(side=64), "images of 64 pixels"),
        (changed(side=224, signature="fog;severity=1;calibration=32"), "has calibration=32"),
    ],
)
def test_alexnet_is_no_scale_for_other_data(rows: list[ScoreRow], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        corruption_errors(rows, {}, alexnet=True)
    assert "\n" not in str(caught.value)


def test_small_images_with_the_constants_of_imagenet_c_are_admitted() -> None:
    (found,) = corruption_errors(changed(side=32, signature="x;calibration=224"), {}, alexnet=True)
    assert found.normalised[0].mean == pytest.approx(100)


def test_a_baseline_must_be_one_subject() -> None:
    rows, records = curve_run()
    with pytest.raises(UsageError, match="no baseline 'bert' with all severities of a corruption; it has: vit, crate"):
        corruption_errors(rows, records, baseline="bert")
    seeds = [*rows, *(one.model_copy(update={"seed": 1}) for one in rows)]
    found = corruption_errors(seeds, {}, baseline="vit")  # of the same seed
    assert len(found) == 4
    recipes = [*rows, *(one.model_copy(update={"recipe": "trades"}) for one in rows if one.variant == "vit"),
               *(one.model_copy(update={"recipe": "pgd-at"}) for one in rows if one.variant == "crate")]  # fmt: skip
    with pytest.raises(UsageError, match="has 2 models named 'vit'"):
        corruption_errors(recipes, {}, baseline="vit")


def test_published_files_are_their_own_benchmark() -> None:
    rows, records = curve_run()
    stored = [
        one.model_copy(update={"stressor": "stored-fog", "accuracy": 0.5, "key": ""})
        for one in rows
        if one.stressor == "fog"
    ]
    vit, crate, of_vit, of_crate = corruption_errors([*rows, *stored], records, baseline="vit")
    assert [one.stored for one in (vit, crate, of_vit, of_crate)] == [False, False, True, True]
    assert (vit.mean, of_vit.mean) == (pytest.approx(0.4), pytest.approx(0.5))
    assert (crate.normalised[0].mean, of_crate.normalised[0].mean) == (pytest.approx(125), pytest.approx(100))
    names = [(f"stored-{one.stressor.replace('-', '_')}", one) for one in alexnet_run() if one.stressor != "clean"]
    files = [one.model_copy(update={"stressor": name, "signature": "stored;corruption=x"}) for name, one in names]
    (found,) = corruption_errors([alexnet_run()[0], *files], {}, alexnet=True)
    assert found.normalised[0].mean == pytest.approx(100)
