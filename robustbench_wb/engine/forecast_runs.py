"""Forecast of the runs of an experiment: each model is timed, and multiplied by the passes of what is not stored."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from robustbench_wb.engine.batch import FEW, OVERHEAD, batch_size_for, kept_bytes, tiled
from robustbench_wb.engine.cost_forecast import (
    BACKWARD,
    SampleCost,
    evaluated,
    ladder_seconds,
    passes,
    time_model,
    timed_samples,
    training_seconds,
)
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.doctor.cost import MAX_TIMED_BATCH
from robustbench_wb.engine.layer_observer import find_layers
from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.planned_cells import PlannedCell, planned_cells
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.subject import as_taken, untrained
from robustbench_wb.engine.task_context import TaskContext, is_probe, task_contexts
from robustbench_wb.errors import HarnessError, as_measurement_error
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.variant import Variant
from robustbench_wb.progress import Progress
from robustbench_wb.records.run_forecast import PartForecast, RunForecast
from robustbench_wb.stressors.clean import Clean
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.user_code import UserCode

STATES: Final = 4
"""Copies of the weights in training: weights, gradients and the two moments of AdamW."""


@dataclass(frozen=True, kw_only=True)
class _Model:
    """Cost of a model on a task."""

    cost: SampleCost | None = None
    weights: int = 0
    """Bytes of the weights."""
    kept: float = 0.0
    """Bytes that a pass keeps for the gradient, per sample."""
    batch: int = 1
    """Samples per forward pass of an evaluation."""
    reason: str = ""
    """Reason why the model cannot be run."""

    def memory(self, samples: int, training_batch: int) -> int | None:
        """Peak bytes of weights and activations of an evaluation or a training; None if the model cannot be run."""
        if self.cost is None:
            return None
        evaluating = self.weights + OVERHEAD * self.kept * min(self.batch, samples)
        training = STATES * self.weights + OVERHEAD * self.kept * training_batch if training_batch else 0
        return int(max(evaluating, training))


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a run has to do for a model on a task, because it is not stored or not in the cache."""

    cells: int
    """Cells, stored or not."""
    stored: int
    """Cells with a record that would be reused."""
    ladders: tuple[Ladder, ...]
    """Ladders to measure, of the missing cells only."""
    probe: Probe | None
    """Probe to measure; None if its record is stored, or no attack needs one."""
    trains: bool
    """Whether the model is not trained yet."""
    contaminated: int
    """Models to train on contaminated training splits."""


def forecast_runs(
    runs: Sequence[PreparedRun], keeper: RecordKeeper, progress: Progress, *, by_seed: bool = False
) -> RunForecast:
    """Time each model on a few samples, untrained, and multiply by the passes of its missing cells.

    Cells are looked up as a run does; a model that is not in the cache has no stored cells. A model that another part
    trains as well, with the same task, recipe and seed, is counted once.

    Args:
        runs: prepared requests that may not train.
        keeper: where records are.
        progress: told what is done.
        by_seed: whether each seed is a part of its own.
    """
    known: dict[tuple[object, ...], _Model] = {}
    trained: set[tuple[object, ...]] = set()
    parts: dict[tuple[object, ...], PartForecast] = {}
    count = sum(len(task.subjects) for run in runs for task in run.plan.tasks)
    with progress.stage("plan", count, "models") as advance:
        for run in runs:
            for context in task_contexts(run, keeper=keeper):
                dataset = context.dataset
                for subject in context.task.subjects:
                    place = (subject.name, subject.size, dataset.label)
                    if place not in known:
                        known[place] = _timed(run, subject, dataset)
                    once = (subject.trained_name, *place[1:], subject.recipe, run.plan.seed)
                    part = _part(context, subject, model=known[place], train=once not in trained)
                    trained.add(once)
                    seeds = part.seeds if by_seed else ()
                    key = (part.suite, part.task, part.variant, part.size, part.recipe, part.samples, *seeds)
                    parts[key] = _added(parts[key], part) if key in parts else part
                    advance(1)
    return RunForecast(parts=tuple(parts.values()), workers=runs[0].request.workers or 1, device=str(runs[0].device))


def _timed(run: PreparedRun, subject: SubjectPlan, dataset: Dataset) -> _Model:
    """Build a model, untrained, and time it; a model that fails has no cost."""
    try:
        with as_measurement_error(subject.name), UserCode(subject.name).running():
            taken = as_taken(subject, dataset)
            model = untrained(subject, taken, run.plan.seed).to(run.device).eval()
            inputs = to_inputs(taken.test.select_rows(slice(FEW)).inputs, run.device)
            batch = batch_size_for(run.request.batch, model, inputs)
            timed, trained = (
                tiled(samples, min(batch, MAX_TIMED_BATCH)) for samples in timed_samples(taken, run.device)
            )
            return _Model(
                cost=time_model(model, timed, trained=trained),
                weights=sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
                kept=kept_bytes(model, inputs) / len(inputs),
                batch=batch,
            )
    except HarnessError as error:
        return _Model(reason=str(error))


def _work(context: TaskContext, subject: SubjectPlan) -> _Work:
    """Look up the cells of a model."""
    planned = list(planned_cells(context, subject, lambda cell: True, probe=True))
    known = context.keeper.find([one.identity.key for one in planned if one.identity is not None])
    missing = [one for one in planned if not _is_stored(context, one, known)]
    rungs = {ladder: [one for one in missing if one.rung in ladder.rungs] for ladder in context.task.ladders}
    trains = subject.takes_training_split
    unknown = [one for one in missing if one.identity is None and trains]
    cells = [one for one in planned if not is_probe(one.ladder)]
    return _Work(
        cells=len(cells),
        stored=sum(one not in missing for one in cells),
        ladders=tuple(
            ladder if ladder.rungs[0].sweeps else replace(ladder, rungs=tuple(one.rung for one in left))
            for ladder, left in rungs.items()
            if left
        ),
        probe=next((one.rung for one in missing if isinstance(one.rung, Probe)), None),
        trains=any(isinstance(one.rung, Clean) for one in unknown),
        contaminated=sum(bool(one.ladder.contaminations) for one in unknown),
    )


def _is_stored(context: TaskContext, cell: PlannedCell, known: Container[str]) -> bool:
    """Whether a run would reuse the record of a cell. Cells whose layers are asked for and not cached are measured."""
    if cell.identity is None or cell.identity.key not in known:
        return False
    layers = context.run.plan.layers and isinstance(cell.plan.source, Variant) and not is_probe(cell.ladder)
    return not layers or find_layers(cell.identity.key) is not None


def _part(context: TaskContext, subject: SubjectPlan, *, model: _Model, train: bool) -> PartForecast:
    run, dataset = context.run, context.dataset
    samples, cost, work = evaluated(run.plan, dataset), model.cost, _work(context, subject)
    trainings = int(train and work.trains) + work.contaminated
    return PartForecast(
        suite=run.plan.suite,
        task=dataset.label,
        variant=subject.name,
        size=subject.size,
        recipe=subject.recipe_name,
        seeds=(run.plan.seed,),
        samples=samples,
        cells=work.cells,
        stored=work.stored,
        trainings=trainings,
        training_seconds=None if cost is None else trainings * training_seconds(subject, dataset, cost),
        evaluation_seconds=None
        if cost is None
        else sum(ladder_seconds(ladder, samples, cost) for ladder in work.ladders)
        + (0.0 if work.probe is None else _probe_seconds(work.probe, cost)),
        memory=model.memory(samples, subject.recipe.batch if trainings else 0),
        assumed=tuple(dict.fromkeys(ladder.rungs[0].label for ladder in work.ladders if passes(ladder) is None)),
        reason=model.reason,
        metric="perplexity" if dataset.shape.causal else "accuracy",
    )


def _probe_seconds(probe: Probe, cost: SampleCost) -> float:
    """Seconds of the examination of a model before its attacks: two runs of PGD, and a black-box attack."""
    return probe.looked_at * (2 * probe.steps * (1 + BACKWARD) + probe.queries) * cost.forward


def _added(one: PartForecast, other: PartForecast) -> PartForecast:
    """Sum of two parts that differ in their seeds only."""
    update = {
        "seeds": tuple(dict.fromkeys((*one.seeds, *other.seeds))),
        "cells": one.cells + other.cells,
        "stored": one.stored + other.stored,
        "trainings": one.trainings + other.trainings,
        "training_seconds": _sum((one.training_seconds, other.training_seconds)),
        "evaluation_seconds": _sum((one.evaluation_seconds, other.evaluation_seconds)),
    }
    return one.model_copy(update=update)


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
