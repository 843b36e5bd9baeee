"""Units of work of a run, their results, and the executors that measure them."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from robustbench_wb.records.join_records import join_measurements
from robustbench_wb.records.record import Measurement

if TYPE_CHECKING:
    from robustbench_wb.engine.schedule import Schedule

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
    """Index of the first evaluated sample, in the order ``TaskContext.order``."""
    stop: int
    """Index after the last evaluated sample, in the same order."""
    look: int = 0
    """Number of the look at the samples that it is part of, from 1, see ``TaskContext.looks``; 0: of none."""
    seconds: float = field(default=0.0, compare=False)
    """Forecast of the time that it takes, if no sample is broken; 0: not known."""

    @property
    def place(self) -> Place:
        """Indices of task, model and ladder: equal for all shards that hold samples of the same cells."""
        return (self.task, self.subject, self.ladder)

    @property
    def model(self) -> tuple[int, int]:
        """Indices of task and model."""
        return (self.task, self.subject)

    @property
    def opens(self) -> bool:
        """Whether this is the clean cell of a model, without which nothing else of it can be measured."""
        return self.ladder == 0


@dataclass(frozen=True, kw_only=True)
class CellPart:
    """The result of one cell on the samples of a shard."""

    shard: Shard
    rung: int
    """Index of the cell in its ladder."""
    measurement: Measurement
    stored: bool = False
    """Whether the result was found among the stored parts of cells."""


class Executor(Protocol):
    """Something that measures shards: this process, others beside it, or other machines."""

    @property
    def description(self) -> str:
        """Who measures, like ``2 processes``."""
        ...

    def execute(self, schedule: "Schedule") -> Generator[CellPart, None, None]:
        """Take shards from a schedule until it has none, and yield their results as they come, in any order.

        A shard is reported to the schedule as finished after its results were taken. Closing the generator ends all
        workers.
        """
        ...


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
