"""Execution of perturbations that do not fit the cache together: each is made once, and all models judge it in turn."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from robustbench_wb.engine.inline_executor import InlineExecutor
from robustbench_wb.engine.model_evaluation import ModelEvaluation
from robustbench_wb.engine.perturbed_cache import fits_cache
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.shard import CellPart, Shard
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.stressors.model_free import ModelFreeStressor

HELD: Final = 1 / 8
"""Share of the memory of the device that the weights of the models in a round may take."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Seat:
    """One model in a round, and its shards that take part."""

    name: str
    evaluation: ModelEvaluation
    shards: list[Shard]


class RoundsExecutor:
    """Measures shards model by model, or, where the perturbed samples of a task exceed the cache, strength by strength.

    In the second case the models judge each perturbation one after the other before the next is made. As many models
    as ``HELD`` allows are held at once; each further group of models makes the perturbations again. What depends on a
    model, like attacks, is measured when the model joins its group.

    Args:
        contexts: the tasks of the run.
        inline: measures everything that is not shared, and begins the evaluations of models.
        note: told the name of each model before its code runs.
    """

    def __init__(
        self, contexts: Sequence[TaskContext], inline: InlineExecutor, *, note: Callable[[str], None] | None = None
    ) -> None:
        self._contexts, self._inline = contexts, inline
        self._note = note or (lambda name: None)
        self._rounds: dict[int, bool] = {}

    description = "this process"

    def execute(self, schedule: Schedule) -> Generator[CellPart, None, None]:
        """Yield each result as soon as it is there, model after model, or in rounds."""
        seats: dict[tuple[int, int], _Seat] = {}
        shard: Shard | None = None
        while True:
            shard = schedule.take(shard)
            if seats and (shard is None or self._begins_round(shard, seats)):
                yield from self._round(list(seats.values()))
                for seat in seats.values():
                    for done in seat.shards:
                        schedule.finish(done)
                seats = {}
                shard = shard or schedule.take()  # what had to wait until these shards were finished
            if shard is None:
                return
            evaluation = self._inline.evaluation(shard)
            if not shard.opens and self._in_rounds(shard.task) and _is_shared(evaluation.ladders[shard.ladder]):
                seat = seats.setdefault(shard.model, _Seat(name=evaluation.plan.name, evaluation=evaluation, shards=[]))
                seat.shards.append(shard)
                continue
            left: list[Shard] = []
            yield from self._inline.measure(shard, left)
            schedule.finish(shard, left)

    def _begins_round(self, shard: Shard, seats: Mapping[tuple[int, int], "_Seat"]) -> bool:
        """Whether the models that hold seats have to be measured before another shard: they fill the memory, or it is
        one of the next task."""
        if shard.model in seats:
            return False
        if shard.task not in {task for task, _ in seats}:
            return True
        held = sum(_bytes(seat.evaluation) for seat in seats.values())
        return held > HELD * device_memory(self._contexts[shard.task].run.device)

    def _in_rounds(self, task: int) -> bool:
        if task not in self._rounds:
            self._rounds[task] = in_rounds(self._contexts[task])
        return self._rounds[task]

    def _round(self, seats: Sequence[_Seat]) -> Iterator[CellPart]:
        """Measure the shared ladders of a group of models, strength by strength."""
        turns: dict[Ladder, list[tuple[_Seat, Shard]]] = {}
        for seat in seats:
            for shard in seat.shards:
                turns.setdefault(seat.evaluation.ladders[shard.ladder], []).append((seat, shard))
        for ladder, those in turns.items():
            cells = [seat.evaluation.measure(ladder) for seat, _ in those]
            for rung in range(len(ladder.rungs)):
                for (seat, shard), own in zip(those, cells, strict=True):
                    self._note(seat.name)
                    yield CellPart(shard=shard, rung=rung, measurement=next(own))


def in_rounds(context: TaskContext) -> bool:
    """Whether several models share perturbed samples that exceed the cache together, and of which each alone fits."""
    shared = {rung.signature for ladder in context.task.ladders if _is_shared(ladder) for rung in ladder.rungs}
    size = context.samples.inputs.nbytes
    return len(context.subjects) > 1 and fits_cache(size) and not fits_cache(size * len(shared))


def _is_shared(ladder: Ladder) -> bool:
    """Whether all models are given the same perturbed samples."""
    return all(isinstance(rung, ModelFreeStressor) for rung in ladder.rungs)


def _bytes(evaluation: ModelEvaluation) -> int:
    """Bytes of the weights of a model, which may not be built yet; float32 is assumed."""
    return 0 if evaluation.session is None else 4 * evaluation.session.subject.card.parameters


def device_memory(device: torch.device) -> float:
    """Memory of a device in bytes, free or not; unlimited where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):
        return float("inf")
