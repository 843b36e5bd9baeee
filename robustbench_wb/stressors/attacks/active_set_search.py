"""Active-set search: a broken sample leaves at once, and a waiting one takes its place.

Every row of the batch is at its own step, so the device stays full until the queue is empty. Each iterate is classified
in the forward pass that also yields its gradient. Iterates after the last step need no gradient and are classified
together in forward-only batches.

For a ladder of radii, each sample is tried at some of them. A ball lies inside every larger one, so a sample broken at
one radius is broken at all larger ones. A later trial starts from the image of highest margin loss of the previous one,
projected into the new ball: most errors are then a few steps away. That a search which failed at one radius would have
failed at all smaller ones is an assumption. A sample called robust at a radius was tried in full there or at a larger
one; at smaller radii, the strongest image of the larger ball is tried, drawn toward the clean image.
"""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from robustbench_wb.norms import Norm
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.model_queries import ModelQueries
from robustbench_wb.stressors.attacks.radius_bisection import RadiusBisection
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch

MIN_GRADIENTS_FOR_FORECAST = 10
"""Gradients per trial from which one gradient at the clean image, used to choose the first radius, saves time."""


class IterativeAttack(Protocol):
    """Interface of an attack for the search: starting point, step, number of steps and runs, and ball."""

    norm: ClassVar[Norm]

    @property
    def passes(self) -> tuple[int, int] | None:
        """Forward passes and input gradients of a trial that breaks nothing."""
        ...

    @property
    def iterations(self) -> int:
        """Steps per run."""
        ...

    @property
    def runs(self) -> int:
        """Runs per sample."""
        ...

    @property
    def classifies_iterates(self) -> bool:
        """Whether the last step of a run classifies the last iterate."""
        ...

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Place new rows, all of one run, at their starting points and fill their memory."""
        ...

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Query the model at the rows and move them."""
        ...

    def project(self, batch: ActiveRows, candidate: Tensor) -> Tensor:
        """Project images into ball and box."""
        ...


class _Search:
    """State of one search over a batch of samples."""

    def __init__(
        self, attack: IterativeAttack, samples: SampleBatch, access: ModelAccess, *, radii: Sequence[float]
    ) -> None:
        self.attack, self.samples, self.access = attack, samples, access
        self.radii = torch.tensor(radii, dtype=samples.inputs.dtype, device=samples.inputs.device)
        self.oracle = ModelQueries(samples, access, len(radii))
        self.brackets = RadiusBisection(radii, len(samples.ids))
        self.waiting: deque[tuple[int, int, int]] = deque()
        if len(radii) > 1 and attack.passes is not None and attack.passes[1] >= MIN_GRADIENTS_FOR_FORECAST:
            self._look()
        for index in range(len(samples.ids)):
            self._ask_for(index)
        self.active = self.unjudged = self._rows([])

    def _look(self) -> None:
        """Query margin loss and gradient at every clean image; the cost counts for the largest radius."""
        everyone = range(len(self.samples.ids))
        for first in everyone[:: self.access.batch_size]:
            rows = everyone[first : first + self.access.batch_size]
            answer = self.oracle.gradient(self._rows([(index, len(self.radii) - 1) for index in rows]))
            slope = (answer.gradient * self.attack.norm.steepest_direction(answer.gradient)).flatten(1).sum(1)
            for index, clean, rise in zip(rows, answer.losses.tolist(), slope.tolist(), strict=True):
                self.brackets.record_clean_margin(index, clean, rise)

    def _ask_for(self, index: int) -> None:
        rung = self.brackets.next_rung(index)
        if rung is None:
            self.access.advance(1)
        else:
            self.waiting.append((index, rung, 0))

    def _rows(self, places: list[tuple[int, int]], run: int = 0) -> ActiveRows:
        """Rows for (index, rung) pairs, placed at their clean images."""
        samples, device = self.samples, self.samples.inputs.device
        index, rung = torch.tensor(places, dtype=torch.int64, device=device).view(-1, 2).unbind(1)
        images = samples.inputs[index]
        return ActiveRows(
            index=index,
            ids=samples.ids[index],
            labels=samples.labels[index],
            originals=images,
            radius=self.radii[rung].view(-1, 1, 1, 1),
            rung=rung,
            run=torch.full_like(index, run),
            step=torch.zeros_like(index),
            x=images.clone(),
            warm=torch.zeros_like(index, dtype=torch.bool),
        )

    def _enter(self, queued: list[tuple[int, int, int]]) -> ActiveRows:
        """Place queued (index, rung, run) triples at their starting points."""
        whole = self._rows([])
        for number in sorted({run for _, _, run in queued}):
            group = self._rows([(index, rung) for index, rung, run in queued if run == number], number)
            if number == 0:
                self._warm(group)
            self.attack.begin(group, self.samples.seed)
            whole = whole.join(group)
        return whole

    def _warm(self, batch: ActiveRows) -> None:
        """Move rows that were tried at another radius to the strongest image found there, projected into this ball."""
        last = [self.brackets.tried.get(index, -1) for index in batch.index.tolist()]
        rung = torch.tensor(last, device=batch.index.device)
        batch.warm = rung >= 0
        if not bool(batch.warm.any()):
            return
        place, warm = (rung[batch.warm], batch.index[batch.warm]), batch.keep(batch.warm)
        share = warm.radius / self.radii[place[0]].view(-1, 1, 1, 1)
        moved = warm.originals + share * (self.oracle.found[place] - warm.originals)
        batch.x[batch.warm] = self.attack.project(warm, moved)

    def refill(self) -> None:
        """Fill the active rows from the queue."""
        free = min(self.access.batch_size - len(self.active), len(self.waiting))
        if free > 0:
            self.active = self.active.join(self._enter([self.waiting.popleft() for _ in range(free)]))

    def advance(self) -> None:
        """Move every active row by one step; broken rows and rows at the end of their run leave."""
        batch = self.active
        self.attack.move(batch, self.oracle)
        batch.step = batch.step + 1
        over = self.oracle.over(batch)
        last = (batch.step >= self.attack.iterations) & ~over
        if bool((over | last).any()):
            self.settle(batch.keep(over | last if self.attack.classifies_iterates else over))
            if not self.attack.classifies_iterates:
                self.unjudged = self.unjudged.join(batch.keep(last))
            self.active = batch.keep(~(over | last))

    def judge(self) -> None:
        """Classify final iterates, one batch at a time."""
        first = torch.arange(len(self.unjudged), device=self.unjudged.index.device) < self.access.batch_size
        chosen, self.unjudged = self.unjudged.keep(first), self.unjudged.keep(~first)
        self.oracle.logits(chosen)
        self.settle(chosen)

    def settle(self, batch: ActiveRows) -> None:
        """Close runs: rows that held get their next run, or after the last run the next rung."""
        over, height = self.oracle.over(batch), self.oracle.best[batch.rung, batch.index]
        for index, rung, run, done, near in zip(
            *(each.tolist() for each in (batch.index, batch.rung, batch.run, over, height)), strict=True
        ):
            if not done and run + 1 < self.attack.runs:
                self.waiting.append((index, rung, run + 1))
                continue
            # A failed sample is closed like a broken one; it is reported as failed.
            self.oracle.spent[rung, index] = not done
            self.brackets.record_trial(index, rung, broken=done, height=near)
            self._ask_for(index)

    def run(self) -> None:
        """Search until no row is waiting, active or unclassified."""
        while self.waiting or len(self.active) or len(self.unjudged):
            self.refill()
            if len(self.active):
                self.advance()
            while len(self.unjudged) >= self.access.batch_size or (len(self.unjudged) and not len(self.active)):
                self.judge()

    def answers(self) -> list[PerturbedBatch]:
        """Results at each rung: errors are inherited from smaller radii; untried rungs take shrunk images from larger
        ones."""
        oracle, last = self.oracle, len(self.radii) - 1
        for rung in range(last - 1, -1, -1):
            untried = torch.nonzero(oracle.forwards[rung] == 0)[:, 0]
            for rows in torch.split(untried, self.access.batch_size):
                self._shrink(rows, rung)
        for rung in range(1, last + 1):
            inherit = (oracle.broken[rung - 1] | oracle.failed[rung - 1]) & ~oracle.broken[rung]
            oracle.found[rung, inherit] = oracle.found[rung - 1, inherit]
            oracle.broken[rung] |= oracle.broken[rung - 1]
            oracle.failed[rung] = (oracle.failed[rung] | oracle.failed[rung - 1]) & ~oracle.broken[rung]
        return [self._answer(rung) for rung in range(last + 1)]

    def _shrink(self, rows: Tensor, rung: int) -> None:
        """Classify the images of the next larger ball, moved toward the clean ones until they lie in this ball.

        Ball and box are convex and contain the clean image, so no projection is needed.
        """
        batch = self._rows([(index, rung) for index in rows.tolist()])
        share = self.radii[rung] / self.radii[rung + 1]
        batch.x = batch.originals + share * (self.oracle.found[rung + 1, rows] - batch.originals)
        self.oracle.logits(batch)

    def _answer(self, rung: int) -> PerturbedBatch:
        oracle = self.oracle
        return PerturbedBatch(
            inputs=oracle.found[rung],
            forwards=oracle.forwards[rung].cpu().numpy(),
            backwards=oracle.backwards[rung].cpu().numpy(),
            broken=oracle.broken[rung].cpu().numpy(),
            failed=oracle.failed[rung].cpu().numpy(),
            evidence=oracle.evidence(rung),
        )


def search_active_set(
    attack: IterativeAttack, batch: SampleBatch, access: ModelAccess, *, radii: Sequence[float]
) -> list[PerturbedBatch]:
    """Run ``attack`` on every sample of the batch; one perturbed batch for each radius (ascending)."""
    state = _Search(attack, batch, access, radii=radii)
    state.run()
    return state.answers()
