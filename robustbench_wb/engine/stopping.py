"""Stopping of cells that are decided before their last sample: who decides, and when the engine asks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from robustbench_wb.engine.shard import CellPart, join
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.records.names import Slot
from robustbench_wb.records.record import Measurement
from robustbench_wb.spec import digest


class StoppingRule(Protocol):
    """Decides when the samples of a cell are enough. A decision may depend on the outcomes, and on nothing else."""

    def decided(self, cells: Sequence[Measurement]) -> Mapping[Slot, str]:
        """Why cells need no more samples, one line each, by slot; cells that need more are left out.

        Args:
            cells: all cells of one model, on the samples that were measured so far.
        """
        ...


class LadderParts:
    """The parts of one ladder as they come, and how many samples they cover.

    Args:
        rungs: number of cells of the ladder.
    """

    def __init__(self, rungs: int) -> None:
        self._parts: list[list[CellPart]] = [[] for _ in range(rungs)]

    def add(self, part: CellPart) -> Sequence[CellPart]:
        """Add a part; return all parts of its cell."""
        self._parts[part.rung].append(part)
        return self._parts[part.rung]

    @property
    def covered(self) -> int:
        """Number of samples from the first on that are measured in all cells."""
        return min(map(_covered, self._parts))

    def joined(self, stop: int) -> list[Measurement]:
        """The cells on the first ``stop`` samples, by strength."""
        return [join([part for part in parts if part.shard.stop <= stop]) for parts in self._parts]


def _covered(parts: Sequence[CellPart]) -> int:
    end = 0
    for first, stop in sorted((part.shard.first, part.shard.stop) for part in parts):
        if first > end:
            break
        end = stop
    return end


def on_first_samples(context: TaskContext, cell: Measurement, stop: int) -> Measurement:
    """A cell as one of fewer samples: the key of its record names them.

    Args:
        context: task of the cell.
        cell: the cell on its first ``stop`` samples, with the identity of the whole cell.
        stop: number of its samples.
    """
    if cell.record is None:
        return cell
    samples = digest(context.samples.ids[context.rows((0, stop))].tolist())
    identity = cell.record.identity.model_copy(update={"samples": samples})
    record = replace(cell.record, identity=identity)
    return replace(cell, identity=identity, record=record, planned=len(context.samples))


class Looks:
    """The looks at one model: asks a rule once all unfinished ladders have as many samples as the next look takes.

    What a rule is asked does not depend on who measures the shards, nor on when their results come.

    Args:
        context: task of the model.
        rule: is asked.
    """

    def __init__(self, context: TaskContext, rule: StoppingRule) -> None:
        self._context, self._rule, self._next = context, rule, 0

    def stopped(
        self, finished: Sequence[Measurement], unfinished: Mapping[int, LadderParts], *, ready: bool
    ) -> Mapping[int, list[Measurement]] | None:
        """The ladders that the next look stops, with their cells; None if not enough samples are measured for it.

        Args:
            finished: cells that are measured, or were stopped.
            unfinished: parts of all other ladders, by index.
            ready: whether every ladder is finished or has parts.
        """
        looks, at = self._context.looks, self._next
        if not ready or not unfinished or at == len(looks) - 1:
            return None
        stop = looks[at]
        if min(parts.covered for parts in unfinished.values()) < stop:
            return None
        self._next += 1
        ladders = {
            place: [on_first_samples(self._context, cell, stop) for cell in parts.joined(stop)]
            for place, parts in unfinished.items()
        }
        reasons = self._rule.decided([*finished, *(cell for cells in ladders.values() for cell in cells)])
        return {
            place: [replace(cell, stopped=reasons[cell.cell.slot]) for cell in cells]
            for place, cells in ladders.items()
            if all(cell.cell.slot in reasons for cell in cells)
        }
