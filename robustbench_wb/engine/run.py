"""Carrying out a plan, task by task."""

from robustbench_wb.engine.bench import Bench, Ledger
from robustbench_wb.engine.job import Prepared
from robustbench_wb.engine.record import Measured
from robustbench_wb.engine.shortcuts import shortcut_plans
from robustbench_wb.engine.work import costs, plan_work
from robustbench_wb.progress import Tied


def measure_all(job: Prepared, ledger: Ledger) -> list[Measured]:
    """Every cell of the plan, in order. A cell that failed is in the list with its error; it never stops the others."""
    cells: list[Measured] = []
    trial = costs(job.plan, job.datasets, job.device)
    with job.progress.overall(f"{job.plan.suite} suite", plan_work(job.plan, job.datasets, trial)) as whole:
        progress = Tied(job.progress, whole)
        for task, dataset, own in zip(job.plan.tasks, job.datasets, trial, strict=True):
            bench = Bench(job, ledger, task, dataset, progress, own)
            for subject in (*task.subjects, *shortcut_plans(dataset)):
                cells += bench.graded(list(bench.cells(subject)))
    return cells
