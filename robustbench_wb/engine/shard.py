"""Units of work of a run, the executors that measure them, and the one writer that joins and keeps their results."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.records.join_records import join_measurements
from robustbench_wb.records.record import Measurement, State

Place = tuple[int, int, int]
"""Indices of task, model and ladder."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some samples under one ladder of one model: the unit of work of an executor."""

    task: int
    """Index of the task in the plan."""
    subject: int
    """Index of the model among those of the task."""
    ladder: int
    """Index of the ladder among those of the model, see ``TaskContext.ladders``."""
    first: int
    """Index of the first evaluated sample."""
    stop: int
    """Index after the last evaluated sample."""

    @property
    def place(self) -> Place:
        """Indices of task, model and ladder: equal for all shards that hold samples of the same cells."""
        return (self.task, self.subject, self.ladder)


@dataclass(frozen=True, kw_only=True)
class CellPart:
    """The result of one cell on the samples of a shard."""

    shard: Shard
    rung: int
    """Index of the cell in its ladder."""
    measurement: Measurement


class Executor(Protocol):
    """Something that measures shards: this process, others beside it, or other machines."""

    def execute(self, shards: Iterable[Shard]) -> Iterator[CellPart]:
        """Yield the results of shards as they are finished, in any order. A shard that is lost yields nothing."""
        ...


class ResultWriter:
    """Joins the parts of each cell, and keeps each new record as soon as all its samples are there.

    The only writer of a run: executors return results and keep none.

    Args:
        keeper: where records are kept.
        samples: number of evaluated samples of each task.
    """

    def __init__(self, keeper: RecordKeeper, samples: Sequence[int]) -> None:
        self._keeper, self._samples = keeper, samples
        self._parts: defaultdict[tuple[Place, int], list[CellPart]] = defaultdict(list)
        self._cells: defaultdict[Place, dict[int, Measurement]] = defaultdict(dict)

    def write(self, parts: Iterable[CellPart]) -> None:
        """Take results as they come. A record with errored samples is not kept: a later run measures it again."""
        for part in parts:
            known = self._parts[part.shard.place, part.rung]
            known.append(part)
            if sum(one.shard.stop - one.shard.first for one in known) < self._samples[part.shard.task]:
                continue
            cell = join(self._parts.pop((part.shard.place, part.rung)))
            if cell.record is not None and not cell.reused and not cell.record.count(State.ERRORED):
                # Another run may have kept its record of this cell first: rows are made of what is kept.
                (kept,) = self._keeper.append(cell.record)
                cell = replace(cell, record=kept)
            self._cells[part.shard.place][part.rung] = cell

    def cells(self, place: Place) -> list[Measurement]:
        """The finished cells of a ladder, by strength."""
        return [cell for _, cell in sorted(self._cells[place].items())]


def join(parts: Sequence[CellPart]) -> Measurement:
    """Join the parts of a cell, which come in any order.

    Raises:
        ValueError: samples are missing or twice, or the parts are of different cells.
    """
    ordered = sorted(parts, key=lambda part: part.shard.first)
    ends = [0, *(part.shard.stop for part in ordered)]
    if [part.shard.first for part in ordered] != ends[:-1]:
        raise ValueError("the parts of a cell must hold each of its samples once")
    return join_measurements([part.measurement for part in ordered])
