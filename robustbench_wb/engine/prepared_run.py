"""A request with its plan, device and data. Nothing is written or computed yet."""

from dataclasses import replace

import torch

from robustbench_wb.engine.device import choose_device, prepare_determinism
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.pixel_misfits import refuse_moved_images, refuse_pixel_misfit
from robustbench_wb.engine.plan import Plan, SubjectPlan, TaskPlan, make_plan
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.search_precision import refuse_search_precision
from robustbench_wb.engine.shortcuts import fitted
from robustbench_wb.engine.subject import Subject, SubjectRequest, obtain_subject
from robustbench_wb.engine.torch_state import arithmetic
from robustbench_wb.errors import DataError, HarnessError, SubjectError, UsageError, error_text
from robustbench_wb.float_precision import exact_float32
from robustbench_wb.models.data_built_variant import DataBuiltVariant
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.models.variant import Variant
from robustbench_wb.progress import Progress
from robustbench_wb.stressors.given_signature import within_images
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.stressors.training_contamination import TrainingContamination
from robustbench_wb.tasks.catalogue import takes_options
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.task import MAX_TOKENS, Dataset
from robustbench_wb.user_code import UserCode

_PERTURBS: dict[Modality, str] = {
    "image": "images",
    "text": "texts with labels",
    "labelled": "token ids with labels",
    "tokens": "token ids",
    "language": "texts without labels",
}


def _refuse_misfit_model(subject: SubjectPlan, dataset: Dataset, *, may_train: bool) -> None:
    """Raise UsageError if a model or its training cannot take the inputs of a task."""
    shape = dataset.shape
    image = isinstance(shape, ImageShape)
    if isinstance(shape, ImageShape) and not shape.patches and isinstance(subject.source, Variant):
        raise UsageError(
            f"images of {shape.height}x{shape.width} cannot be cut into 2 to {MAX_TOKENS} square "
            f"patches, which variant {subject.name!r} needs; resize the images, or evaluate a model of your own"
        )
    built = isinstance(subject.source, DataBuiltVariant)
    if built and (not image or isinstance(shape, SegmentationShape)):
        raise UsageError(
            f"variant {subject.name!r} is for image classification only, and task {dataset.label!r} is not"
        )
    use = "builds its layers from training data" if built else "is to be trained"
    as_it_is = "with a checkpoint" if built else "with recipe 'none' or a checkpoint"
    takes_data = may_train and subject.takes_training_split
    if takes_data and isinstance(dataset, EvaluationDataset) and dataset.outputs is not None:
        raise UsageError(
            f"task {dataset.label!r} takes some outputs of a trained model, and {subject.name!r} {use}; "
            f"evaluate it as it is {as_it_is}, or leave outputs out",
            "recipe",
        )
    if not len(dataset.train) and takes_data:
        what, parts = ("pictures", "folders train and val") if image else ("texts", "files train and test")
        raise UsageError(
            f"task {dataset.label!r} has no {what} for training, and {subject.name!r} {use}; evaluate "
            f"it as it is {as_it_is}, or put {parts} into the task's folder",
            "recipe",
        )
    refuse_moved_images(subject.recipe, dataset)
    if subject.recipe.adversary is not None and subject.checkpoint is None and not image:
        raise UsageError(
            f"recipe {subject.recipe_name!r} trains against perturbed images, and task {dataset.label!r} has none"
        )


def _refuse_misfits(task: TaskPlan, dataset: Dataset, *, may_train: bool) -> None:
    """Raise UsageError if a model, a stressor or the adversary of a recipe cannot take the inputs of a task."""
    image = isinstance(dataset.shape, ImageShape)
    for subject in (*task.subjects, *task.surrogates):
        _refuse_misfit_model(subject, dataset, may_train=may_train)
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
        refuse_pixel_misfit(stressor, dataset)
        if isinstance(dataset.shape, ImageShape):
            within_images(stressor, dataset.shape)


class PreparedRun:
    """A request with its plan, its device and its data. Making one finds everything that is wrong with a request.

    Args:
        request: models, tasks and stressors to evaluate.
        progress: receives progress.
        may_train: whether a model that is not in the cache is trained; if not, it is an error.
        loaded: data of tasks by name, which other runs with the same data folder and split have loaded; what is loaded
            is added.

    Raises:
        UsageError: the request, the device or the data cannot be used.
    """

    def __init__(
        self,
        request: RunRequest,
        progress: Progress,
        may_train: bool = True,
        *,
        loaded: dict[str, Dataset] | None = None,
    ) -> None:
        self.request, self.progress, self.may_train = request, progress, may_train
        self.plan: Plan = make_plan(request)
        if request.deterministic:
            prepare_determinism()
        self.device = choose_device(request.device)
        refuse_search_precision(request.search_precision, self.device)
        known = {} if loaded is None else loaded
        for task in self.plan.tasks:
            if task.task.name not in known:
                dataset = _load(task, request.data_dir)
                known[task.task.name] = _evaluated(task, dataset, request)
        self.datasets = [known[task.task.name] for task in self.plan.tasks]
        for task, dataset in zip(self.plan.tasks, self.datasets, strict=True):
            _refuse_misfits(task, dataset, may_train=may_train)
            if request.balanced and (dataset.shape.causal or isinstance(dataset.shape, SegmentationShape)):
                raise UsageError(f"task {dataset.label!r} has no classes; leave balanced out", "balanced")
        exact_float32(torch)

    def obtain(self, subject: SubjectPlan, dataset: Dataset, progress: Progress | None = None) -> Subject:
        """Train a model or find it in the cache. ``progress`` replaces the progress of the run.

        Raises:
            SubjectError: the model cannot be built or trained.
        """
        if subject.is_shortcut:
            return fitted(subject, dataset, self.device)
        return self._obtained(subject, dataset, label=_label(subject, dataset), progress=progress or self.progress)

    def retrain(
        self, subject: SubjectPlan, dataset: Dataset, *, stressor: TrainingContamination, progress: Progress
    ) -> Subject:
        """Train a model on the training split that a stressor contaminates, or find it in the cache.

        Raises:
            MeasurementError: the model cannot be built or trained, its weights are given, or the stressor cannot
                contaminate the task.
        """
        if not subject.takes_training_split:
            raise SubjectError(
                f"{stressor.name} needs a subject that is trained; the weights of {subject.name} are given"
            )
        found = stressor.contaminate(dataset, self.plan.seed, self.request.data_dir)
        label = f"{_label(subject, dataset)}, {stressor.label} {stressor.strength}".rstrip()
        trained = self._obtained(subject, found.dataset, label=label, progress=progress)
        card = replace(trained.card, contaminated=(found.changed, found.units))
        return replace(trained, card=card)

    def _obtained(self, subject: SubjectPlan, dataset: Dataset, *, label: str, progress: Progress) -> Subject:
        wanted = SubjectRequest(
            plan=subject,
            dataset=dataset,
            seed=self.plan.seed,
            device=self.device,
            label=label,
            progress=progress,
            may_train=self.may_train,
            deterministic=self.request.deterministic,
        )
        with arithmetic(self.device, deterministic=self.request.deterministic):
            return obtain_subject(wanted)


def prepare_experiment(experiment: Experiment, progress: Progress, *, may_train: bool = True) -> list[PreparedRun]:
    """Prepare all runs of an experiment. Data that several of them evaluate are loaded once.

    Args:
        experiment: what is run.
        progress: receives progress.
        may_train: see ``PreparedRun``.

    Raises:
        UsageError: a request, the device or the data cannot be used.
    """
    loaded: dict[str, Dataset] = {}
    return [PreparedRun(request, progress, may_train, loaded=loaded) for request in experiment.requests]


def _evaluated(task: TaskPlan, dataset: Dataset, request: RunRequest) -> Dataset:
    """The data with the split of the request as the evaluated one; a task that takes options has chosen it itself."""
    return dataset.on_validation() if request.split == "validation" and not takes_options(task.task) else dataset


def _load(task: TaskPlan, data_dir: str | None) -> Dataset:
    """Load the data of a task, which a plug-in may provide."""
    name = task.task.name
    plugin = not type(task.task).__module__.startswith("robustbench_wb.")
    try:
        with UserCode(f"task {name!r}").running(libraries=plugin):
            return task.task.load(data_dir)
    except SubjectError as error:
        raise DataError(str(error)) from error
    except HarnessError:
        raise
    except Exception as error:
        if not plugin:
            raise
        raise DataError(f"task {name!r}: {error_text(error)}") from error


def _label(subject: SubjectPlan, dataset: Dataset) -> str:
    return " ".join(part for part in (subject.name, subject.size, "on", dataset.label) if part)
