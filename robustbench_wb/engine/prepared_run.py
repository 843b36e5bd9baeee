"""A request made ready: plan, device and data. Nothing is written or computed yet."""

from dataclasses import replace

from robustbench_wb.engine.device import choose_device, exact_float32
from robustbench_wb.engine.plan import Plan, SubjectPlan, TaskPlan, make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.shortcuts import fitted
from robustbench_wb.engine.subject import Subject, obtain_subject
from robustbench_wb.errors import SubjectError, UsageError
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.progress import Progress
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.training_contamination import TrainingContamination
from robustbench_wb.tasks.task import Dataset

_PERTURBS: dict[Modality, str] = {
    "image": "images",
    "text": "texts with labels",
    "labelled": "token ids with labels",
    "tokens": "token ids",
    "language": "texts without labels",
}


def _refuse_misfits(task: TaskPlan, dataset: Dataset) -> None:
    """Say at once that a stressor or an adversary cannot perturb what a task consists of."""
    image = isinstance(dataset.shape, ImageShape)
    for subject in task.subjects:
        if subject.recipe.adversary is not None and subject.checkpoint is None and not image:
            raise UsageError(
                f"recipe {subject.recipe_name!r} trains against perturbed images, and task {dataset.label!r} has none"
            )
    has: dict[Modality, bool] = {
        "image": image,
        "text": bool(dataset.test.texts),
        "labelled": not image and not dataset.shape.causal,
        "tokens": not image,
        "language": dataset.shape.causal,
        "any": True,
    }
    for stressor in (rung for ladder in task.ladders for rung in ladder.rungs):
        if not has[stressor.modality]:
            what = _PERTURBS[stressor.modality]
            raise UsageError(f"stressor {stressor.name!r} perturbs {what}, and task {dataset.label!r} has none")


class PreparedRun:
    """Everything that can be wrong with a request is found while one of these is made.

    Args:
        request: what is asked for.
        progress: told what is done.
        may_train: whether a subject that is not in the cache is trained; else it cannot be had.

    Raises:
        UsageError: the request, the device or the data cannot be used.
    """

    def __init__(self, request: RunRequest, progress: Progress, may_train: bool = True) -> None:
        self.request, self.progress, self.may_train = request, progress, may_train
        self.plan: Plan = make_plan(request)
        self.device = choose_device(request.device)
        self.datasets = [task.task.load(request.data_dir) for task in self.plan.tasks]
        if request.split == "validation":
            self.datasets = [dataset.on_validation() for dataset in self.datasets]
        for task, dataset in zip(self.plan.tasks, self.datasets, strict=True):
            _refuse_misfits(task, dataset)
        exact_float32()

    def obtain(self, subject: SubjectPlan, dataset: Dataset, progress: Progress | None = None) -> Subject:
        """The trained subject, from the cache or trained now; ``progress`` is told instead of the request's own.

        Raises:
            SubjectError: it cannot be had.
        """
        if subject.is_shortcut:
            return fitted(subject, dataset, self.device)
        label = _label(subject, dataset)
        told = progress or self.progress
        return obtain_subject(subject, dataset, self.plan.seed, self.device, label, told, self.may_train)

    def retrain(
        self, subject: SubjectPlan, dataset: Dataset, stressor: TrainingContamination, progress: Progress
    ) -> Subject:
        """The same, trained on what a stressor makes of the training split.

        Raises:
            SubjectError: it cannot be had: its weights are given, or the task cannot be contaminated so.
        """
        if subject.checkpoint is not None or subject.recipe.epochs == 0:
            raise SubjectError(
                f"{stressor.name} needs a subject that is trained; the weights of {subject.name} are given"
            )
        found = stressor.contaminate(dataset, self.plan.seed, self.request.data_dir)
        label = f"{_label(subject, dataset)}, {stressor.label} {stressor.strength}".rstrip()
        seed, device = self.plan.seed, self.device
        trained = obtain_subject(subject, found.dataset, seed, device, label, progress, self.may_train)
        return replace(trained, card=replace(trained.card, contaminated=(found.changed, found.units)))


def _label(subject: SubjectPlan, dataset: Dataset) -> str:
    return " ".join(part for part in (subject.name, subject.size, "on", dataset.label) if part)
