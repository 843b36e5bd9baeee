"""Training of the models of a request, without evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.records.record import SubjectCard
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.user_code import UserCode


@dataclass(frozen=True, kw_only=True)
class TrainedSubject:
    """One model after training."""

    task: str
    variant: str
    size: str
    recipe: str
    seed: int
    card: SubjectCard | None
    """Columns about the model; None if it could not be built or trained."""
    error: str = ""
    """One line; empty if the training succeeded."""


def train_subjects(jobs: Sequence[PreparedRun]) -> list[TrainedSubject]:
    """Train, or find in the cache, every model of some plans, each once.

    A model that fails is in the list with its error.
    """
    done: dict[tuple[object, ...], TrainedSubject] = {}
    for job in jobs:
        for task, dataset in zip(job.plan.tasks, job.datasets, strict=True):
            for plan in task.subjects:
                key = (dataset.label, plan.name, plan.size, plan.recipe, job.plan.seed)
                if key not in done:
                    done[key] = _trained(job, plan, dataset)
    return list(done.values())


def _trained(job: PreparedRun, plan: SubjectPlan, dataset: Dataset) -> TrainedSubject:
    card, problem = None, ""
    try:
        with as_measurement_error(plan.name), UserCode(plan.name).running():
            card = job.obtain(plan, dataset).card
    except MeasurementError as error:
        problem = str(error)
    return TrainedSubject(
        task=dataset.label,
        variant=plan.name,
        size=plan.size,
        recipe=plan.recipe_name,
        seed=job.plan.seed,
        card=card,
        error=problem,
    )
