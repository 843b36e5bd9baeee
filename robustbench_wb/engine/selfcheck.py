"""Selfcheck: an A/A test of the harness, which measures the same cells under settings that must not matter."""

import os
from dataclasses import replace
from typing import Final

import torch

from robustbench_wb.cpu_threads import cpu_threads
from robustbench_wb.engine.perturbed_cache import KIND as PERTURBED
from robustbench_wb.engine.plan import Plan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import NoRecords
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.run import measure_all
from robustbench_wb.folders import temporary_cache
from robustbench_wb.progress import Progress
from robustbench_wb.records.selfcheck_run import SelfcheckRun, SelfcheckSetting

BATCHES: Final = (None, 7, 33, 128)
"""Batch sizes of the runs, in turn: first the automatic one, then sizes that do not divide each other."""


def settings(times: int) -> list[SelfcheckSetting]:
    """Settings of ``times`` runs: first an ordinary run; every second run has other threads and reverse order."""
    usual = torch.get_num_threads()
    other = 1 if usual > 1 else min(2, os.cpu_count() or 1)
    return [
        SelfcheckSetting(
            batch=BATCHES[number % len(BATCHES)], threads=(usual, other)[number % 2], reversed=number % 2 == 1
        )
        for number in range(times)
    ]


def selfcheck_runs(request: RunRequest, times: int, progress: Progress, retrain: bool = False) -> list[SelfcheckRun]:
    """Measure every cell of a request ``times`` times. No record is looked up or kept.

    Corruptions are computed again each time. Models are trained once, or found in the cache; with ``retrain`` they are
    trained again each time, from the same seed, and the cache is left as it is.

    Raises:
        UsageError: the request, the device or the data cannot be used.
    """
    kinds = (PERTURBED, "checkpoints") if retrain else (PERTURBED,)
    runs = []
    for setting in settings(times):
        batch = request.batch if setting.batch is None else setting.batch
        run = PreparedRun(request.model_copy(update={"batch": batch, "executor": "inline", "workers": None}), progress)
        if setting.reversed:
            run.plan = _reversed(run.plan)
        with temporary_cache(*kinds), cpu_threads(setting.threads):
            runs.append(SelfcheckRun(setting=setting, cells=measure_all(run, NoRecords())))
    return runs


def _reversed(plan: Plan) -> Plan:
    """The plan with models and stressors in reverse order; the clean cell stays the first."""
    tasks = [
        replace(task, subjects=task.subjects[::-1], ladders=(task.ladders[0], *task.ladders[:0:-1]))
        for task in plan.tasks
    ]
    return replace(plan, tasks=tuple(tasks))
