"""Contaminated images: rates counted pixel by pixel in loops, nested in the rate, independent of batch and process."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.task import Split
from tests.stressors.attacked_batch import make_data

RATES = ["0", "1/100", "1/10", "1/3", "1/2", "1"]
BATCHWISE = ["outlier-pixels", "outlier-patches", "pixel-dropout", "dead-channels", "dead-rows"]
NAMES = [*BATCHWISE, "foreign-samples"]
SHAPES = [(1, 1, 1), (1, 8, 8), (3, 5, 9), (3, 32, 32), (4, 1, 13), (9, 3, 2)]
LEVELS = ["random", "black", "white"]


def pictures(shape: tuple[int, int, int], levels: str = "random", count: int = 12) -> NDArray[np.uint8]:
    if levels == "random":
        return np.random.RandomState(0).randint(1, 256, (count, *shape)).astype(np.uint8)
    return np.full((count, *shape), 0 if levels == "black" else 255, np.uint8)


def batch_of(images: NDArray[np.uint8], ids: NDArray[np.int64] | None = None) -> SampleBatch:
    rows = np.arange(len(images)) if ids is None else ids
    inputs = to_inputs(images[rows], "cpu")
    labels = torch.zeros(len(rows), dtype=torch.int64)
    split = Split(inputs=images, labels=np.zeros(len(images), np.int64))
    return SampleBatch(inputs=inputs, labels=labels, ids=torch.from_numpy(rows), seed=5, split=split)


def make(name: str, rate: str, of: SampleBatch) -> tuple[NDArray[Any], PerturbedData]:
    stressor = parse_stressor(f"{name};rate={rate}")
    assert isinstance(stressor, ModelFreeStressor)
    made = make_data(stressor, of)
    assert made.inputs is not None
    assert made.inputs.dtype == np.uint8
    return made.inputs, made


def units_of(name: str, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask of units that are not zero, (N, units): those that a dropout can change."""
    if name in ("dead-channels", "dead-rows"):
        return np.asarray(images.any((2, 3) if name == "dead-channels" else (1, 3)))
    return images.any(1).reshape(len(images), -1)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BATCHWISE)
def test_the_rate_is_what_a_loop_counts(name: str, shape: tuple[int, int, int], levels: str) -> None:
    if name == "dead-channels" and shape[0] == 1:
        with pytest.raises(MeasurementError, match="use dead-rows"):
            make(name, "1/2", batch_of(pictures(shape)))
        return
    images = pictures(shape, levels)
    last = np.zeros(images.shape, bool)
    for rate in RATES:
        after, made = make(name, rate, batch_of(images))
        moved = after != images
        units = units_of(name, moved.astype(np.uint8))
        for row in range(len(images)):
            assert made.changed[row] == sum(bool(one) for one in units[row])
            assert made.units[row] == units.shape[1]
            exact = Fraction(rate) * units.shape[1]
            if name == "outlier-patches":
                continue  # whole patches: right on average, see below
            if levels != "black" or name == "outlier-pixels":
                assert made.changed[row] in (floor(exact), ceil(exact))
        if name.startswith("outlier"):
            assert (moved == moved.any(1, keepdims=True)).all()  # a colour differs in every channel
        else:
            assert (after[moved] == 0).all()
        assert (last <= moved).all()
        last = moved
        if rate == "0":
            assert not moved.any()
    assert last.all() != (levels == "black" and not name.startswith("outlier"))


@pytest.mark.parametrize("name", ["outlier-patches", "outlier-pixels"])
def test_what_is_changed_at_a_lower_rate_is_changed_alike_at_a_higher(name: str) -> None:
    images = pictures((3, 16, 16))
    found = [make(name, rate, batch_of(images))[0] for rate in RATES]
    for lower, higher in pairwise(found):
        moved = lower != images
        assert (higher[moved] == lower[moved]).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_is_right_on_average(name: str) -> None:
    """Images with few units, where everything depends on the rounding: 2,000 images at a rate of 1/10."""
    images = pictures((3, 4, 6), count=2000)
    _, made = make(name, "1/10", batch_of(images))
    assert made.changed.sum() / made.units.sum() == pytest.approx(1 / 10, abs=0.012)


def test_patches_are_squares_that_lie_anywhere() -> None:
    """One patch per image: it has the largest possible size at its position, and every position occurs."""
    images = pictures((1, 9, 11), count=400)
    stressor = parse_stressor("outlier-patches;side=4;rate=1/16")
    assert isinstance(stressor, ModelFreeStressor)
    after = make_data(stressor, batch_of(images)).inputs
    assert after is not None
    corners, sizes = set(), set()
    for moved in (after != images)[:, 0]:
        rows, columns = np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))
        if not len(rows):
            continue
        top, left = int(rows[0]), int(columns[0])
        height, width = int(rows[-1]) - top + 1, int(columns[-1]) - left + 1
        assert moved[top : top + height, left : left + width].all()
        assert moved.sum() == height * width
        assert height == 4 or top == 0 or top + height == 9
        assert width == 4 or left == 0 or left + width == 11
        corners.add((top, left))
        sizes.add((height, width))
    assert (4, 4) in sizes
    assert len(corners) > 50
    assert len({top % 4 for top, _ in corners}) == 4


def test_random_colours_are_alike_likely() -> None:
    images = np.full((40, 1, 32, 32), 77, np.uint8)
    after, _ = make("outlier-pixels", "1", batch_of(images))
    counts = np.bincount(after.ravel(), minlength=256)
    assert counts[77] == 0
    mean = after.size / 255
    assert sum((count - mean) ** 2 / mean for count in np.delete(counts, 77)) < 255 + 4 * (2 * 255) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_order_and_batches_do_not_matter(name: str) -> None:
    images = pictures((3, 6, 7), count=30)
    whole, made = make(name, "1/3", batch_of(images))
    order = np.random.RandomState(1).permutation(30)
    shuffled, other = make(name, "1/3", batch_of(images, order))
    assert (shuffled == whole[order]).all()
    assert (other.changed == made.changed[order]).all()
    for row in range(5):
        assert (make(name, "1/3", batch_of(images, np.array([row])))[0][0] == whole[row]).all()


DIGEST = """
import hashlib, numpy, torch
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.task import Split
images = (numpy.arange(20 * 3 * 6 * 7) % 251).astype(numpy.uint8).reshape(20, 3, 6, 7)
split = Split(inputs=images, labels=numpy.zeros(20, numpy.int64))
batch = SampleBatch(inputs=torch.from_numpy(images) / 255, labels=None, ids=torch.arange(20), seed=5, split=split)
whole = [parse_stressor(f"{name};rate=1/3").make(batch, lambda count: None).inputs.tobytes() for name in NAMES]
found = hashlib.sha256(b"".join(whole)).hexdigest()
"""


@pytest.mark.slow(4)
def test_another_process_makes_the_same() -> None:
    script = f"NAMES = {NAMES}\n{DIGEST}\nprint(found)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    images = (np.arange(20 * 3 * 6 * 7) % 251).astype(np.uint8).reshape(20, 3, 6, 7)
    whole = b"".join(make(name, "1/3", batch_of(images))[0].tobytes() for name in NAMES)
    assert done.stdout.strip() == hashlib.sha256(whole).hexdigest()


def foreign(
    rate: str, images: NDArray[np.uint8], ids: NDArray[np.int64] | None = None
) -> tuple[NDArray[Any], PerturbedData]:
    return make("foreign-samples", rate, batch_of(images, ids))


def test_a_foreign_image_is_another_one_of_the_split() -> None:
    images = pictures((1, 2, 2), count=40)
    whole, _ = foreign("1", images)
    partners = []
    for row in range(40):
        fits = [
            other
            for other in range(40)
            if (whole[row] == np.floor((images[row].astype(float) + images[other]) / 2 + 0.5)).all()
        ]
        assert fits
        assert row not in fits or (images[row] == whole[row]).all()
        partners += [other for other in fits if other != row]
    assert len(set(partners)) > 20
    last = np.zeros(40, bool)
    for rate in RATES:
        after, made = foreign(rate, images)
        exact = Fraction(rate) * 40
        assert made.changed.sum() in (floor(exact), ceil(exact))
        assert (made.units == 1).all()
        chosen = made.changed.astype(bool)
        assert (after[~chosen] == images[~chosen]).all()
        assert (after[chosen] == whole[chosen]).all()
        assert (last <= chosen).all()
        last = chosen


def test_a_foreign_image_does_not_depend_on_how_many_are_evaluated() -> None:
    images = pictures((1, 4, 4), count=50)
    whole, _ = foreign("1/2", images)
    some = np.array([3, 17, 41])
    assert (foreign("1/2", images, some)[0] == whole[some]).all()


def test_a_split_without_another_image_is_refused() -> None:
    lone = batch_of(pictures((1, 2, 2), count=1))
    for alone in (lone, replace(lone, split=None)):
        with pytest.raises(MeasurementError, match="at least two images"):
            make("foreign-samples", "1", alone)


def request(*stressors: str, **more: object) -> RunRequest:
    given = {
        "suite": "clean", "stressors": stressors, "tasks": ("digits",), "variants": ("vit",), "recipe": "none",
        "samples": 50, "device": "cpu",
    }  # fmt: skip
    return RunRequest(**{**given, **more})


@pytest.mark.slow(3)
def test_runs_on_digits(tmp_path: Path) -> None:
    names = [name for name in NAMES if name != "dead-channels"]
    clean, *rows = harness.run(request(*(f"{name};rate=0" for name in names)), results=str(tmp_path)).rows
    assert {(row.accuracy, row.realised, row.status) for row in rows} == {(clean.accuracy, 0.0, "ok")}
    _, *rows = harness.run(request(*(f"{name};rate=1/2" for name in names)), results=str(tmp_path)).rows
    realised = {row.stressor: row.realised for row in rows}
    assert realised["outlier-pixels"] == 1 / 2
    # Half of the pixels of a digit are background, which is black: dropping them changes nothing.
    assert realised["pixel-dropout"] == pytest.approx(0.25, abs=0.03)
    assert realised["foreign-samples"] == pytest.approx(1 / 2, abs=0.2)
    _, row = harness.run(request("dead-channels;rate=1/2"), results=str(tmp_path)).rows
    assert row.status == "error"
    assert "use dead-rows" in row.error
