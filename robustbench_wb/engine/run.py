"""Execution of a plan: its shards, the executors that measure them, and the graded cells in the order of the plan."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from robustbench_wb import rng
from robustbench_wb.engine.cost_forecast import SampleCost, Timings, costs, plan_seconds
from robustbench_wb.engine.credibility.grade import GradedCell, grade_cell
from robustbench_wb.engine.executors import choose_executor
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.result_writer import ResultWriter
from robustbench_wb.engine.run_log import RunLog
from robustbench_wb.engine.running_note import running_note
from robustbench_wb.engine.schedule import Schedule
from robustbench_wb.engine.stopping import StoppingRule
from robustbench_wb.engine.task_context import TaskContext, is_probe, task_contexts
from robustbench_wb.engine.torch_state import seeded_generators
from robustbench_wb.progress import JobProgress
from robustbench_wb.records.record import Measurement
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.user_code import UserCode


def measure_all(run: PreparedRun, keeper: RecordKeeper) -> list[Measurement]:
    """Measure every cell of the plan, in order. A cell that failed is in the list with its error; others go on."""
    return measure_each([run], keeper)[0]


def measure_each(
    runs: Sequence[PreparedRun], keeper: RecordKeeper, *, log: RunLog | None = None, rule: StoppingRule | None = None
) -> list[list[Measurement]]:
    """Measure the runs of an experiment one after the other, with one forecast and one progress for all of them.

    Args:
        runs: the prepared requests.
        keeper: where records are found and kept.
        log: told of each shard and each cell; None: nobody is told.
        rule: decides when the samples of a cell are enough; None: every cell gets all samples.

    Returns:
        Cells of each run, see ``measure_all``.
    """
    timings: Timings = {}
    forecasts, seconds = list[list[dict[str, SampleCost]]](), 0.0
    for run in runs:
        with _safely(run):
            forecasts.append(costs(run.plan, run.datasets, run.device, known=timings))
        seconds += plan_seconds(run.plan, run.datasets, forecasts[-1])
    suites = " and ".join(dict.fromkeys(run.plan.suite for run in runs))
    partial = any(cost.untimed for forecast in forecasts for own in forecast for cost in own.values())
    with runs[0].progress.overall(f"{suites} suite", seconds, partial=partial) as whole:
        return [
            _measured(run, keeper, forecast=own, whole=whole, log=log, rule=rule)
            for run, own in zip(runs, forecasts, strict=True)
        ]


@contextmanager
def _safely(run: PreparedRun) -> Iterator[None]:
    """Run code of users in the block; the caller's random generators stay as they are."""
    with UserCode("run").running(), seeded_generators(rng.stream_key(run.plan.seed, "run"), run.device):
        yield


def _measured(
    run: PreparedRun,
    keeper: RecordKeeper,
    *,
    forecast: list[dict[str, SampleCost]],
    whole: JobProgress,
    log: RunLog | None,
    rule: StoppingRule | None,
) -> list[Measurement]:
    with _safely(run), running_note(run.request) as note:
        contexts = list(task_contexts(run, keeper=keeper, costs=forecast, whole=whole, in_looks=rule is not None))
        executor = choose_executor(run, contexts, keeper=keeper, costs=forecast, whole=whole, note=note)
        if log is not None:
            log.write("run", {"executor": executor.description, "request": run.request.model_dump(mode="json")})
        schedule = Schedule(contexts, log)
        writer = ResultWriter(keeper, contexts, log, rule=rule, drop=schedule.drop)
        with closing(executor.execute(schedule)) as parts:
            writer.write(parts)
        return [cell for number, context in enumerate(contexts) for cell in _graded(number, context, writer)]


def _graded(number: int, context: TaskContext, writer: ResultWriter) -> Iterator[Measurement]:
    """Cells of a task in the order of the plan. The probe and all attacks on a model grade each of its attacks."""
    rungs = {rung.signature: rung for ladder in context.task.ladders for rung in ladder.rungs}
    for subject, plan in enumerate(context.subjects):
        cells: list[Measurement] = []
        evidence: Mapping[str, float] = {}
        for place, ladder in enumerate(context.ladders(plan)):
            found = writer.cells((number, subject, place))
            if not is_probe(ladder):
                cells += found
            elif found[0].record is not None:
                evidence = found[0].record.evidence
        graded = [_attack(cell, rungs) for cell in cells]
        attacks = [attack for attack in graded if attack is not None]
        for cell, attack in zip(cells, graded, strict=True):
            yield cell if attack is None else replace(cell, credibility=grade_cell(attack, attacks, evidence))


def _attack(cell: Measurement, rungs: Mapping[str, Stressor]) -> GradedCell | None:
    """A cell as the credibility checks take it; None for a cell without an attack or without a record."""
    if cell.record is None:
        return None
    stressor = rungs[cell.record.identity.signature]
    return None if stressor.kind is None else GradedCell(stressor=stressor, record=cell.record)
