"""Planted facts, read from the sequences in plain loops."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.tasks.planted_facts_task import (
    FACT,
    FILLER,
    HEAD,
    KEYS,
    MAX_DISTRACTORS,
    PLANTED_64,
    QUERY,
    VALUES,
    VOCABULARY,
    FactLayout,
    plant_facts,
)
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.tasks.task_tokenizer import CLS
from tests.known import a


@pytest.fixture(scope="module")
def planted() -> Dataset:
    return PLANTED_64.load(None)


def facts(row: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """Position, key and value of every fact in a sequence."""
    return [(at, *divmod(int(token) - FACT, VALUES)) for at, token in enumerate(row) if FACT <= token < FILLER]


def test_the_answer_is_the_value_of_the_queried_key(planted: Dataset) -> None:
    places, counts = [], []
    for row, label in zip(planted.test.inputs, planted.test.labels.tolist(), strict=True):
        size = int((row != PAD).sum())
        assert 16 <= size <= 64
        assert (row[size:] == PAD).all()
        assert row[0] == CLS
        key = int(row[1]) - QUERY
        assert 0 <= key < KEYS
        found = facts(row[:size])
        ((place, _, value),) = [fact for fact in found if fact[1] == key]
        assert value == label
        places.append((place - HEAD) / (size - HEAD))
        counts.append(len(found) - 1)
    assert set(counts) == set(range(MAX_DISTRACTORS + 1))
    assert np.histogram(places, bins=4, range=(0, 1))[0].min() > 180  # 250 each, standard deviation 14
    assert np.bincount(planted.test.labels).tolist() == [100] * VALUES


def test_splits_are_different_draws(planted: Dataset) -> None:
    assert planted.validation is not None
    seen = {row.tobytes() for part in (planted.train, planted.test, planted.validation) for row in part.inputs}
    assert len(seen) == len(planted.train) + 2000
    assert a(TextShape, planted.shape).vocabulary == VOCABULARY > int(planted.train.inputs.max())


def make(length: int, place: int, rivals: int, width: int | None = None) -> NDArray[np.int64]:
    ids = torch.arange(50)
    planting = FactLayout(*(torch.full_like(ids, number) for number in (length, place, rivals)))
    found: NDArray[np.int64] = plant_facts(
        ids, ids % VALUES, planting, width=width or length, seed=0, stream="test"
    ).numpy()
    return found


def test_longer_rows_begin_like_shorter_ones_and_more_rivals_leave_the_others() -> None:
    short, long = make(40, 9, 0), make(90, 9, 0)
    np.testing.assert_array_equal(short, long[:, :40])
    few, many = make(40, 9, 3), make(40, 9, 8)
    for one, other in zip(few, many, strict=True):
        assert set(facts(one)) < set(facts(other))
        assert len(facts(other)) == 9
    kept = (few >= FILLER) & (many >= FILLER)
    assert (few[kept] == many[kept]).all()


def test_every_place_may_hold_the_fact() -> None:
    for place in (HEAD, 39):
        assert {fact[0] for row in make(40, place, 0) for fact in facts(row)} == {place}
    np.testing.assert_array_equal(make(40, 5, 2, width=60)[:, 40:], PAD)
