"""One model under evaluation: its weights, the samples in the form that it takes, and its stored records."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from robustbench_wb.engine.plan import Ladder, SubjectPlan
from robustbench_wb.engine.record_keeper import Span
from robustbench_wb.engine.subject import Subject
from robustbench_wb.engine.task_context import TaskContext
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples, choose_samples
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.records.record import Record
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.stressors.training_contamination import TrainingContamination
from robustbench_wb.user_code import UserCode


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelSession:
    """One model on one task, ready to be measured."""

    context: TaskContext
    plan: SubjectPlan
    subject: Subject
    samples: TaskSamples
    """The evaluated samples, with the token ids of the model's own tokenizer if it has one."""
    known: Mapping[str, Record]
    """Stored records of the model, by key."""

    def access(self, stressor: Stressor) -> MeasuredModel:
        """The model with the surrogate that a stressor needs, and a batch that suits both.

        Raises:
            MeasurementError: the surrogate cannot be built or trained.
        """
        with UserCode(self.plan.name).running(libraries=False):  # the batch size takes forward passes
            return self._access(stressor)

    def _access(self, stressor: Stressor) -> MeasuredModel:
        device, batches = self.context.run.device, self.context.batches
        batch = batches.of(self.subject.model, self.samples.inputs)
        surrogate = self.context.surrogates.of(stressor)
        return MeasuredModel(
            model=self.subject.model,
            batch=batch if surrogate is None else batch.beside(batches.of(surrogate.model, self.samples.inputs)),
            device=device,
            surrogate=None if surrogate is None else surrogate.model,
            deterministic=self.context.run.request.deterministic,
        )

    @property
    def is_random(self) -> bool:
        """Whether the answers of the model are random, so that an answer depends on what was asked before.

        Raises:
            MeasurementError: the model cannot be built, or fails.
        """
        with as_measurement_error(self.plan.name), UserCode(self.plan.name).running(libraries=False):
            return self.context.batches.draws(self.subject.model, self.samples.inputs) > 1

    @property
    def has_layers(self) -> bool:
        """Whether the model is a transformer of this harness, whose layers can be measured.

        Raises:
            MeasurementError: the model cannot be built.
        """
        with as_measurement_error("layers"):
            return isinstance(self.subject.model, Transformer)

    def with_known(self, ladders: tuple[Ladder, ...]) -> "ModelSession":
        """Look up the stored records of the model under some ladders, in one scan of the store."""
        found = self.context.keeper.find(self.context.keys(self.subject, ladders))
        return replace(self, known={**self.known, **found})

    def on_samples(self, span: Span) -> "ModelSession":
        """Session of the same model on some of the samples, whose cells are parts: no record of them is known."""
        with suppress(MeasurementError):  # its cells say so
            _ = self.is_random  # decided by the same samples, whoever measures
        return replace(self, samples=self.samples.select(self.context.rows(span)), known={})

    def retrained(self, stressor: TrainingContamination) -> "ModelSession":
        """Session of a model of the same plan that is trained on the training split which a stressor contaminates.

        Raises:
            MeasurementError: it cannot be built or trained, or the stressor cannot contaminate the task.
        """
        context = self.context
        with as_measurement_error(stressor.name), context.progress.planned_work(context.training_seconds(self.plan)):
            subject = context.run.retrain(self.plan, context.dataset, stressor=stressor, progress=context.progress)
        return replace(self, subject=subject).with_known((Ladder((stressor,)),))


def open_session(context: TaskContext, plan: SubjectPlan) -> ModelSession:
    """Train a model, or find it in the cache; look up no records yet.

    Raises:
        MeasurementError: the model cannot be built or trained.
    """
    work = context.progress.planned_work(context.training_seconds(plan))
    with as_measurement_error(plan.name), UserCode(plan.name).running(), work:
        subject = context.surrogates.subject(plan)
    samples = context.samples
    if subject.dataset is not context.dataset:
        asked = context.run.plan
        samples = choose_samples(subject.dataset, asked.samples, balanced=asked.balanced)
    return ModelSession(context=context, plan=plan, subject=subject, samples=samples, known={})
