"""Requests that repeat the evaluations of one ladder of a run alone."""

from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.records.record import Cell


def repeat_request(run: PreparedRun, cell: Cell) -> RunRequest:
    """The request of a run, narrowed to the task and the model of one of its cells, and to the ladder that holds it.

    All strengths of the ladder are asked for, because they are searched together: one of them alone would be another
    evaluation. A shortcut baseline, which is no model of its own, is narrowed to its task and stressor. The clean cell,
    which every run measures, becomes the suite ``clean``.
    """
    request, plan = run.request, run.plan
    named = [task for task, data in zip(plan.tasks, run.datasets, strict=True) if data.label == cell.task]
    models = {subject.name for task in named for subject in task.subjects}
    ladders = [ladder for task in named for ladder in task.ladders]
    wanted = (cell.stressor, cell.strength)
    own = [ladder.rungs for ladder in ladders if wanted in [(rung.label, rung.strength) for rung in ladder.rungs]]
    rungs = own[0] if own and cell.stressor != "clean" else ()
    suite = {} if rungs else {"suite": "clean"}
    return request.model_copy(
        update={
            **suite,
            "tasks": tuple(task.task.name for task in named[:1]),
            "variants": (cell.variant,) if cell.variant in models else request.variants,
            "stressors": tuple(rung.signature for rung in rungs[:1]),
            "epsilons": tuple(rung.strength for rung in rungs) if len(rungs) > 1 else (),
        }
    )
