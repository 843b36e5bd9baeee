"""Parts of a cell: however its samples are split, they join to the same cell, and one writer keeps it once."""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.measure import LadderStep, measure
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.record_keeper import NoRecords, Span
from robustbench_wb.engine.result_writer import ResultWriter
from robustbench_wb.engine.shard import CellPart, Shard, join
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.table import LayerTable
from robustbench_wb.records.record import Measurement, Record, State
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.store.make import identity, measured, record

if TYPE_CHECKING:
    from robustbench_wb.engine.task_context import TaskContext

SAMPLES = 12
SPLITS = st.sets(st.integers(1, SAMPLES - 1)).map(lambda cuts: [0, *sorted(cuts), SAMPLES])


class Kept(NoRecords):
    """A keeper that remembers what it was given."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.parts: dict[Span, Sequence[Record]] = {}

    def append(self, *records: Record) -> Sequence[Record]:
        self.records += records
        return records

    def append_part(self, span: Span, records: Sequence[Record]) -> None:
        self.parts[span] = records

    def remove_parts(self, keys: Sequence[str]) -> None:
        assert {record.key for records in self.parts.values() for record in records} <= set(keys)
        self.parts.clear()


def writing(keeper: Kept) -> ResultWriter:
    """A writer of one task with two ladders of one cell each."""
    ladders = (Ladder((parse_stressor("clean"),)), Ladder((parse_stressor("fgsm-linf;eps=8/255"),)))
    context = SimpleNamespace(samples=range(SAMPLES), ladder=lambda subject, place: ladders[place])
    return ResultWriter(keeper, [cast("TaskContext", context)])


def whole(states: Sequence[int] = (0, 1, 2, 3) * 3) -> Measurement:
    made = record(states)
    costs = np.arange(SAMPLES, dtype=np.int32)
    made = replace(made, forwards=costs, backwards=2 * costs, wobble=SAMPLES, seconds=float(SAMPLES))
    made = replace(made, evidence={"held": 3 * SAMPLES, "words": SAMPLES}, perturbed="digest")
    table = LayerTable(np.arange(SAMPLES), {"entropy": np.arange(2.0 * SAMPLES).reshape(2, SAMPLES)})
    return replace(measured(made), error=made.problem, layers=LayerPair(clean=table, stressed=table))


def part(cell: Measurement, first: int, stop: int) -> CellPart:
    """The cell as an executor gives it that measured some of the samples: counts are as many as the samples."""
    rows, count = np.arange(first, stop), stop - first
    assert cell.record is not None
    arrays = {name: getattr(cell.record, name)[rows] for name in ("ids", "states", "losses", "forwards", "backwards")}
    some = replace(cell.record, **arrays, wobble=count, seconds=float(count))
    some = replace(some, evidence={"held": 3 * count, "words": count})
    assert cell.layers is not None
    table = cell.layers.clean.take(rows)
    shard = Shard(task=0, subject=0, ladder=1, first=first, stop=stop)
    changes = replace(cell, record=some, samples=count, error=some.problem)
    pair = LayerPair(clean=table, stressed=table)
    return CellPart(shard=shard, rung=0, measurement=replace(changes, layers=pair))


def same(one: Record, other: Record) -> None:
    for name in (field.name for field in fields(Record)):
        np.testing.assert_equal(getattr(one, name), getattr(other, name))
        assert getattr(getattr(one, name), "dtype", None) == getattr(getattr(other, name), "dtype", None)


@given(ends=SPLITS, order=st.randoms(use_true_random=False))
def test_any_split_of_the_samples_joins_to_the_same_cell(ends: list[int], order: Random) -> None:
    cell, keeper = whole(), Kept()
    parts = [part(cell, first, stop) for first, stop in pairwise(ends)]
    order.shuffle(parts)
    joined = join(parts)
    assert joined.record is not None
    assert cell.record is not None
    same(joined.record, cell.record)
    assert joined.error == cell.error == "3 of 12 samples have logits or gradients that are not finite"
    assert (joined.samples, joined.reused, joined.cell) == (SAMPLES, False, cell.cell)
    assert joined.layers is not None
    assert cell.layers is not None
    assert joined.layers.clean is joined.layers.stressed  # as in the clean cell, which has no drift
    for name in ("clean", "stressed"):
        found, wanted = getattr(joined.layers, name), getattr(cell.layers, name)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.values["entropy"], wanted.values["entropy"])
    writer = writing(keeper)
    writer.write(parts)
    assert [len(writer.cells((0, 0, place))) for place in (0, 1)] == [0, 1]
    assert not keeper.records  # some samples errored
    assert all(State.ERRORED not in one.states for records in keeper.parts.values() for one in records)


@given(ends=SPLITS)
def test_a_cell_is_kept_once_and_only_when_all_its_samples_are_there(ends: list[int]) -> None:
    cell, keeper = whole((0, 1, 2, 0) * 3), Kept()
    writer = writing(keeper)
    parts = [part(cell, first, stop) for first, stop in pairwise(ends)]
    writer.write(parts[:-1])
    assert not keeper.records
    assert not writer.cells((0, 0, 1))
    assert sorted(keeper.parts) == list(pairwise(ends))[:-1]  # what is finished survives the end of the run
    writer.write(parts[-1:])
    assert not keeper.parts
    (kept,) = keeper.records
    assert cell.record is not None
    same(kept, cell.record)


def test_a_reused_cell_is_not_kept_again() -> None:
    cell, keeper = replace(whole((0, 1, 2, 0) * 3), reused=True), Kept()
    writing(keeper).write([part(cell, 0, 5), part(cell, 5, SAMPLES)])
    assert not keeper.records


def test_a_part_that_failed_fails_the_cell() -> None:
    cell = whole()
    failed = part(cell, 4, SAMPLES)
    failed = replace(failed, measurement=replace(failed.measurement, record=None, error="no gradient", layers=None))
    joined = join([part(cell, 0, 4), failed])
    assert (joined.record, joined.error, joined.samples, joined.layers) == (None, "no gradient", SAMPLES, None)


@pytest.mark.parametrize("ends", [[(0, 4), (5, 12)], [(0, 5), (4, 12)], [(1, 12)], [(0, 4), (4, 8), (4, 12)]])
def test_parts_that_lack_samples_or_hold_them_twice_are_refused(ends: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="each of its samples once"):
        join([part(whole(), first, stop) for first, stop in ends])


def test_parts_of_different_cells_are_refused() -> None:
    other = replace(whole(), record=replace(record((0,) * SAMPLES, weights="others"), perturbed="digest"))
    with pytest.raises(ValueError, match="parts of one cell"):
        join([part(whole(), 0, 4), part(other, 4, SAMPLES)])


class Row(nn.Module):
    """Two logits from the mean of an image."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(1, keepdim=True) - 0.5
        return torch.cat([mean, -mean], 1)


def test_measuring_parts_is_measuring_the_whole() -> None:
    levels = np.linspace(60, 195, SAMPLES).astype(np.uint8).repeat(4).reshape(SAMPLES, 1, 2, 2)
    samples = TaskSamples(ids=np.arange(SAMPLES, dtype=np.int32), inputs=levels, labels=np.arange(SAMPLES) % 2)
    model = MeasuredModel(model=Row(), batch=BatchSize(3), device=torch.device("cpu"))

    def made(signature: str, rows: NDArray[np.int64], before: NDArray[np.int8] | None) -> Record:
        step = LadderStep(rungs=(parse_stressor(signature),), identities=(identity(signature=signature),))
        some, states = samples.select(rows), None if before is None else before[rows]
        (found,) = measure(step, model, some, before=states, advance=lambda count: None)
        return found

    every = np.arange(SAMPLES)
    before = made("clean", every, None).states
    for signature in ("clean", "pgd-linf;eps=16/255;steps=3;loss=ce", "noise-linf;eps=32/255"):
        states = None if signature == "clean" else before
        alone = made(signature, every, states)
        cells = [measured(made(signature, rows, states)) for rows in (every[:5], every[5:6], every[6:])]
        ends = [(0, 5), (5, 6), (6, SAMPLES)]
        shards = [Shard(task=0, subject=0, ladder=0, first=first, stop=stop) for first, stop in ends]
        parts = [CellPart(shard=shard, rung=0, measurement=cell) for shard, cell in zip(shards, cells, strict=True)]
        joined = join(parts).record
        assert joined is not None
        same(replace(joined, seconds=0.0), replace(alone, seconds=0.0))
        assert State.ROBUST in joined.states
