"""Layer statistics of one model, on clean and on perturbed inputs."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from robustbench_wb.engine.batch import BatchSize, BatchSizes
from robustbench_wb.engine.layer_observer import LAYER_BATCH, refuse_vectors
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.surrogates import Surrogates
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples, choose_samples, sample_batches
from robustbench_wb.errors import UsageError, as_measurement_error
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.measure_layers import measure_layers
from robustbench_wb.layers.table import LayerTable, join_tables
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.external import Factory
from robustbench_wb.stressors.clean import Clean
from robustbench_wb.stressors.model_access import predict
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.stressor import Stressor

_NO_LAYERS = "has no layers that the harness could look into; name a registered variant"


@dataclass(frozen=True, eq=False, kw_only=True)
class StressedLayers(LayerPair):
    """Layers under one stressor, with those of the same samples when clean."""

    signature: str
    """Printed form of the stressor."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SubjectLayers:
    """Layers of a model on the evaluated samples of a task."""

    task: str
    variant: str
    size: str
    recipe: str
    seed: int
    clean: LayerTable
    stressed: tuple[StressedLayers, ...]
    """One per stressor of the request. An attack is given only the samples that are right when clean."""


def subject_layers(run: PreparedRun) -> SubjectLayers:
    """Train the one model of a request, or find it; measure its layers clean and under every stressor.

    Raises:
        UsageError: the model is not a transformer of this harness.
        MeasurementError: it cannot be built or trained, or a stressor or the model failed.
    """
    ((task, dataset),) = zip(run.plan.tasks, run.datasets, strict=True)
    (plan,) = task.subjects
    if isinstance(plan.source, Factory):
        raise UsageError(f"{plan.name} {_NO_LAYERS}")
    with as_measurement_error(plan.name):
        subject = run.obtain(plan, dataset)
        model = subject.model
    if not isinstance(model, Transformer):
        raise UsageError(f"{plan.name} {_NO_LAYERS}")
    measurer = _LayerMeasurer(
        run=run,
        model=model,
        samples=choose_samples(subject.dataset, run.plan.samples, balanced=run.plan.balanced),
        surrogates=Surrogates(task.surrogates, lambda source: run.obtain(source, dataset)),
    )
    stressors = [stressor for ladder in task.ladders[1:] for stressor in ladder.rungs]
    everyone = np.arange(len(measurer.samples))
    clean = measurer.table(Clean(), everyone)
    right = measurer.right() if any(stressor.adversarial() for stressor in stressors) else everyone
    found = []
    for stressor in stressors:
        table = measurer.table(stressor, right if stressor.adversarial() else everyone)
        found.append(StressedLayers(clean=clean.select(table.ids), stressed=table, signature=stressor.signature))
    return SubjectLayers(
        task=dataset.label,
        variant=plan.name,
        size=plan.size,
        recipe=plan.recipe_name,
        seed=run.plan.seed,
        clean=clean,
        stressed=tuple(found),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _LayerMeasurer:
    """One model and the samples on which its layers are measured."""

    run: PreparedRun
    model: Transformer
    samples: TaskSamples
    surrogates: Surrogates

    @cached_property
    def batch(self) -> BatchSize:
        """Batch size of the model."""
        return BatchSizes(self.run.request.batch, self.run.device).of(self.model, self.samples.inputs)

    def right(self) -> NDArray[np.int64]:
        """Rows of the samples that an attack is given: those right when clean, or all in language modelling.

        Raises:
            UsageError: there are none, so an attack has nothing to try.
        """
        if self.samples.language:
            return np.arange(len(self.samples))
        correct = []
        with as_measurement_error("clean"):
            for batch in self._batches(self._measured(), np.arange(len(self.samples))):
                correct += (predict(self.model, batch.inputs, self.batch.size).argmax(1) == batch.labels).tolist()
        if not any(correct):
            raise UsageError("no sample is classified correctly when clean, so an attack has nothing to try")
        return np.flatnonzero(correct)

    def table(self, stressor: Stressor, rows: NDArray[np.int64]) -> LayerTable:
        """Layers of some samples under a stressor."""
        parts, surrogate = [], self.surrogates.of(stressor)
        measured = self._measured(None if surrogate is None else surrogate.model)
        # Each sample is perturbed, then measured.
        with self.run.progress.stage(f"layers {stressor.signature}", 2 * len(rows), "steps") as advance:
            access, size = measured.access(advance), min(self.batch.size, LAYER_BATCH)
            for batch in self._batches(measured, rows):
                with as_measurement_error(stressor.signature):
                    perturbed = stressor.apply(batch, access)
                    stressor.verify(batch, perturbed, access)
                    refuse_vectors(perturbed)
                    parts.append(
                        measure_layers(
                            self.model, perturbed.inputs, batch.ids, seed=batch.seed, batch=size, advance=advance
                        )
                    )
        return join_tables(parts)

    def _measured(self, surrogate: nn.Module | None = None) -> MeasuredModel:
        return MeasuredModel(model=self.model, batch=self.batch, device=self.run.device, surrogate=surrogate)

    def _batches(self, measured: MeasuredModel, rows: NDArray[np.int64]) -> Iterator[SampleBatch]:
        """Some samples, in batches that fit into memory."""
        for _, batch in sample_batches(measured, self.samples, rows, seed=self.run.plan.seed):
            yield batch
