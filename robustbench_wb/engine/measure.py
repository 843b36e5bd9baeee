"""Measuring one cell: perturb, check the threat model, judge every sample by an independent second pass."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.errors import as_measurement_error
from robustbench_wb.models.batching import batches, to_inputs
from robustbench_wb.models.shape import Shape
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.progress import Advance
from robustbench_wb.records.record import Identity, Record, State
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, Stressor, batched_logits, predict
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.tasks.task import Split
from robustbench_wb.training.language_loss import next_token_losses

SHARD_BYTES = 1 << 28
"""Samples are measured in shards of about this many bytes of inputs (4 bytes a number). Cannot change a result."""
VECTOR = 1024
"""Numbers that one token id is reckoned with: attacks hold word vectors, or many copies of a text."""


BatchObserver = Callable[[SampleBatch, PerturbedBatch], float]
"""Shown what a cell perturbed; gives the seconds that looking took."""


@dataclass(frozen=True, eq=False)
class TaskSamples:
    """The evaluated samples of a task."""

    ids: NDArray[np.int32]
    inputs: NDArray[Any]
    """Images, uint8 (N, C, H, W), or token ids, int32 (N, L)."""
    labels: NDArray[np.int64]
    language: bool = False
    """Whether the answer is the next token: samples have a loss then, and no right or wrong."""
    texts: Sequence[str] = ()
    """The texts that the token ids stand for; empty for images and in language modelling."""
    tokenizer: Tokenizer | None = None
    """What made the token ids."""
    lexicon: Lexicon = field(default_factory=lambda: Lexicon(()))
    """The words of the task's training texts."""
    split: Split | None = None
    """The whole split, of which these are some."""
    shape: Shape | None = None
    """What the task asks of a model."""
    sizes: NDArray[np.int32] | None = None
    """Tokens that each text has, cut or not."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: NDArray[np.int64]) -> "TaskSamples":
        """The samples in some rows: what becomes of one does not depend on which others there are."""
        texts = [self.texts[row] for row in rows] if self.texts else ()
        sizes = None if self.sizes is None else self.sizes[rows]
        some = replace(self, ids=self.ids[rows], inputs=self.inputs[rows], labels=self.labels[rows])
        return replace(some, texts=texts, sizes=sizes)


def jobs(
    model: nn.Module,
    samples: TaskSamples,
    rows: NDArray[np.int64],
    seed: int,
    device: torch.device,
    batch: BatchSize,
    advance: Advance,
    rungs: int = 1,
) -> Iterator[tuple[NDArray[np.int64], SampleBatch]]:
    """Some rows of the samples, in jobs that fit into memory; each with the rows that it holds.

    A job is smaller by the number of rungs that are answered at once: each keeps an input per sample.
    """
    numbers = int(np.prod(samples.inputs.shape[1:])) * (1 if samples.inputs.dtype == np.uint8 else VECTOR)
    size = max(batch.size, SHARD_BYTES // (4 * rungs * numbers))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        inputs = to_inputs(samples.inputs[some], device)
        labels = torch.from_numpy(samples.labels[some]).to(device)
        ids = torch.from_numpy(samples.ids[some].astype(np.int64)).to(device)
        texts = [samples.texts[row] for row in some] if samples.texts else ()
        job = SampleBatch(
            model, inputs, labels, ids, seed, batch.size, advance, texts, samples.tokenizer, samples.lexicon
        )
        sizes = None if samples.sizes is None else samples.sizes[some]
        job = replace(job, draws=batch.draws, language=samples.language, split=samples.split)
        yield some, replace(job, shape=samples.shape, sizes=sizes)


class _Tally:
    """What a cell becomes, filled job by job."""

    def __init__(self, identity: Identity, samples: TaskSamples, before: NDArray[np.int8] | None) -> None:
        count = len(samples)
        self.identity, self.samples = identity, samples
        self.states = np.full(count, State.NOT_RUN, np.int8) if before is None else before.copy()
        was_wrong = np.ones(count, np.bool_) if before is None else before == State.WRONG
        self.failed = np.where(was_wrong, State.WRONG, State.BROKEN)
        self.losses = np.full(count, np.nan, np.float32)
        self.forwards, self.backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self.wobble, self.looked = 0, 0.0
        self.evidence: Counter[str] = Counter()

    def inherit(self, lower: "_Tally", rows: NDArray[np.int64], stressed: PerturbedBatch) -> None:
        """Rows that a lower strength broke are broken here, by the same inputs; what was spent here was spent."""
        self.states[rows], self.losses[rows] = lower.states[rows], lower.losses[rows]
        self.forwards[rows], self.backwards[rows] = stressed.forwards, stressed.backwards

    def add(self, rows: NDArray[np.int64], stressed: PerturbedBatch, verdict: "_Verdict") -> None:
        """Take in what became of some rows."""
        judged = State.SCORED if self.samples.language else np.where(verdict.correct, State.ROBUST, self.failed[rows])
        self.states[rows] = np.where(verdict.finite, judged, State.ERRORED)
        self.losses[rows] = verdict.losses
        self.forwards[rows] = stressed.forwards + verdict.passes
        self.backwards[rows] = stressed.backwards
        self.wobble += verdict.wobble
        self.evidence.update(verdict.evidence)

    def record(self, seconds: float) -> Record:
        """The finished cell."""
        arrays = (self.states, self.losses, self.forwards, self.backwards)
        return Record(self.identity, self.samples.ids, *arrays, self.wobble, seconds, dict(self.evidence))


def measure(
    model: nn.Module,
    rungs: Sequence[Stressor],
    identities: Sequence[Identity],
    samples: TaskSamples,
    before: NDArray[np.int8] | None,
    device: torch.device,
    batch: BatchSize,
    advance: Advance,
    looks: Sequence[BatchObserver] = (),
    surrogate: nn.Module | None = None,
) -> list[Record]:
    """Measure one cell, or all cells of a ladder that its stressor answers at once.

    ``before`` holds the state of every sample when the first cell begins: only those still ``ROBUST`` (or ``SCORED``)
    are tried, and by a stressor that is not adversarial those ``WRONG`` when clean too; all others keep their state.
    None: this is the clean cell, where every sample is judged and an error is ``WRONG``. ``looks``, one per rung or
    none, are shown what was perturbed, and give the seconds that it took: they are not the cell's. The time of a search
    is shared out among its cells by the passes that each has spent.

    Raises:
        MeasurementError: the stressor or the model failed, or a perturbed input broke the threat model.
    """
    started = time.perf_counter()
    count = len(samples)
    alive = np.arange(count) if before is None else np.flatnonzero(np.isin(before, _open(rungs[0])))
    tallies = [_Tally(identity, samples, before) for identity in identities]
    advance(count - len(alive))
    seed = identities[0].seed
    for rows, some in jobs(model, samples, alive, seed, device, batch, advance, len(rungs)):
        job = replace(some, surrogate=surrogate)
        with as_measurement_error(rungs[0].signature):
            found = batch.fit(job, partial(_perturb, rungs))
            for level, (stressor, stressed) in enumerate(zip(rungs, found, strict=True)):
                still = np.ones(len(rows), np.bool_)
                if level:
                    still = np.isin(tallies[level - 1].states[rows], (*_open(stressor), State.ERRORED))
                    tallies[level].inherit(tallies[level - 1], rows[~still], stressed.rows(~still))
                part, tried = job.rows(still), stressed.rows(still)
                tallies[level].evidence.update(tried.evidence)
                if not len(part.ids):  # a lower strength has broken them all: there is nothing to ask the model
                    continue
                stressor.verify(part, tried)
                verdict = batch.fit(part, partial(_verdict, stressed=tried, language=samples.language))
                tallies[level].add(rows[still], tried, verdict)
                if looks:
                    tallies[level].looked += looks[level](part, tried)
    seconds = time.perf_counter() - started - sum(tally.looked for tally in tallies)
    passes = [1 + int(tally.forwards.sum()) + int(tally.backwards.sum()) for tally in tallies]
    return [tally.record(seconds * spent / sum(passes)) for tally, spent in zip(tallies, passes, strict=True)]


def _open(stressor: Stressor) -> tuple[State, ...]:
    """The states of samples that are still to be tried: who looks for errors has nothing to do where there is one."""
    tried = (State.ROBUST, State.SCORED)
    return tried if stressor.adversarial() else (*tried, State.WRONG)


def _perturb(rungs: Sequence[Stressor], job: SampleBatch) -> list[PerturbedBatch]:
    return [rungs[0].apply(job)] if len(rungs) == 1 else rungs[0].sweep(job, rungs)


def _verdict(job: SampleBatch, stressed: PerturbedBatch, language: bool) -> "_Verdict":
    return _score(job, stressed) if language else _judge(job, stressed)


@dataclass(frozen=True, eq=False)
class _Verdict:
    correct: NDArray[np.bool_]
    finite: NDArray[np.bool_]
    losses: NDArray[np.float32]
    wobble: int
    passes: int
    """Forward passes per sample that the verdict took."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Counts that add up over jobs."""


def _judge(job: SampleBatch, stressed: PerturbedBatch) -> _Verdict:
    """Classify the perturbed inputs in float32, in another order and batching than the search; count disagreements.

    The verdict is this second pass alone. A stressor that did not look at predictions gets a first pass here, so that
    what rounding can change is counted for every cell.
    """
    passes = 1
    if stressed.broken is None:
        first = _wrong(_logits(job, stressed.inputs, stressed.vectors), job.labels)
        passes = 2
    else:
        first = torch.from_numpy(stressed.broken).to(job.labels.device)
    vectors = None if stressed.vectors is None else stressed.vectors.flip(0)
    logits = _logits(job, stressed.inputs.flip(0), vectors).flip(0)
    wrong = _wrong(logits, job.labels)
    losses = F.cross_entropy(logits, job.labels, reduction="none")
    finite = torch.isfinite(logits).all(1)
    if stressed.failed is not None:
        # A sample whose search failed may still be judged broken, but never robust.
        finite &= wrong | ~torch.from_numpy(stressed.failed).to(finite.device)
    return _Verdict(
        correct=(~wrong).cpu().numpy(),
        finite=finite.cpu().numpy(),
        losses=losses.cpu().numpy(),
        wobble=int(((first != wrong) & finite).sum()),
        passes=passes,
        evidence={} if stressed.target is None else _obedience(logits, job.labels, stressed.target),
    )


def _obedience(logits: Tensor, labels: Tensor, target: int) -> dict[str, float]:
    """How many samples of other classes there are, and how many of them are taken for the target's."""
    others = labels != target
    return {"aimed": int(others.sum()), "hit": int((others & (logits.argmax(1) == target)).sum())}


def _logits(job: SampleBatch, inputs: Tensor, vectors: Tensor | None) -> Tensor:
    """Of the inputs, or of perturbed word vectors for them."""
    if vectors is None:
        return predict(job.model, inputs, job.batch, job.draws)
    table = WordEmbeddings(job.model)
    return batched_logits(lambda rows, part: table.logits(part, vectors[rows, : part.shape[1]]), inputs, job.batch)


@torch.no_grad()
def _score(job: SampleBatch, stressed: PerturbedBatch) -> _Verdict:
    """The loss of every sample of a language model; the logits of a batch are too large to keep."""
    losses = torch.full((len(job.ids),), torch.nan, device=job.labels.device)
    counted = stressed.counted
    for rows, tokens in batches(stressed.inputs, job.batch):
        some = None if counted is None else counted[rows][:, 1:]
        losses[rows] = next_token_losses(job.model(tokens).float(), tokens, some)
    finite = torch.isfinite(losses).cpu().numpy()
    evidence: dict[str, float] = {}
    if counted is not None:
        evidence = {"predicted": counted[:, 1:].numel(), "counted": int(counted[:, 1:].sum())}
    return _Verdict(finite, finite, losses.cpu().numpy(), wobble=0, passes=1, evidence=evidence)


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(1) != labels
