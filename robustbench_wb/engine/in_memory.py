"""Measuring a model that is in memory on samples that are in memory: without a plan, a store or a file."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robustbench_wb.engine.batch import FEW, BatchSize
from robustbench_wb.engine.credibility.grade import GradedCell, grade_cell
from robustbench_wb.engine.credibility.probe_choice import choose_probe
from robustbench_wb.engine.credibility.written_input import with_written_input
from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.device_errors import refuse_lost_device, watching_device
from robustbench_wb.engine.measure import BatchObserver, LadderStep, measure
from robustbench_wb.engine.plan import Ladder
from robustbench_wb.engine.request import SearchPrecision
from robustbench_wb.engine.search_precision import SearchPlan, headline_strengths, search_plan
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples, refuse_small_images
from robustbench_wb.engine.verdict import recorded_outputs
from robustbench_wb.errors import MeasurementError, as_measurement_error
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.shape import ImageShape
from robustbench_wb.progress import Progress
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.record import Identity, Record, State
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor


class PerturbedInputs:
    """Perturbed samples of one evaluation, in the order of the given ones; a sample that was not tried stays clean."""

    def __init__(self, samples: TaskSamples, images: bool) -> None:
        """``images``: whether perturbed images are kept. Perturbed texts always are."""
        wanted = images and isinstance(samples.shape, ImageShape)
        self.images: NDArray[np.float32] | None = to_inputs(samples.inputs, "cpu").numpy() if wanted else None
        """float32 (N, C, H, W) in [0, 1]."""
        self.texts: list[str] | None = (
            list(samples.text.texts) if samples.text is not None and samples.text.texts else None
        )

    def __call__(self, batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> float:
        """Keep one batch; return the seconds that it took. Sample ids are row numbers."""
        started = time.perf_counter()
        rows = batch.ids.cpu().numpy()
        if self.images is not None:
            self.images[rows] = perturbed.inputs.detach().float().cpu().numpy()
        if self.texts is not None and perturbed.texts is not None:
            for row, text in zip(rows.tolist(), perturbed.texts, strict=True):
                self.texts[row] = text
        return time.perf_counter() - started


@dataclass(frozen=True, eq=False, kw_only=True)
class InMemoryCell:
    """Outcome of one stressor on a model in memory."""

    stressor: Stressor
    identity: Identity
    """Signature, seed and numerics; its digests are empty, because nothing is stored."""
    record: Record | None
    """Outcome of every sample; missing if the evaluation failed as a whole."""
    error: str
    """One line; empty if all samples were judged."""
    perturbed: PerturbedInputs
    credibility: Credibility | None = None
    """Grade of an attack or of its control; None for other stressors."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InMemoryModel:
    """A model in evaluation mode with frozen parameters, the samples it is measured on, and how."""

    model: nn.Module
    samples: TaskSamples
    """Sample ids are row numbers."""
    seed: int
    device: torch.device
    batch: BatchSize
    progress: Progress
    stressors: Sequence[Stressor]
    """What is measured; the first is ``clean``."""
    search_precision: SearchPrecision = "float32"
    keep_images: bool = False
    calibration: bool = False
    """Whether records keep what calibration error and Brier score follow from."""

    def cells(self) -> list[InMemoryCell]:
        """Measure the stressors, each alone on the samples.

        A stressor that fails becomes a cell with an error. Without a clean record all others fail.
        """
        first, *others = self.stressors
        cells = [self._cell(first, None)]
        clean = cells[0].record
        for stressor in others:
            if clean is None:
                cells.append(self._failed(stressor, f"the clean evaluation failed: {cells[0].error}"))
            else:
                cells.append(self._cell(stressor, clean.states))
        evidence = {} if clean is None else self._probe_evidence(clean.states)
        graded = [GradedCell(cell.stressor, cell.record) for cell in cells if cell.record and cell.stressor.kind]
        credibility = {row.stressor.signature: grade_cell(row, graded, evidence) for row in graded}
        return [replace(cell, credibility=credibility.get(cell.stressor.signature)) for cell in cells]

    def _cell(self, stressor: Stressor, before: NDArray[np.int8] | None) -> InMemoryCell:
        kept = PerturbedInputs(self.samples, self.keep_images)
        try:
            record = self._measure(stressor, before, kept)
        except MeasurementError as error:
            return self._failed(stressor, str(error))
        errored = record.count(State.ERRORED)
        problem = f"{errored} of {len(self.samples)} samples have logits or gradients that are not finite"
        return InMemoryCell(
            stressor=stressor,
            identity=record.identity,
            record=record,
            error=problem if errored else "",
            perturbed=kept,
        )

    def _failed(self, stressor: Stressor, error: str) -> InMemoryCell:
        kept = PerturbedInputs(self.samples, self.keep_images)
        return InMemoryCell(
            stressor=stressor, identity=self._identity(stressor), record=None, error=error, perturbed=kept
        )

    def _probe_evidence(self, before: NDArray[np.int8]) -> Mapping[str, float]:
        """Evidence on whether the model blinds attacks; empty if no attack is graded or the probe fails."""
        probe = choose_probe([Ladder((stressor,)) for stressor in self.stressors])
        if probe is None:
            return {}
        before = before.copy()
        before[np.flatnonzero(before == State.ROBUST)[probe.looked_at :]] = State.NOT_RUN
        try:
            evidence = self._measure(probe, before, None).evidence
            with as_measurement_error("model"):
                return with_written_input(evidence, self.model, to_inputs(self.samples.inputs[:FEW], self.device))
        except MeasurementError:
            return {}

    def _measure(self, stressor: Stressor, before: NDArray[np.int8] | None, observer: BatchObserver | None) -> Record:
        """Measure one stressor with the code that measures a cell of a run.

        Raises:
            MeasurementError: the stressor or the model failed.
        """
        refuse_small_images(self.samples, stressor.name)
        refuse_lost_device(self.device)
        stage = self.progress.stage(stressor.label, len(self.samples), "samples")
        with watching_device(self.device, stressor.signature), as_measurement_error(stressor.name), stage as advance:
            (record,) = measure(
                LadderStep(
                    rungs=(stressor,),
                    identities=(self._identity(stressor),),
                    search=self._search_plan(stressor),
                    outputs=recorded_outputs(stressor, self.samples.shape, calibration=self.calibration),
                ),
                MeasuredModel(model=self.model, batch=self.batch, device=self.device),
                self.samples,
                before=before,
                advance=advance,
                observers=() if observer is None else (observer,),
            )
        return record

    def _search_plan(self, stressor: Stressor) -> SearchPlan:
        headline = headline_strengths(self.stressors)
        return search_plan(self.search_precision, (stressor,), headline, causal=False)

    def _identity(self, stressor: Stressor) -> Identity:
        return Identity(
            signature=stressor.signature,
            ladder=(),
            stressor_code="",
            data="",
            samples="",
            weights="",
            model_code="",
            numerics=numerics(self.device) + self._search_plan(stressor).numerics,
            seed=self.seed,
        )
