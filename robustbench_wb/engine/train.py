"""Training the subjects of a request, without measuring them."""

from dataclasses import dataclass

from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.records.record import SubjectCard


@dataclass(frozen=True)
class TrainedSubject:
    """One subject after training."""

    task: str
    variant: str
    size: str
    recipe: str
    card: SubjectCard | None
    """None when there is no subject."""
    error: str = ""


def train_subjects(job: PreparedRun) -> list[TrainedSubject]:
    """Train, or find in the cache, every subject of the plan. One that fails is in the list with its error."""
    done: list[TrainedSubject] = []
    for task, dataset in zip(job.plan.tasks, job.datasets, strict=True):
        for plan in task.subjects:
            card, problem = None, ""
            try:
                with as_measurement_error(plan.name):
                    card = job.obtain(plan, dataset).card
            except MeasurementError as error:
                problem = str(error)
            done.append(TrainedSubject(dataset.label, plan.name, plan.size, plan.recipe_name, card, problem))
    return done
