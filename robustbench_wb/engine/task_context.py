"""Everything that the evaluations of one task share: its data, its samples and the identity of its cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.batch import BatchSizes
from robustbench_wb.engine.cost_forecast import FREE, SampleCost, subject_seconds, training_seconds
from robustbench_wb.engine.credibility.probe import Probe
from robustbench_wb.engine.credibility.probe_choice import choose_probe
from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.measure import LadderStep
from robustbench_wb.engine.plan import Ladder, SubjectPlan, TaskPlan
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.record_keeper import NoRecords, RecordKeeper, Span
from robustbench_wb.engine.search_precision import SearchPlan, headline_strengths, search_plan
from robustbench_wb.engine.shortcuts import is_evaluated, shortcut_plans
from robustbench_wb.engine.subject import Subject
from robustbench_wb.engine.surrogates import Surrogates
from robustbench_wb.engine.task_samples import TaskSamples, choose_samples
from robustbench_wb.engine.verdict import Outputs, recorded_outputs
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.progress import HiddenJobProgress, JobProgress, JobTrackingProgress
from robustbench_wb.records.record import (
    OUTPUTS_VERSION,
    PIXELS_VERSION,
    SAMPLES_VERSION,
    TEXTS_VERSION,
    Cell,
    Identity,
)
from robustbench_wb.spec import digest
from robustbench_wb.stats.sequential import sample_order
from robustbench_wb.stressors.fitted_stressor import FittedStressor
from robustbench_wb.stressors.model_free import ModelFreeStressor
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.tasks.task import Dataset

LOOKS: Final = 20
"""Looks at the samples of a cell that can be stopped: each adds a twentieth of them."""
ORDER_SEED: Final = 0
"""Seed of the random order of samples that are measured look by look; a sequential gate has the same one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskContext:
    """One task of a run, with everything that the evaluations of its models share."""

    run: PreparedRun
    task: TaskPlan
    dataset: Dataset
    samples: TaskSamples
    """The evaluated samples, as the task gives them."""
    samples_digest: str
    """Digest of the ids of the evaluated samples, in order."""
    subjects: tuple[SubjectPlan, ...]
    """Models to evaluate: those of the plan, and the shortcut baselines of the task."""
    surrogates: Surrogates
    batches: BatchSizes
    keeper: RecordKeeper
    costs: dict[str, SampleCost]
    """Forecast cost of each model, by name; a model that could not be timed is timed once it is built."""
    progress: JobTrackingProgress
    """Progress whose stages also advance the whole run."""
    in_looks: bool = False
    """Whether the samples are measured look by look, so that a cell can be stopped before its last sample."""
    taken: dict[str, tuple[ModelFreeStressor, str]] = field(default_factory=dict)
    """The perturbed samples that a model took last, see ``PerturbedCache.last``."""

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Rows of the samples in the order in which they are measured, (N,): by id, or at random if ``in_looks``."""
        ids = self.samples.ids
        return sample_order(ids.astype(np.int64), ORDER_SEED) if self.in_looks else np.arange(len(ids))

    @cached_property
    def looks(self) -> tuple[int, ...]:
        """Numbers of samples after which the cells of a model are looked at, ascending; the last is all samples."""
        count, parts = len(self.samples), LOOKS if self.in_looks else 1
        return tuple(sorted({ceil(count * part / parts) for part in range(1, parts + 1)}))

    def rows(self, span: Span) -> NDArray[np.int64]:
        """Rows of the samples in a range of ``order``, ascending."""
        return np.sort(self.order[slice(*span)])

    def ladders(self, plan: SubjectPlan) -> tuple[Ladder, ...]:
        """Ladders of a model: the clean cell, the probe if the model is attacked, and all others."""
        clean, *others = (ladder for ladder in self.task.ladders if is_evaluated(plan, ladder))
        probe = choose_probe([clean, *others])
        return (clean, *others) if probe is None else (clean, Ladder((probe,)), *others)

    def ladder(self, subject: int, place: int) -> Ladder:
        """A ladder of a model, by the indices of both, as a shard names them."""
        return self.ladders(self.subjects[subject])[place]

    def training_seconds(self, plan: SubjectPlan) -> float:
        """Forecast seconds of training a model."""
        return training_seconds(plan, self.dataset, self.cost(plan))

    def cost(self, plan: SubjectPlan) -> SampleCost:
        """Forecast seconds per sample of a model."""
        return self.costs.get(plan.name, FREE)

    def add_cost(self, plan: SubjectPlan, cost: SampleCost) -> None:
        """Take the cost of a model that was not timed before: the forecast of the whole run now counts its cells."""
        before = self._evaluation_seconds(plan)
        self.costs[plan.name] = cost
        self.progress.plan_less(before - self._evaluation_seconds(plan))

    def _evaluation_seconds(self, plan: SubjectPlan) -> float:
        """Forecast seconds of all cells of a model that is trained, and of the trainings that they need."""
        ladders = tuple(ladder for ladder in self.ladders(plan) if not is_probe(ladder))
        samples, cost = len(self.samples), self.cost(plan)
        whole = subject_seconds(plan, ladders, self.dataset, samples=samples, cost=cost)
        return whole - self.training_seconds(plan)

    def steps(self, subject: Subject, ladder: Ladder) -> list[LadderStep]:
        """Steps of a ladder, in the order in which they are measured: all rungs at once, or one rung after the other.

        Raises:
            MeasurementError: the surrogate of the ladder cannot be built or trained.
        """
        names = tuple(stressor.strength for stressor in ladder.rungs)
        if ladder.rungs[0].sweeps and len(names) > 1:
            search = self._search(ladder.rungs)
            identities = tuple(self._identity(subject, rung, ladder=names, search=search) for rung in ladder.rungs)
            outputs = self._outputs(ladder.rungs[0])
            return [LadderStep(rungs=ladder.rungs, identities=identities, search=search, outputs=outputs)]
        adversarial = ladder.rungs[0].adversarial()
        lower = [names[:level] if adversarial else () for level in range(len(names))]
        alone = [(rung, done, self._search((rung,))) for rung, done in zip(ladder.rungs, lower, strict=True)]
        return [
            LadderStep(
                rungs=(rung,),
                identities=(self._identity(subject, rung, ladder=done, search=search),),
                search=search,
                outputs=self._outputs(rung),
            )
            for rung, done, search in alone
        ]

    def _outputs(self, stressor: Stressor) -> Outputs:
        return recorded_outputs(stressor, self.dataset.shape, calibration=self.run.plan.calibration)

    def _search(self, rungs: tuple[Stressor, ...]) -> SearchPlan:
        precision = self.run.request.search_precision
        scored = self.dataset.shape.causal or isinstance(self.dataset.shape, SegmentationShape)
        return search_plan(precision, rungs, self._headline, causal=scored)

    @cached_property
    def _headline(self) -> Mapping[str, str]:
        return headline_strengths(rung for ladder in self.task.ladders for rung in ladder.rungs)

    def keys(self, subject: Subject, ladders: Sequence[Ladder]) -> list[str]:
        """Keys of the records of a model under some ladders; ladders without a surrogate have none."""
        usable = [ladder for ladder in ladders if not self.surrogates.lacking(ladder)]
        steps = [step for ladder in usable for step in self.steps(subject, ladder)]
        return [identity.key for step in steps for identity in step.identities]

    def _identity(
        self, subject: Subject, stressor: Stressor, *, ladder: tuple[str, ...], search: SearchPlan
    ) -> Identity:
        return Identity(
            signature=stressor.signature,
            ladder=ladder,
            stressor_code=self._code(stressor),
            data=self.dataset.digest,
            samples=self.samples_digest,
            weights=subject.card.weights,
            model_code=subject.model_code,
            numerics=numerics(self.run.device, deterministic=self.run.request.deterministic) + search.numerics,
            seed=self.run.plan.seed,
            schema_version=self._record_version(stressor),
        )

    def _record_version(self, stressor: Stressor) -> int:
        if isinstance(self.dataset.shape, SegmentationShape):
            return PIXELS_VERSION
        outputs = self._outputs(stressor)
        if outputs == "text_measures":
            return TEXTS_VERSION
        return OUTPUTS_VERSION if outputs else SAMPLES_VERSION

    @cached_property
    def _train_digest(self) -> str:
        return self.dataset.train.digest() if len(self.dataset.train) else ""

    def _code(self, stressor: Stressor) -> str:
        """Digest of everything that makes a stressor; some take words or samples from the training split."""
        code = self.surrogates.code(stressor)
        if isinstance(stressor, FittedStressor):
            return f"{code}+{self._train_digest}"
        return f"{code}+{self.dataset.digest_with_lexicon}" if stressor.modality == "text" else code

    def cell(self, plan: SubjectPlan, stressor: Stressor) -> Cell:
        """Names of the evaluation of a model under a stressor."""
        shape, whole = self.dataset.shape, self.run.plan
        return Cell(
            suite=whole.suite,
            suite_version=whole.suite_version,
            scale=whole.scale,
            task=self.dataset.label,
            variant=plan.name,
            size=plan.size,
            recipe=plan.recipe_name,
            stressor=stressor.label,
            strength=stressor.strength,
            seed=whole.seed,
            metric="perplexity" if shape.causal else "accuracy",
            protocol=stressor.protocol,
            classes=shape.classes,
            side=min(shape.height, shape.width) if isinstance(shape, ImageShape) else 0,
            family=self.task.family(stressor),
            least_iou=float(shape.least_iou) if isinstance(shape, SegmentationShape) else None,
        )


def is_probe(ladder: Ladder) -> bool:
    """Whether a ladder is a probe: its record grades the attacks on a model, and has no row in the table."""
    return isinstance(ladder.rungs[0], Probe)


def task_contexts(
    run: PreparedRun,
    *,
    keeper: RecordKeeper | None = None,
    costs: Sequence[dict[str, SampleCost]] = (),
    whole: JobProgress | None = None,
    sharers: int = 1,
    in_looks: bool = False,
) -> Iterator[TaskContext]:
    """Yield the context of each task of a run, in order.

    Args:
        run: the prepared request.
        keeper: where records are; None: there are none, and none are kept.
        costs: forecast cost of each model by name, for each task; empty: unknown.
        whole: told how much of the planned work is done; None: nobody is told.
        sharers: processes that share the memory of the device.
        in_looks: whether the samples are measured look by look.
    """
    progress = JobTrackingProgress(run.progress, whole or HiddenJobProgress())
    for number, (task, dataset) in enumerate(zip(run.plan.tasks, run.datasets, strict=True)):
        samples = choose_samples(dataset, run.plan.samples, balanced=run.plan.balanced)
        yield TaskContext(
            run=run,
            task=task,
            dataset=dataset,
            samples=samples,
            samples_digest=digest(samples.ids.tolist()),
            subjects=(*task.subjects, *shortcut_plans(dataset)),
            surrogates=_surrogates(run, task, dataset=dataset, progress=progress),
            batches=BatchSizes(run.request.batch, run.device, sharers=sharers),
            keeper=keeper or NoRecords(),
            costs=costs[number] if costs else {},
            progress=progress,
            in_looks=in_looks,
        )


def _surrogates(run: PreparedRun, task: TaskPlan, *, dataset: Dataset, progress: JobTrackingProgress) -> Surrogates:
    return Surrogates(task.surrogates, lambda plan: run.obtain(plan, dataset, progress))
