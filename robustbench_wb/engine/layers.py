"""The layers of one subject, on clean inputs and under stressors."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.engine.batch import BatchSize, batch_for
from robustbench_wb.engine.layer_observer import LAYER_BATCH, refuse_vectors
from robustbench_wb.engine.measure import TaskSamples, jobs
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.sample_choice import choose_samples
from robustbench_wb.engine.surrogates import Surrogates
from robustbench_wb.errors import UsageError, as_measurement_error
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.measure_layers import measure_layers
from robustbench_wb.layers.table import LayerTable, join_tables
from robustbench_wb.models.backbone import Transformer
from robustbench_wb.models.external import Factory
from robustbench_wb.progress import Advance
from robustbench_wb.stressors.clean import Clean
from robustbench_wb.stressors.stressor import SampleBatch, Stressor, predict

_NO_LAYERS = "has no layers that the harness could look into; name a registered variant"


@dataclass(frozen=True, eq=False)
class StressedLayers(LayerPair):
    """The layers under one stressor, beside those of the same samples when clean."""

    signature: str


@dataclass(frozen=True, eq=False)
class SubjectLayers:
    """The layers of a subject on the evaluated samples of a task."""

    task: str
    variant: str
    size: str
    recipe: str
    seed: int
    clean: LayerTable
    stressed: tuple[StressedLayers, ...]
    """One per stressor of the request. An attack is given the samples that are right when clean, and no others."""


def subject_layers(job: PreparedRun) -> SubjectLayers:
    """Train the one subject of a request, or find it; measure its layers clean and under every stressor.

    Raises:
        UsageError: the subject is not a transformer of this harness.
        MeasurementError: it cannot be had, or a stressor or the model failed.
    """
    ((task, dataset),) = zip(job.plan.tasks, job.datasets, strict=True)
    (plan,) = task.subjects
    if isinstance(plan.source, Factory):
        raise UsageError(f"{plan.name} {_NO_LAYERS}")
    with as_measurement_error(plan.name):
        subject = job.obtain(plan, dataset)
        model = subject.model
    if not isinstance(model, Transformer):
        raise UsageError(f"{plan.name} {_NO_LAYERS}")
    surrogates = Surrogates(task.surrogates, lambda source: job.obtain(source, dataset))
    bench = _Bench(job, model, choose_samples(subject.dataset, job.plan.samples), surrogates)
    stressors = [stressor for ladder in task.ladders[1:] for stressor in ladder.rungs]
    everyone = np.arange(len(bench.samples))
    clean = bench.table(Clean(), everyone)
    right = bench.right() if any(stressor.adversarial() for stressor in stressors) else everyone
    found = []
    for stressor in stressors:
        table = bench.table(stressor, right if stressor.adversarial() else everyone)
        found.append(StressedLayers(clean.select(table.ids), table, stressor.signature))
    return SubjectLayers(dataset.label, plan.name, plan.size, plan.recipe_name, job.plan.seed, clean, tuple(found))


@dataclass(frozen=True, eq=False)
class _Bench:
    """One subject and the samples it is measured on."""

    job: PreparedRun
    model: Transformer
    samples: TaskSamples
    surrogates: Surrogates

    @cached_property
    def batch(self) -> BatchSize:
        """How the subject is asked."""
        return batch_for(self.job.request.batch, self.model, self.samples.inputs, self.job.device)

    def right(self) -> NDArray[np.int64]:
        """Rows of the samples that an attack is given: those right when clean, or all where there is no right or wrong.

        Raises:
            UsageError: there are none, so an attack has nothing to try.
        """
        if self.samples.language:
            return np.arange(len(self.samples))
        correct = []
        with as_measurement_error("clean"):
            for shard in self._shards(np.arange(len(self.samples))):
                correct += (predict(self.model, shard.inputs, shard.batch).argmax(1) == shard.labels).tolist()
        if not any(correct):
            raise UsageError("no sample is classified correctly when clean, so an attack has nothing to try")
        return np.flatnonzero(correct)

    def table(self, stressor: Stressor, rows: NDArray[np.int64]) -> LayerTable:
        """The layers of some samples under a stressor."""
        parts, surrogate = [], self.surrogates.model(stressor)
        # Each sample is perturbed, then measured.
        with self.job.progress.stage(f"layers {stressor.signature}", 2 * len(rows), "steps") as advance:
            for shard in self._shards(rows, advance):
                with as_measurement_error(stressor.signature):
                    stressed = stressor.apply(replace(shard, surrogate=surrogate))
                    stressor.verify(shard, stressed)
                    refuse_vectors(stressed)
                    some, batch = stressed.inputs, min(shard.batch, LAYER_BATCH)
                    parts.append(
                        measure_layers(self.model, some, shard.ids, seed=shard.seed, batch=batch, advance=advance)
                    )
        return join_tables(parts)

    def _shards(self, rows: NDArray[np.int64], advance: Advance = lambda count: None) -> Iterator[SampleBatch]:
        """Some samples, in jobs that fit into memory."""
        device = self.job.device
        for _, shard in jobs(self.model, self.samples, rows, self.job.plan.seed, device, self.batch, advance):
            yield shard
