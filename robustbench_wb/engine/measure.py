"""Measuring one cell: perturb, check the threat model, judge every sample by an independent second pass."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_wb.engine.record import Identity, Record, State
from robustbench_wb.errors import HarnessError, MeasurementError
from robustbench_wb.models.inputs import batches, to_inputs
from robustbench_wb.progress import Advance
from robustbench_wb.stressors.stressor import Job, Stressed, Stressor, predict
from robustbench_wb.training.losses import next_token_losses

SHARD_BYTES = 1 << 28
"""Samples are measured in shards of about this many bytes of inputs (4 bytes a number). Cannot change a result."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The evaluated samples of a task."""

    ids: NDArray[np.int32]
    inputs: NDArray[Any]
    """Images, uint8 (N, C, H, W), or token ids, int32 (N, L)."""
    labels: NDArray[np.int64]
    language: bool = False
    """Whether the answer is the next token: samples have a loss then, and no right or wrong."""

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
    tried, and by a stressor that is not adversarial those ``WRONG`` when clean too; all others keep their state. None:
    this is the clean cell, where every sample is judged and an error is ``WRONG``. ``look`` is shown what was
    perturbed, and gives the seconds that it took: they are not the cell's.

    Raises:
        MeasurementError: the stressor or the model failed, or a perturbed input broke the threat model.
    """
    started = time.perf_counter()
    count = len(samples)
    tried = (State.ROBUST, State.SCORED) if stressor.adversarial() else (State.ROBUST, State.SCORED, State.WRONG)
    alive = np.arange(count) if before is None else np.flatnonzero(np.isin(before, tried))
    states = np.full(count, State.NOT_RUN, np.int8) if before is None else before.copy()
    losses = np.full(count, np.nan, np.float32)
    forwards, backwards = np.zeros(count, np.int32), np.zeros(count, np.int32)
    wobble, looked = 0, 0.0
    was_wrong = np.ones(count, bool) if before is None else before == State.WRONG
    failed = np.where(was_wrong, State.WRONG, State.BROKEN)
    advance(count - len(alive))
    numbers = int(np.prod(samples.inputs.shape[1:]))
    shard = max(batch, SHARD_BYTES // (4 * numbers))
    for start in range(0, len(alive), shard):
        rows = alive[start : start + shard]
        job = Job(
            model=model,
            inputs=to_inputs(samples.inputs[rows], device),
            labels=torch.from_numpy(samples.labels[rows]).to(device),
            ids=torch.from_numpy(samples.ids[rows].astype(np.int64)).to(device),
            seed=identity.seed,
            batch=batch,
            advance=advance,
        )
        with one_line(stressor.signature):
            stressed = stressor.apply(job)
            stressor.check(job.inputs, stressed.inputs)
            verdict = _score(job, stressed) if samples.language else _judge(job, stressed)
        judged = State.SCORED if samples.language else np.where(verdict.correct, State.ROBUST, failed[rows])
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
        first = _wrong(predict(job.model, stressed.inputs, job.batch), job.labels)
        passes = 2
    else:
        first = torch.from_numpy(stressed.broken).to(job.labels.device)
    logits = predict(job.model, stressed.inputs.flip(0), job.batch).flip(0)
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
