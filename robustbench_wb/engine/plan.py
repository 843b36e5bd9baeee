"""From a request to the list of what will be done. Every name and number is checked here, before any work starts."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import CheckpointError, UsageError
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.external import Factory, is_external, load_factory
from robustbench_wb.models.variant import Variant
from robustbench_wb.spec import parse_exact
from robustbench_wb.stressors.catalogue import parse_stressor, strength_axis
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.suites.suite import Suite, SuiteStressor, find_suite
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.task import Task
from robustbench_wb.training.recipe import Recipe, Scale, find_recipe

if TYPE_CHECKING:  # shortcuts import torch; making a plan must not
    from robustbench_wb.training.shortcuts.shortcut import Shortcut


@dataclass(frozen=True)
class Ladder:
    """One stressor at its strengths, ascending; one rung without a strength axis."""

    rungs: tuple[Stressor, ...]
    family: str = ""
    """As the suite declares it."""


@dataclass(frozen=True)
class SubjectPlan:
    """One thing to test."""

    name: str
    """As the request wrote it; the table's ``variant``."""
    source: "Variant | Factory | type[Shortcut]"
    size: str
    """Empty for a factory, which has no sizes."""
    recipe_name: str
    recipe: Recipe
    checkpoint: Path | None

    @property
    def is_shortcut(self) -> bool:
        """Fitted, not trained; the only sources that are classes."""
        return isinstance(self.source, type)


@dataclass(frozen=True)
class TaskPlan:
    """One task with everything that is run on it."""

    task: Task
    subjects: tuple[SubjectPlan, ...]
    ladders: tuple[Ladder, ...]
    """The first is always ``clean``."""
    surrogates: tuple[SubjectPlan, ...]
    """What the ladders need besides the subjects, each once."""

    def family(self, stressor: Stressor) -> str:
        """That of the line which the stressor stands in."""
        return next((ladder.family for ladder in self.ladders if stressor in ladder.rungs), "")


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    suite: str
    suite_version: int
    scale: Scale
    samples: int | None
    seed: int
    tasks: tuple[TaskPlan, ...]


def make_plan(request: RunRequest) -> Plan:
    """Resolve a request.

    Raises:
        UsageError: anything in it that cannot be carried out; nothing has been written or computed then.
    """
    suite = find_suite(request.suite)
    settings = suite.settings(request.scale)
    custom = bool(request.stressors or request.epsilons)
    tasks = _distinct("task", (settings.tasks or suite.tasks) if request.tasks is None else request.tasks)
    every = settings.variants or suite.variants
    variants = _distinct("variant", every if request.variants is None else request.variants)
    if request.checkpoint is not None and len(variants) != 1:
        raise UsageError("--checkpoint holds the weights of one model; name exactly one --variant with it")
    return Plan(
        # Rows of a changed suite never take the place of the suite's own.
        suite=f"{suite.name}-custom" if custom else suite.name,
        suite_version=suite.version,
        scale=request.scale,
        samples=request.samples if request.samples is not None else settings.samples,
        seed=request.seed,
        tasks=tuple(_task(suite, name, variants, settings.size, request) for name in tasks),
    )


def _task(suite: Suite, name: str, variants: tuple[str, ...], size: str, request: RunRequest) -> TaskPlan:
    ladders = _ladders(suite, name, request)
    # Given weights are the subject's: a surrogate is trained.
    training = request.model_copy(update={"checkpoint": None})
    sources = dict.fromkeys(ladder.rungs[0].surrogate for ladder in ladders)
    return TaskPlan(
        find_task(name),
        tuple(_subject(variant, name, size, request) for variant in variants),
        ladders,
        tuple(_subject(source, name, size, training) for source in sources if source is not None),
    )


def _distinct(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise UsageError(f"a run needs at least one {kind}")
    return tuple(dict.fromkeys(names))


def _subject(name: str, task: str, size: str, request: RunRequest) -> SubjectPlan:
    recipe = find_recipe(request.recipe, task, request.scale)
    recipe_name = request.recipe
    checkpoint = None
    if request.checkpoint is not None:
        checkpoint, recipe_name = Path(request.checkpoint), "checkpoint"
        if not checkpoint.is_file():
            raise CheckpointError(f"checkpoint {checkpoint} does not exist")
    if is_external(name):
        # Given weights are put into the model as they are, so that it may have a new head until then.
        factory = load_factory(name, trained=recipe.epochs > 0 or checkpoint is not None)
        return SubjectPlan(name, factory, "", recipe_name, recipe, checkpoint)
    variant = VARIANTS.get(name)
    chosen = request.size or size
    variant.size(chosen)  # raises for an unknown size, before any work
    return SubjectPlan(name, variant, chosen, recipe_name, recipe, checkpoint)


def _ladders(suite: Suite, task: str, request: RunRequest) -> tuple[Ladder, ...]:
    lines = tuple(line for line in suite.stressors if _meant_for(line, task))
    if request.stressors:
        lines = tuple(SuiteStressor(use=signature) for signature in request.stressors)
    ladders = [_ladder(suite, line, task, request.epsilons) for line in lines]
    clean = Ladder((parse_stressor("clean"),))
    declared = [ladder for ladder in ladders if ladder.rungs == clean.rungs]
    return (*(declared or [clean])[:1], *(ladder for ladder in ladders if ladder.rungs != clean.rungs))


def _meant_for(line: SuiteStressor, task: str) -> bool:
    return not line.tasks or any(fnmatchcase(task, pattern) for pattern in line.tasks)


def _ladder(suite: Suite, line: SuiteStressor, task: str, epsilons: tuple[str, ...]) -> Ladder:
    name, _, numbers = line.use.partition(";")
    strengths = suite.strengths_for(line, task)
    axis = strength_axis(name)
    if axis is not None and epsilons:
        strengths = epsilons
    if strengths is None:
        return Ladder((parse_stressor(line.use),), line.family)
    if axis is None:
        raise UsageError(f"suite {suite.name!r} gives strengths to {name!r}, which has none")
    values: dict[Fraction, str] = {parse_exact(strength): strength for strength in strengths}
    rest = [part for part in numbers.split(";") if part and not part.startswith(f"{axis}=")]
    first = ";".join([name, f"{axis}={values[min(values)]}", *rest])
    stressor = parse_stressor(first)
    return Ladder(tuple(stressor.at(str(value)) for value in sorted(values)), line.family)
