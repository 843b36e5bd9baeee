"""Measurement of a cell: perturb, check the threat model, and classify every sample in an independent second pass."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.engine.batch import FEW, BatchSize
from robustbench_wb.engine.fitting import fit_to_training
from robustbench_wb.engine.foreign_stressor import lent, model_put_back
from robustbench_wb.engine.search_precision import SearchPlan, search_twice
from robustbench_wb.engine.steady_weights import steady_weights
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples, sample_batches
from robustbench_wb.engine.torch_state import arithmetic, seeded_generators
from robustbench_wb.engine.verdict import (
    Outputs,
    Verdict,
    calibration_outputs,
    judge_out_of_distribution,
    judge_pixels,
    with_measures,
)
from robustbench_wb.errors import as_measurement_error
from robustbench_wb.models.batching import batches
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.progress import Advance
from robustbench_wb.records.record import COUNTED, Identity, Record, State
from robustbench_wb.stressors.attacks.pixel_attack import PixelAttack
from robustbench_wb.stressors.attacks.torchattacks import TorchAttack
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Stressor
from robustbench_wb.training.language_loss import next_token_losses
from robustbench_wb.user_code import UserCode

MOVED: Final = 1e-5
"""Largest difference of a logit between two passes of a model that computes in float32, as a share of the largest
absolute logit of the batch. Batchings of this package's variants differ by less than a tenth of it."""
ROUNDING: Final = 100 * MOVED
"""Share of the largest absolute logit of a batch up to which two logits of a sample are taken for equally large."""

BatchObserver = Callable[[SampleBatch, PerturbedBatch, ModelAccess], float]
"""Called with each batch that a cell perturbs; returns the seconds that it took, which are not the cell's."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LadderStep:
    """Cells of a ladder that are measured together: all rungs of a stressor that sweeps, else one rung."""

    rungs: tuple[Stressor, ...]
    """Strengths, ascending."""
    identities: tuple[Identity, ...]
    """Identity of the cell of each rung."""
    search: SearchPlan = field(default_factory=SearchPlan)
    """Precision in which it is searched."""
    outputs: Outputs = ""
    """Outputs of the model that the records keep, see ``recorded_outputs``."""


class _Tally:
    """Arrays of a cell, filled batch by batch."""

    def __init__(
        self, identity: Identity, samples: TaskSamples, before: NDArray[np.int8] | None, *, outputs: Outputs
    ) -> None:
        count = len(samples)
        self.identity, self.samples = identity, samples
        self.states = np.full(count, State.NOT_RUN, np.int8) if before is None else before.copy()
        was_wrong = np.ones(count, np.bool_) if before is None else before == State.WRONG
        self.failed = np.where(was_wrong, State.WRONG, State.BROKEN)
        self.losses = np.full(count, np.nan, np.float32)
        self.forwards, self.backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self.optional: dict[str, Any] = {}
        if isinstance(samples.shape, SegmentationShape):
            self.optional["pixels"] = np.zeros((count, samples.shape.classes, COUNTED), np.int32)
        if outputs:
            self.optional[outputs] = np.full((count, 2), np.nan, np.float32)
        self.wobble, self.looked = 0, 0.0
        self.evidence: Counter[str] = Counter()

    def inherit(self, lower: "_Tally", rows: NDArray[np.int64], perturbed: PerturbedBatch) -> None:
        """Copy the outcome of rows that a lower strength broke: the same inputs break them here. Costs are counted."""
        self.states[rows], self.losses[rows] = lower.states[rows], lower.losses[rows]
        for name, array in self.optional.items():
            array[rows] = lower.optional[name][rows]
        self.forwards[rows], self.backwards[rows] = perturbed.forwards, perturbed.backwards

    def add(self, rows: NDArray[np.int64], perturbed: PerturbedBatch, verdict: "Verdict") -> None:
        """Enter the outcome of some rows."""
        judged = State.SCORED if self.samples.language else np.where(verdict.correct, State.ROBUST, self.failed[rows])
        self.states[rows] = np.where(verdict.finite, judged, State.ERRORED)
        self.losses[rows] = verdict.losses
        for name, array in self.optional.items():
            array[rows] = verdict.optional[name]
        self.forwards[rows] = perturbed.forwards + verdict.passes
        self.backwards[rows] = perturbed.backwards
        self.wobble += verdict.wobble
        self.evidence.update(verdict.evidence)

    def record(self, seconds: float) -> Record:
        """The finished record."""
        return Record(
            identity=self.identity,
            ids=self.samples.ids,
            states=self.states,
            losses=self.losses,
            forwards=self.forwards,
            backwards=self.backwards,
            wobble=self.wobble,
            seconds=seconds,
            evidence=dict(self.evidence),
            **self.optional,
        )


def measure(
    step: LadderStep,
    model: MeasuredModel,
    samples: TaskSamples,
    *,
    before: NDArray[np.int8] | None,
    advance: Advance,
    observers: Sequence[BatchObserver] = (),
) -> list[Record]:
    """Measure the cells of a step on some samples.

    Args:
        step: stressor at one strength, or at all strengths that it answers at once.
        model: the model and its batch size.
        samples: samples to evaluate, (N,).
        before: state of every sample when the first cell begins, int8 (N,). Only samples still ``ROBUST`` (or
            ``SCORED``) are tried, and, by a stressor that is not adversarial, ``WRONG`` ones too; all others keep their
            state. None for the clean cell, where every sample is judged and an error is ``WRONG``.
        advance: called with the number of samples that are finished.
        observers: one per rung, or none; see ``BatchObserver``.

    Returns:
        One record per rung. The time of a search is shared out among its cells by the passes that each has spent.

    Raises:
        MeasurementError: the stressor or the model failed, a perturbed input broke the threat model, or the model
            changed its weights.
    """
    signature, seed = step.rungs[0].signature, step.identities[0].seed
    # The answers of a random model depend on the cell, and not on what ran before it.
    seeded = seeded_generators(rng.stream_key(seed, f"cell {signature}"), model.device)
    settings = arithmetic(model.device, deterministic=model.deterministic, refuses=True)
    with UserCode(signature).running(libraries=False), settings, seeded, steady_weights(model.model):
        return _measure(step, model, samples, before=before, advance=advance, observers=observers)


def _measure(
    step: LadderStep,
    model: MeasuredModel,
    samples: TaskSamples,
    *,
    before: NDArray[np.int8] | None,
    advance: Advance,
    observers: Sequence[BatchObserver],
) -> list[Record]:
    started = time.perf_counter()
    seed = step.identities[0].seed
    with as_measurement_error(step.rungs[0].signature):
        rungs = tuple(fit_to_training(rung, samples.train, model, seed=seed) for rung in step.rungs)
    step = replace(step, rungs=rungs)
    count = len(samples)
    alive = np.arange(count) if before is None else np.flatnonzero(np.isin(before, tried_states(rungs[0])))
    tallies = [_Tally(identity, samples, before, outputs=step.outputs) for identity in step.identities]
    advance(count - len(alive))
    group = samples_together(rungs[0])
    for rows, batch in sample_batches(model, samples, alive, seed=seed, rungs=len(rungs), group=group):
        access = model.access(advance)
        with as_measurement_error(rungs[0].signature):
            found = _searched(step, batch, size=model.batch, access=access)
            for level, (stressor, perturbed) in enumerate(zip(rungs, found, strict=True)):
                still = np.ones(len(rows), np.bool_)
                if level:
                    still = np.isin(tallies[level - 1].states[rows], (*tried_states(stressor), State.ERRORED))
                    tallies[level].inherit(tallies[level - 1], rows[~still], perturbed.select(~still))
                part, tried = batch.select(still), perturbed.select(still)
                tallies[level].evidence.update(tried.evidence)
                if not len(part.ids):  # a lower strength has broken them all: there is nothing to ask the model
                    continue
                stressor.verify(lent(stressor, part), tried, access)
                judge = partial(_verdict, part, tried, stressor=stressor, outputs=step.outputs)
                verdict = model.batch.fit(access, judge)
                tallies[level].add(rows[still], tried, verdict)
                if observers:
                    tallies[level].looked += observers[level](part, tried, access)
    seconds = time.perf_counter() - started - sum(tally.looked for tally in tallies)
    passes = [1 + int(tally.forwards.sum()) + int(tally.backwards.sum()) for tally in tallies]
    return [tally.record(seconds * spent / sum(passes)) for tally, spent in zip(tallies, passes, strict=True)]


def samples_together(stressor: Stressor) -> int:
    """Samples that a stressor perturbs together, so that their results depend on each other."""
    return stressor.batch if isinstance(stressor, TorchAttack) else 1


def tried_states(stressor: Stressor) -> tuple[State, ...]:
    """States of the samples that a stressor tries: an adversarial one has nothing to do where there is an error.

    Attacks on all pixels try every image at every strength, because mIoU counts all images.
    """
    tried = (State.ROBUST, State.SCORED)
    if isinstance(stressor, PixelAttack):
        return (*tried, State.WRONG, State.BROKEN)
    return tried if stressor.adversarial() else (*tried, State.WRONG)


def _searched(step: LadderStep, batch: SampleBatch, *, size: BatchSize, access: ModelAccess) -> list[PerturbedBatch]:
    """Perturb the samples at all rungs; an attack may search in less precision first, see ``search_twice``."""

    def search(some: SampleBatch, own: ModelAccess) -> list[PerturbedBatch]:
        return size.fit(own, partial(_perturb, step.rungs, some))

    def ask(some: SampleBatch, tried: PerturbedBatch) -> NDArray[np.bool_]:
        logits = size.fit(access, lambda own: _logits(own, tried.inputs, tried.vectors))
        return _wrong(logits, some.labels).cpu().numpy()

    if step.search.precision == "float32":
        return search(batch, access)
    return search_twice(step.search, step.rungs, batch, access=access, search=search, ask=ask)


def _perturb(rungs: Sequence[Stressor], batch: SampleBatch, access: ModelAccess) -> list[PerturbedBatch]:
    first = rungs[0]
    batch = lent(first, batch)
    with model_put_back(first, access.model):
        return [first.apply(batch, access)] if len(rungs) == 1 else first.sweep(batch, access, rungs)


def _verdict(
    batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess, *, stressor: Stressor, outputs: Outputs
) -> "Verdict":
    if outputs == "max_logits":
        return judge_out_of_distribution(batch, perturbed, access)
    if isinstance(batch.shape, SegmentationShape):
        return judge_pixels(batch, perturbed, access, shape=batch.shape)
    if batch.language:
        return _score(batch, perturbed, access)
    verdict = _judge(batch, perturbed, access, twice=stressor.adversarial(), outputs=outputs)
    return with_measures(verdict, batch, perturbed, stressor=stressor, access=access)


def _judge(
    batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess, *, twice: bool, outputs: Outputs
) -> Verdict:
    """Classify the perturbed inputs in float32, in another order and batching than a search; count disagreements.

    The outcome and the losses are those of this pass alone. If the stressor does not say what it saw, the samples get
    another pass here, so that disagreements are counted for every cell: all of them if the stressor queried the model,
    else those whose outcome rounding could change (see ``_ask_again``).

    Args:
        batch: the samples.
        perturbed: their perturbed inputs.
        access: the model.
        twice: whether every sample gets another pass in any case.
        outputs: outputs of the model that the record keeps.
    """
    vectors = None if perturbed.vectors is None else perturbed.vectors.flip(0)
    logits = _logits(access, perturbed.inputs.flip(0), vectors).flip(0)
    wrong = _wrong(logits, batch.labels)
    losses = F.cross_entropy(logits, batch.labels, reduction="none")
    finite = torch.isfinite(logits).all(1)
    again = perturbed.broken is None and (twice or access.draws > 1 or bool(perturbed.forwards.any()))
    if perturbed.broken is not None:
        first = torch.from_numpy(perturbed.broken).to(batch.labels.device)
    else:
        rows, other = _ask_again(logits, perturbed, access, twice=again)
        first = wrong.index_put((rows,), _wrong(other, batch.labels[rows]))
    if perturbed.failed is not None:
        # A sample whose search failed may still be judged broken, but never robust.
        finite &= wrong | ~torch.from_numpy(perturbed.failed).to(finite.device)
    return Verdict(
        correct=(~wrong).cpu().numpy(),
        finite=finite.cpu().numpy(),
        losses=losses.cpu().numpy(),
        wobble=int(((first != wrong) & finite).sum()),
        passes=2 if again else 1,
        evidence={} if perturbed.target is None else _obedience(logits, batch.labels, perturbed.target),
        optional={outputs: calibration_outputs(logits, batch.labels)} if outputs == "calibration" else {},
    )


def _ask_again(logits: Tensor, perturbed: PerturbedBatch, access: ModelAccess, *, twice: bool) -> tuple[Tensor, Tensor]:
    """Ask the model a second time, in other batches, about samples whose class rounding could change.

    These are the samples whose two largest logits differ by at most ``ROUNDING`` times the largest absolute logit of
    the batch, and at least the ``FEW`` samples with the smallest difference. If a logit of one of them moves between
    the passes by more than ``MOVED`` times that logit, the model is less exact than the bound assumes: then every
    sample is asked.

    Args:
        logits: logits of the first pass, (N, classes).
        perturbed: the inputs that were classified.
        access: the model.
        twice: whether every sample is asked in any case.

    Returns:
        Rows of the samples that were asked, int64 (M,), and their logits, (M, classes).
    """
    known = logits.nan_to_num(0.0, 0.0, 0.0)
    scale = known.abs().max()
    largest = known.topk(min(2, logits.shape[1])).values
    order = (gaps := largest[:, 0] - largest[:, -1]).argsort()
    near = max(FEW, int((gaps <= ROUNDING * scale).sum()))
    for count in (len(order),) if twice or near >= len(order) else (near, len(order)):
        rows = order[:count].sort().values
        vectors = None if perturbed.vectors is None else perturbed.vectors[rows]
        other = _logits(access, perturbed.inputs[rows], vectors)
        if not bool(((other - logits[rows]).abs() > MOVED * scale).any()):
            break
    return rows, other


def _obedience(logits: Tensor, labels: Tensor, target: int) -> dict[str, float]:
    """Number of samples of other classes than the target, and how many of them are classified as the target."""
    others = labels != target
    return {"aimed": int(others.sum()), "hit": int((others & (logits.argmax(1) == target)).sum())}


def _logits(access: ModelAccess, inputs: Tensor, vectors: Tensor | None) -> Tensor:
    """Logits (N, classes) of the inputs, or of perturbed word vectors in their place."""
    if vectors is None:
        return access.predict(inputs)
    table = WordEmbeddings(access.model)
    return access.batched_logits(lambda rows, part: table.logits(part, vectors[rows, : part.shape[1]]), inputs)


@torch.no_grad()
def _score(batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> Verdict:
    """Compute the loss of every sample of a language model; the logits of a batch are too large to keep."""
    losses = torch.full((len(batch.ids),), torch.nan, device=batch.labels.device)
    counted = perturbed.counted
    for rows, tokens in batches(perturbed.inputs, access.batch_size):
        some = None if counted is None else counted[rows][:, 1:]
        losses[rows] = next_token_losses(access.model(tokens).float(), tokens, some)
    finite = torch.isfinite(losses).cpu().numpy()
    evidence: dict[str, float] = {}
    if counted is not None:
        evidence = {"predicted": counted[:, 1:].numel(), "counted": int(counted[:, 1:].sum())}
    return Verdict(
        correct=finite,
        finite=finite,
        losses=losses.cpu().numpy(),
        wobble=0,
        passes=1,
        evidence=evidence,
    )


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(1) != labels
