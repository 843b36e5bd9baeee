"""The active-set search: a sample that is broken leaves at once, and its place is taken by a waiting one.

Every sample of the batch is at its own step, so the device stays full until the queue is empty. Each iterate is
judged in the same forward pass that yields its gradient; iterates after the last step need no gradient and are judged
together in forward-only batches.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustbench_wb.stressors.stressor import Job, Stressed


@dataclass
class _Active:
    """The samples in the batch: which, in which run, at which step, and where."""

    index: Tensor
    """int64 (B,), position in the job."""
    run: Tensor
    """int64 (B,)."""
    step: Tensor
    """int64 (B,), steps taken in this run."""
    images: Tensor
    """(B, C, H, W), the current iterates."""

    def keep(self, mask: Tensor) -> "_Active":
        return _Active(self.index[mask], self.run[mask], self.step[mask], self.images[mask])

    def join(self, other: "_Active") -> "_Active":
        return _Active(
            torch.cat([self.index, other.index]),
            torch.cat([self.run, other.run]),
            torch.cat([self.step, other.step]),
            torch.cat([self.images, other.images]),
        )

    def __len__(self) -> int:
        return len(self.index)


class Walk(Protocol):
    """What the search asks of an attack: where to begin, where to step, how far, how often."""

    @property
    def iterations(self) -> int:
        """Gradient steps in one run."""
        ...

    @property
    def runs(self) -> int:
        """Runs per sample."""
        ...

    def start(self, images: Tensor, ids: Tensor, seed: int, run: int) -> Tensor:
        """Where a run begins, before projection."""
        ...

    def propose(self, current: Tensor, gradient: Tensor) -> Tensor:
        """The next iterate, before projection."""
        ...

    def project(self, images: Tensor, candidate: Tensor) -> Tensor:
        """Into ball and box."""
        ...


class _Search:
    """State of one search over one job."""

    def __init__(self, attack: Walk, job: Job) -> None:
        self.attack, self.job = attack, job
        self.waiting = deque((index, 0) for index in range(len(job.ids)))
        self.active = self._enter([])
        self.unjudged = self._enter([])
        self.found = job.inputs.clone()
        self.broken = torch.zeros(len(job.ids), dtype=torch.bool, device=job.inputs.device)
        self.failed = torch.zeros_like(self.broken)
        self.forwards = torch.zeros(len(job.ids), dtype=torch.int32, device=job.inputs.device)
        self.backwards = torch.zeros_like(self.forwards)

    def _enter(self, queued: list[tuple[int, int]]) -> _Active:
        """Place queued (index, run) pairs at their starting points."""
        device = self.job.inputs.device
        index = torch.tensor([index for index, _ in queued], dtype=torch.int64, device=device)
        run = torch.tensor([run for _, run in queued], dtype=torch.int64, device=device)
        images = self.job.inputs[index]
        iterates = images.clone()
        for number in sorted({run for _, run in queued}):
            rows = run == number
            start = self.attack.start(images[rows], self.job.ids[index[rows]], self.job.seed, number)
            iterates[rows] = self.attack.project(images[rows], start)
        return _Active(index, run, torch.zeros_like(index), iterates)

    def refill(self) -> None:
        """Fill the batch from the queue."""
        free = min(self.job.batch - len(self.active), len(self.waiting))
        if free > 0:
            self.active = self.active.join(self._enter([self.waiting.popleft() for _ in range(free)]))

    def advance(self) -> None:
        """One gradient for every active sample; the broken leave, the others step."""
        active = self.active
        logits, gradient = value_and_gradient(self.job.model, active.images, self.job.labels[active.index])
        self.forwards[active.index] += 1
        self.backwards[active.index] += 1
        over = self._settle(active, logits, torch.isfinite(gradient).flatten(1).all(1))
        going = active.keep(~over)
        originals = self.job.inputs[going.index]
        going.images = self.attack.project(originals, self.attack.propose(going.images, gradient[~over]))
        going.step = going.step + 1
        last = going.step >= self.attack.iterations
        self.unjudged = self.unjudged.join(going.keep(last))
        self.active = going.keep(~last)

    def judge(self, batch: _Active) -> None:
        """Look at final iterates; those that held get their next run, or leave as robust."""
        with torch.no_grad():
            logits = self.job.model(batch.images)
        self.forwards[batch.index] += 1
        held = batch.keep(~self._settle(batch, logits, torch.ones_like(batch.index, dtype=torch.bool)))
        again = held.run + 1 < self.attack.runs
        self.waiting.extend(zip(held.index[again].tolist(), (held.run[again] + 1).tolist(), strict=True))
        done = held.keep(~again)
        self.found[done.index] = done.images
        self.job.advance(len(done))

    def _settle(self, batch: _Active, logits: Tensor, usable: Tensor) -> Tensor:
        """Record the samples that are broken, and those that cannot be searched on; return which leave.

        A gradient that is not finite must not pass for one that leads nowhere: sign(NaN) is 0 in torch.
        """
        finite = torch.isfinite(logits).all(1)
        broken = finite & (logits.argmax(1) != self.job.labels[batch.index])
        failed = ~broken & ~(finite & usable)
        over = broken | failed
        self.found[batch.index[over]] = batch.images[over]
        self.broken[batch.index[broken]] = True
        self.failed[batch.index[failed]] = True
        self.job.advance(int(over.sum()))
        return over

    def run(self) -> None:
        """Work until nothing is waiting, active or unjudged."""
        while self.waiting or len(self.active) or len(self.unjudged):
            self.refill()
            if len(self.active):
                self.advance()
            while len(self.unjudged) >= self.job.batch or (len(self.unjudged) and not len(self.active)):
                first = torch.arange(len(self.unjudged), device=self.unjudged.index.device) < self.job.batch
                chosen, self.unjudged = self.unjudged.keep(first), self.unjudged.keep(~first)
                self.judge(chosen)


def value_and_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, classes) and the gradient of each sample's own cross-entropy in its image (B, C, H, W).

    Losses are summed, never averaged: a sample's gradient does not depend on who shares its batch. Only the input
    gradient is computed. A model that is constant in its input has gradient zero.
    """
    with torch.enable_grad():
        inputs = images.detach().requires_grad_(True)
        logits = model(inputs)
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        if not loss.requires_grad:
            return logits.detach(), torch.zeros_like(images)
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(loss, inputs, allow_unused=True)
    return logits.detach(), torch.zeros_like(images) if gradients[0] is None else gradients[0]


def search(attack: Walk, job: Job) -> Stressed:
    """Run ``attack`` on every sample of ``job``: the first broken iterate of each, else its last."""
    state = _Search(attack, job)
    state.run()
    return Stressed(
        inputs=state.found,
        forwards=state.forwards.cpu().numpy(),
        backwards=state.backwards.cpu().numpy(),
        broken=state.broken.cpu().numpy(),
        failed=state.failed.cpu().numpy(),
    )
