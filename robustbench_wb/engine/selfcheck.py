"""The same measurement several times, with other settings of what must not matter: an A/A test of the harness."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch

from robustbench_wb.engine.bench import NoRecords
from robustbench_wb.engine.perturbed_cache import KIND as SHELF
from robustbench_wb.engine.plan import Plan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.folders import temporary_cache
from robustbench_wb.progress import Progress
from robustbench_wb.records.selfcheck_run import SelfcheckRun, SelfcheckSetting

BATCHES: Final = (None, 7, 33, 128)
"""Batch sizes of the runs, in turn: first what a run takes by itself, then sizes that do not divide each other."""


def settings(times: int) -> list[SelfcheckSetting]:
    """Of so many runs: the first as any run is, every second one backwards and with other threads."""
    usual = torch.get_num_threads()
    other = 1 if usual > 1 else min(2, os.cpu_count() or 1)
    return [
        SelfcheckSetting(batch=BATCHES[run % len(BATCHES)], threads=(usual, other)[run % 2], reversed=run % 2 == 1)
        for run in range(times)
    ]


def selfcheck_runs(request: RunRequest, times: int, progress: Progress, retrain: bool = False) -> list[SelfcheckRun]:
    """Measure every cell of a request so many times; no record is looked up or kept.

    What stressors make without a model is made again each time. Subjects are trained once, or found in the cache;
    with ``retrain`` they are trained again each time, from the same seed, and the cache is left as it is.

    Raises:
        UsageError: the request, the device or the data cannot be used.
    """
    kinds = (SHELF, "checkpoints") if retrain else (SHELF,)
    runs = []
    for setting in settings(times):
        batch = request.batch if setting.batch is None else setting.batch
        job = PreparedRun(request.model_copy(update={"batch": batch}), progress)
        if setting.reversed:
            job.plan = _backwards(job.plan)
        with temporary_cache(*kinds), _threads(setting.threads):
            runs.append(SelfcheckRun(setting, measure_all(job, NoRecords())))
    return runs


def _backwards(plan: Plan) -> Plan:
    """Subjects and stressors in the opposite order; the clean cell stays the first."""
    tasks = [
        replace(task, subjects=task.subjects[::-1], ladders=(task.ladders[0], *task.ladders[:0:-1]))
        for task in plan.tasks
    ]
    return replace(plan, tasks=tuple(tasks))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
