"""Choice of the executor of a run."""

import os
from collections.abc import Callable, Sequence
from typing import Final

import torch

from robustbench_wb.engine.cost_forecast import SampleCost, plan_seconds
from robustbench_wb.engine.division import shard_seconds
from robustbench_wb.engine.inline_executor import InlineExecutor
from robustbench_wb.engine.planned_cells import is_measured
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.process_executor import ProcessExecutor
from robustbench_wb.engine.ray_executor import RayExecutor, start_ray
from robustbench_wb.engine.record_keeper import RecordKeeper
from robustbench_wb.engine.shard import Executor
from robustbench_wb.engine.shared_rounds import RoundsExecutor, device_memory, in_rounds
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.progress import JobProgress

PAYS_SECONDS: Final = 60.0
"""Forecast of a run from which on several processes are worth their start."""
WORKER_BYTES: Final = 2 << 30
"""Memory of the machine for each process that is started without being asked for."""


def choose_executor(
    run: PreparedRun,
    contexts: Sequence[TaskContext],
    *,
    keeper: RecordKeeper,
    costs: list[dict[str, SampleCost]],
    whole: JobProgress,
    note: Callable[[str], None],
) -> Executor:
    """The executor that a request asks for; without a wish, processes for a long run on the cores of a CPU.

    Args:
        run: the prepared request.
        contexts: its tasks.
        keeper: where records and parts are found.
        costs: forecast cost of each model by name, for each task.
        whole: told how much work is done, in forecast seconds.
        note: told the name of each model before its code runs in this process.
    """
    request = run.request
    workers = _workers(run, contexts, plan_seconds(run.plan, run.datasets, costs))
    shard_seconds()  # a wrong number is an error now, and not in every worker
    if workers == 0 or (not request.isolate and is_measured(run, keeper, note=note)):
        return RoundsExecutor(contexts, InlineExecutor(contexts, note=note), note=note)
    if request.executor == "ray":
        room = start_ray(run.device.type)
        count = request.workers or room
        return RayExecutor(run, contexts, keeper=keeper, costs=costs, whole=whole, workers=count)
    return ProcessExecutor(
        run, contexts, keeper=keeper, costs=costs, whole=whole, workers=workers, isolated=request.isolate
    )


def _workers(run: PreparedRun, contexts: Sequence[TaskContext], seconds: float) -> int:
    """Number of processes beside this one; 0: this one measures everything."""
    request = run.request
    if request.isolate:
        return request.workers or 1
    if request.executor in ("processes", "ray"):
        return request.workers or (torch.cuda.device_count() if run.device.type == "cuda" else cores())
    if request.executor == "inline" or request.workers == 1:
        return 0
    if request.workers is not None:
        return request.workers
    pays = run.device.type == "cpu" and seconds >= PAYS_SECONDS and not any(map(in_rounds, contexts))
    fit = max(1, int(min(cores(), device_memory(run.device) // WORKER_BYTES)))
    return fit if pays and fit > 1 and not request.models else 0


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
