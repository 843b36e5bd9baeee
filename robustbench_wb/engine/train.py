"""Training of the models of a request, without evaluation."""

from dataclasses import dataclass

from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.records.record import SubjectCard
from robustbench_wb.user_code import UserCode


@dataclass(frozen=True, kw_only=True)
class TrainedSubject:
    """One model after training."""

    task: str
    variant: str
    size: str
    recipe: str
    card: SubjectCard | None
    """Columns about the model; None if it could not be built or trained."""
    error: str = ""
    """One line; empty if the training succeeded."""


def train_subjects(job: PreparedRun) -> list[TrainedSubject]:
    """Train, or find in the cache, every model of the plan. A model that fails is in the list with its error."""
    done: list[TrainedSubject] = []
    for task, dataset in zip(job.plan.tasks, job.datasets, strict=True):
        for plan in task.subjects:
            card, problem = None, ""
            try:
                with as_measurement_error(plan.name), UserCode(plan.name).running():
                    card = job.obtain(plan, dataset).card
            except MeasurementError as error:
                problem = str(error)
            done.append(
                TrainedSubject(
                    task=dataset.label,
                    variant=plan.name,
                    size=plan.size,
                    recipe=plan.recipe_name,
                    card=card,
                    error=problem,
                )
            )
    return done
