"""Carrying out a plan, task by task: in this process, or with others that measure beside it."""

from collections.abc import Mapping

from robustbench_wb.engine.bench import Bench, RecordKeeper
from robustbench_wb.engine.cost_forecast import SampleCost, costs, plan_seconds
from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.shortcuts import shortcut_plans
from robustbench_wb.engine.workers import WorkUnit, share_out
from robustbench_wb.progress import JobProgress, JobTrackingProgress
from robustbench_wb.records.record import Measurement


class _Part:
    """The cells of one subject on one task, found ladder by ladder, in any order."""

    def __init__(self, bench: Bench, plan: SubjectPlan, place: tuple[int, int]) -> None:
        self.bench, self.plan, self.place = bench, plan, place
        self.found: dict[Ladder, list[Measurement]] = {}
        self.apart: list[Ladder] = []
        """Left to other processes."""
        self.evidence: Mapping[str, float] = {}

    def begin(self, alone: bool) -> None:
        """Measure everything if this process is ``alone``; else what cannot be left to others."""

        def mine(ladder: Ladder) -> bool:
            if alone or self.plan.is_shortcut or not self.bench.is_apart(ladder):
                return True
            self.apart.append(ladder)
            return False

        self.found |= self.bench.measure(self.plan, mine)
        self.evidence = self.bench.evidence

    def end(self) -> list[Measurement]:
        """All cells in the order of the plan, graded; what nobody has measured yet is measured now."""
        ladders = self.bench.ladders(self.plan)
        left = [ladder for ladder in ladders if ladder not in self.found]
        if left:
            self.found |= self.bench.measure(self.plan, left.__contains__)
        return self.bench.graded([cell for ladder in ladders for cell in self.found[ladder]], self.evidence)


def measure_all(job: PreparedRun, ledger: RecordKeeper) -> list[Measurement]:
    """Every cell of the plan, in order. A cell that failed is in the list with its error; it never stops the others.

    With several workers, subjects are trained, and their clean cells measured, by this process, and then the ladders
    of stressors by the others. Who measures a cell cannot change it.
    """
    trial = costs(job.plan, job.datasets, job.device)
    with job.progress.overall(f"{job.plan.suite} suite", plan_seconds(job.plan, job.datasets, trial)) as whole:
        progress = JobTrackingProgress(job.progress, whole)
        parts = []
        for number, (task, dataset, own) in enumerate(zip(job.plan.tasks, job.datasets, trial, strict=True)):
            bench = Bench(job, ledger, task, dataset, progress, own)
            subjects = (*task.subjects, *shortcut_plans(dataset))
            parts += [_Part(bench, plan, (number, place)) for place, plan in enumerate(subjects)]
        for part in parts:
            part.begin(alone=job.request.workers == 1)
        _share_out(job, ledger, parts, trial, whole)
        return [cell for part in parts for cell in part.end()]


def _share_out(
    job: PreparedRun,
    ledger: RecordKeeper,
    parts: list[_Part],
    trial: list[Mapping[str, SampleCost]],
    whole: JobProgress,
) -> None:
    """Have others measure what was left to them."""
    units = {
        WorkUnit(*part.place, ladders.index(ladder)): (part, ladder)
        for part in parts
        for ladders in [part.bench.ladders(part.plan)]
        for ladder in part.apart
    }
    if not units:
        return
    with job.progress.stage(f"cells by {job.request.workers} workers", len(units), "ladders") as advance:
        for unit, cells in share_out(job.request, ledger, list(units), trial, whole):
            part, ladder = units[unit]
            part.found[ladder] = cells
            advance(1)
