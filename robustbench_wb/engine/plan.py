"""The plan of a run, made from a request. Every name and number is checked here, before any work starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_wb.engine.changed_numbers import SEPARATOR, TEST, find_changed_recipe, find_variant
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.time_limit import time_limit
from robustbench_wb.engine.trust import is_trusted, not_trusted
from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.interrupts import OutOfTimeError
from robustbench_wb.models.data_built_variant import DataBuiltVariant
from robustbench_wb.models.external import (
    Factory,
    is_external,
    load_factory,
    unloaded_factory,
    without_pretrained,
)
from robustbench_wb.models.providers.geometry import model_geometry
from robustbench_wb.models.variant import Variant
from robustbench_wb.namespaces import load_own_code
from robustbench_wb.records.names import CUSTOM
from robustbench_wb.spec import digest, parse_exact
from robustbench_wb.stressors.catalogue import parse_stressor, strength_axis
from robustbench_wb.stressors.given_signature import read_number, read_signature, within_pixels
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.text_attacks.kept_meaning import MeaningAttack
from robustbench_wb.stressors.training_contamination import TrainingContamination
from robustbench_wb.suites.default_suite import common_suite
from robustbench_wb.suites.suite import Suite, SuiteStressor, find_suite
from robustbench_wb.tasks.catalogue import find_task, takes_options
from robustbench_wb.tasks.pictures.folder_task import FolderTask
from robustbench_wb.tasks.task import Task
from robustbench_wb.text_files import is_file
from robustbench_wb.training.recipe import Recipe, Scale

if TYPE_CHECKING:  # shortcuts import torch; making a plan must not
    from robustbench_wb.training.shortcuts.shortcut import Shortcut


@dataclass(frozen=True)
class Ladder:
    """One stressor at its strengths, ascending; one rung without a strength axis."""

    rungs: tuple[Stressor, ...]
    family: str = ""
    """Cells that are corrected together in a comparison, as the suite declares it."""

    @property
    def contaminations(self) -> tuple[TrainingContamination, ...]:
        """The rungs if each of them trains a model of its own on a contaminated training split; else empty."""
        return tuple(rung for rung in self.rungs if isinstance(rung, TrainingContamination))

    @property
    def split(self) -> tuple["Ladder", ...]:
        """Ladders of one rung each."""
        return tuple(replace(self, rungs=(rung,)) for rung in self.rungs)


@dataclass(frozen=True, kw_only=True)
class SubjectPlan:
    """One model to evaluate."""

    name: str
    """Name in the request; column ``variant`` of the table."""
    source: "Variant | Factory | type[Shortcut]"
    size: str
    """Empty for a factory, which has no sizes."""
    recipe_name: str
    recipe: Recipe
    checkpoint: Path | None
    timeout: float | None = None
    """Seconds that building the model may take; None: no limit."""
    tested: Variant | None = None
    """Variant that is evaluated with the weights of ``source``; None: ``source`` itself."""

    @property
    def trained_name(self) -> str:
        """Name of the model that is trained: models that differ only in numbers changed after training share it."""
        return self.name if self.tested is None else self.name.partition(SEPARATOR + TEST)[0]

    @property
    def is_shortcut(self) -> bool:
        """Whether the model is a shortcut baseline, which is fitted, not trained. No other source is a class."""
        return isinstance(self.source, type)

    @property
    def takes_training_split(self) -> bool:
        """Whether the weights come from the task's training split: by training, or because layers are built from it."""
        return self.checkpoint is None and (self.recipe.epochs > 0 or isinstance(self.source, DataBuiltVariant))


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """One task with all models and stressors that are run on it."""

    task: Task
    subjects: tuple[SubjectPlan, ...]
    ladders: tuple[Ladder, ...]
    """The first is always ``clean``."""
    surrogates: tuple[SubjectPlan, ...]
    """Models on which transfer attacks of the ladders run, each once."""

    def family(self, stressor: Stressor) -> str:
        """Family of the ladder that holds the stressor; empty if no ladder holds it."""
        return next((ladder.family for ladder in self.ladders if stressor in ladder.rungs), "")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run evaluates."""

    suite: str
    suite_version: int
    scale: Scale
    samples: int | None
    balanced: bool
    """Whether the evaluated samples are as many of each class."""
    seed: int
    calibration: bool
    """Whether records keep what calibration error and Brier score follow from."""
    layers: bool
    """Whether the layers of each variant are measured in every cell."""
    tasks: tuple[TaskPlan, ...]


def make_plan(request: RunRequest) -> Plan:
    """Resolve a request.

    Raises:
        UsageError: something in it cannot be carried out. Nothing has been written or computed then.
    """
    suite = find_suite(request.suite or common_suite(request.tasks))
    settings = suite.settings(request.scale)
    if request.isolate and request.executor not in ("auto", "processes"):
        raise UsageError("isolate measures in processes of this machine; leave executor out", "isolate", "executor")
    scale = request.scale
    tasks = _distinct("task", suite.default_tasks(scale) if request.tasks is None else request.tasks)
    variants = _distinct("variant", suite.default_variants(scale) if request.variants is None else request.variants)
    if request.checkpoint is not None and len(variants) != 1:
        message = "checkpoint holds the weights of one model; variants must name exactly one with it"
        raise UsageError(message, "checkpoint", "variants")
    return Plan(
        suite=_suite_name(suite, request),
        suite_version=suite.version,
        scale=scale,
        samples=request.samples if request.samples is not None else settings.samples,
        balanced=request.balanced,
        seed=request.seed,
        calibration=suite.calibration,
        layers=request.layers or suite.layers,
        tasks=tuple(_task(suite, name, variants=variants, size=settings.size, request=request) for name in tasks),
    )


def _suite_name(suite: Suite, request: RunRequest) -> str:
    """Name of the suite; a changed one has a digest of its content, so that equal changes share a table and no others.

    The order of stressors and strengths, and parameters that are equal to their defaults, are no difference.
    """
    if not (request.stressors or request.epsilons):
        return suite.name
    lines = [line.model_dump(exclude={"family"}) for line in suite.stressors]
    content: dict[str, object] = {
        "lines": lines,
        "epsilons": sorted({str(parse_exact(one)) for one in request.epsilons}),
    }
    if request.stressors:
        # The same for all tasks: strengths and tasks of the suite are those of its own lines.
        ladders = {tuple(rung.signature for rung in ladder.rungs) for ladder in _ladders(suite, "", request)[1:]}
        content = {"ladders": sorted(ladders)}
    return f"{suite.name}{CUSTOM}-{digest(content)[:8]}"


def _task(suite: Suite, name: str, *, variants: tuple[str, ...], size: str, request: RunRequest) -> TaskPlan:
    kind = str(getattr(find_task(name), "like", name.partition(";")[0]))
    ladders = _ladders(suite, kind, request)
    # Given weights belong to the evaluated model: a surrogate is trained.
    training = request.model_copy(update={"checkpoint": None})
    planned = [_subject(variant, task=kind, size=size, request=request) for variant in variants]
    sources = dict.fromkeys(ladder.rungs[0].surrogate for ladder in ladders)
    return TaskPlan(
        task=_find_task(name, planned, request),
        subjects=tuple({plan.name: plan for plan in planned}.values()),
        ladders=ladders,
        surrogates=tuple(
            _subject(source, task=kind, size=size, request=training) for source in sources if source is not None
        ),
    )


def _find_task(name: str, subjects: Sequence[SubjectPlan], request: RunRequest) -> Task:
    """The task of a name, with the options of the request; pictures without a geometry get that of the first model.

    Raises:
        UsageError: the task takes no such options.
    """
    task = find_task(name)
    asked = {"classes": request.classes, "ids": request.ids, "split": request.split}
    given = {key: value for key, value in asked.items() if value not in (None, "test")}
    if takes_options(task):
        task = find_task(";".join([name, *(f"{key}={value}" for key, value in given.items())]))
    elif given.keys() - {"split"} or given.get("split", "validation") != "validation":
        unknown = ", ".join(f"{key} {value!r}" for key, value in given.items() if value != "validation")
        raise UsageError(
            f"task {name!r} takes no {unknown}; only folders of pictures, texts in files and images of the hub do",
            *given,
        )
    if isinstance(task, FolderTask) and task.geometry is None:
        for subject in subjects:
            geometry = model_geometry(subject.name) if is_external(subject.name) else None
            if geometry is not None:
                return task.with_geometry(geometry)
    return task


def _distinct(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise UsageError(f"a run needs at least one {kind}")
    return tuple(dict.fromkeys(names))


def _subject(name: str, *, task: str, size: str, request: RunRequest) -> SubjectPlan:
    recipe_name, recipe = find_changed_recipe(request.recipe, task, request.scale)
    checkpoint = None
    if request.checkpoint is not None:
        checkpoint, recipe_name = Path(request.checkpoint), "checkpoint"
        if not is_file(checkpoint):
            raise CheckpointError(f"checkpoint {checkpoint} does not exist")
    if name in request.models or is_external(name):
        if not is_trusted(name, request.trusted):
            raise UsageError(not_trusted(name))
        # Given weights are put into the model as they are, so that it may have a new head until then.
        trained = recipe.epochs > 0 or checkpoint is not None
        # They replace pretrained weights, which are then not downloaded.
        reference = name if checkpoint is None else without_pretrained(name)
        factory = request.models.get(name) or _factory(reference, trained, request)
        return SubjectPlan(
            name=name,
            source=factory,
            size="",
            recipe_name=recipe_name,
            recipe=recipe,
            checkpoint=checkpoint,
            timeout=request.timeout,
        )
    chosen = request.size or size
    found = find_variant(name, chosen)
    return SubjectPlan(
        name=found.name,
        source=found.trained,
        size=chosen,
        recipe_name=recipe_name,
        recipe=recipe,
        checkpoint=checkpoint,
        tested=None if found.tested == found.trained else found.tested,
    )


def _factory(name: str, trained: bool, request: RunRequest) -> Factory:
    if request.isolate:  # another process runs the code
        return unloaded_factory(name)
    load_own_code()  # takes seconds, which are not the model's
    try:
        with time_limit(request.timeout):
            return load_factory(name, trained=trained)
    except OutOfTimeError as error:
        raise UsageError(f"{name} cannot be loaded: {error}", "timeout") from error


def suite_ladders(suite: Suite, task: str) -> tuple[Ladder, ...]:
    """Ladders of a suite on a task, clean first.

    Raises:
        UsageError: a stressor cannot be built, or the suite has no strengths of it for the task.
    """
    return _ladders(suite, task, RunRequest())


def _ladders(suite: Suite, task: str, request: RunRequest) -> tuple[Ladder, ...]:
    lines = tuple(line for line in suite.stressors if _meant_for(line, task))
    if request.stressors:
        lines = tuple(SuiteStressor(use=signature) for signature in request.stressors)
    ladders = [_ladder(suite, line, task=task, epsilons=request.epsilons) for line in lines]
    clean = Ladder((parse_stressor("clean"),))
    for stressor in (ladder.rungs[0] for ladder in ladders):
        if isinstance(stressor, MeaningAttack):
            stressor.refuse_missing()
    declared = [ladder for ladder in ladders if ladder.rungs == clean.rungs]
    return (*(declared or [clean])[:1], *(ladder for ladder in ladders if ladder.rungs != clean.rungs))


def _meant_for(line: SuiteStressor, task: str) -> bool:
    return not line.tasks or any(fnmatchcase(task, pattern) for pattern in line.tasks)


def _ladder(suite: Suite, line: SuiteStressor, *, task: str, epsilons: tuple[str, ...]) -> Ladder:
    name, _, numbers = line.use.partition(";")
    strengths = suite.strengths_for(line, task)
    axis = strength_axis(name)
    if axis is not None and epsilons:
        strengths = epsilons
    if strengths is None:
        return Ladder((read_signature(line.use),), line.family)
    if axis is None:
        raise UsageError(f"suite {suite.name!r} gives strengths to {name!r}, which has none")
    exact = [read_number(strength, axis) for strength in strengths]
    values: dict[Fraction, str] = {parse_exact(strength): strength for strength in exact}
    rest = [part for part in numbers.split(";") if part and not part.startswith(f"{axis}=")]
    first = ";".join([name, f"{axis}={values[min(values)]}", *rest])
    stressor = read_signature(first)
    return Ladder(tuple(within_pixels(stressor.at(str(value))) for value in sorted(values)), line.family)
