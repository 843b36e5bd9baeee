"""Measuring one cell: perturb, check the threat model, judge every sample by an independent second pass."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.engine.record import Identity, Record, State
from robustbench_wb.errors import HarnessError, MeasurementError
from robustbench_wb.models.inputs import batches, to_inputs
from robustbench_wb.models.tokenizer import Tokenizer
from robustbench_wb.models.word_table import WordTable
from robustbench_wb.progress import Advance
from robustbench_wb.stressors.stressor import Job, Stressed, Stressor, answers, predict
from robustbench_wb.tasks.lexicon import Lexicon
from robustbench_wb.training.losses import next_token_losses

SHARD_BYTES = 1 << 28
"""Samples are measured in shards of about this many bytes of inputs (4 bytes a number). Cannot change a result."""
VECTOR = 1024
"""Numbers that one token id is reckoned with: attacks hold word vectors, or many copies of a text."""


@dataclass(frozen=True, eq=False)
class Samples:
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

    def __len__(self) -> int:
        return len(self.ids)


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever a model or a library raises into one clear line; the traceback goes to the debug log."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise MeasurementError(f"{what}: {type(error).__name__}: {reason[0] if reason else 'no message'}") from error


def jobs(
    model: nn.Module,
    samples: Samples,
    rows: NDArray[np.int64],
    seed: int,
    device: torch.device,
    batch: int,
    advance: Advance,
) -> Iterator[tuple[NDArray[np.int64], Job]]:
    """Some rows of the samples, in jobs that fit into memory; each with the rows that it holds."""
    numbers = int(np.prod(samples.inputs.shape[1:])) * (1 if samples.inputs.dtype == np.uint8 else VECTOR)
    size = max(batch, SHARD_BYTES // (4 * numbers))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        inputs = to_inputs(samples.inputs[some], device)
        labels = torch.from_numpy(samples.labels[some]).to(device)
        ids = torch.from_numpy(samples.ids[some].astype(np.int64)).to(device)
        texts = [samples.texts[row] for row in some] if samples.texts else ()
        yield some, Job(model, inputs, labels, ids, seed, batch, advance, texts, samples.tokenizer, samples.lexicon)


def measure(
    model: nn.Module,
    stressor: Stressor,
    identity: Identity,
    samples: Samples,
    before: NDArray[np.int8] | None,
    device: torch.device,
    batch: int,
    advance: Advance,
    look: Callable[[Job, Stressed], float] | None = None,
) -> Record:
    """Measure one cell.

    ``before`` holds the state of every sample when this cell begins: only those still ``ROBUST`` (or ``SCORED``) are
    tried, all others keep their state. None: this is the clean cell, where every sample is judged and an error is
    ``WRONG``. ``look`` is shown what was perturbed, and gives the seconds that it took: they are not the cell's.

    Raises:
        MeasurementError: the stressor or the model failed, or a perturbed input broke the threat model.
    """
    started = time.perf_counter()
    count = len(samples)
    alive = np.arange(count) if before is None else np.flatnonzero(np.isin(before, (State.ROBUST, State.SCORED)))
    states = np.full(count, State.NOT_RUN, np.int8) if before is None else before.copy()
    losses = np.full(count, np.nan, np.float32)
    forwards, backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
    wobble, looked = 0, 0.0
    failed = State.WRONG if before is None else State.BROKEN
    advance(count - len(alive))
    for rows, job in jobs(model, samples, alive, identity.seed, device, batch, advance):
        with one_line(stressor.signature):
            stressed = stressor.apply(job)
            stressor.verify(job, stressed)
            verdict = _score(job, stressed) if samples.language else _judge(job, stressed)
        judged = State.SCORED if samples.language else np.where(verdict.correct, State.ROBUST, failed)
        states[rows] = np.where(verdict.finite, judged, State.ERRORED)
        losses[rows] = verdict.losses
        forwards[rows] = stressed.forwards + verdict.passes
        backwards[rows] = stressed.backwards
        wobble += verdict.wobble
        looked += look(job, stressed) if look is not None else 0.0
    seconds = time.perf_counter() - started - looked
    return Record(identity, samples.ids, states, losses, forwards, backwards, wobble, seconds)


@dataclass(frozen=True, eq=False)
class _Verdict:
    correct: NDArray[np.bool_]
    finite: NDArray[np.bool_]
    losses: NDArray[np.float32]
    wobble: int
    passes: int
    """Forward passes per sample that the verdict took."""


def _judge(job: Job, stressed: Stressed) -> _Verdict:
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
    )


def _logits(job: Job, inputs: Tensor, vectors: Tensor | None) -> Tensor:
    """Of the inputs, or of perturbed word vectors for them."""
    if vectors is None:
        return predict(job.model, inputs, job.batch)
    table = WordTable(job.model)
    return answers(lambda rows, part: table.logits(part, vectors[rows, : part.shape[1]]), inputs, job.batch)


@torch.no_grad()
def _score(job: Job, stressed: Stressed) -> _Verdict:
    """The loss of every sample of a language model; the logits of a batch are too large to keep."""
    losses = torch.full((len(job.ids),), torch.nan, device=job.labels.device)
    for rows, tokens in batches(stressed.inputs, job.batch):
        losses[rows] = next_token_losses(job.model(tokens).float(), tokens)
    finite = torch.isfinite(losses).cpu().numpy()
    return _Verdict(correct=finite, finite=finite, losses=losses.cpu().numpy(), wobble=0, passes=1)


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(1) != labels
