"""Access of an attack to the model: every query is counted, and every output is checked for a misclassification."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack_losses import Loss, margin
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import SampleBatch

TINY = 1e-12
"""Threshold on the largest entry of a gradient. Float32 steps along smaller gradients are rounding noise."""


@dataclass(frozen=True)
class LossAndGradient:
    """Logits, losses and input gradients of a model at a batch of images."""

    logits: Tensor
    """float32 (B, K)."""
    losses: Tensor
    """float32 (B,)."""
    gradient: Tensor
    """float32 (B, C, H, W), gradient of each sample's own loss with respect to its image."""


def value_and_gradient(
    model: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor], draws: int = 1
) -> LossAndGradient:
    """Logits, losses and input gradients at images (B, C, H, W); ``loss`` maps logits (B, K) to (B,).

    Losses are summed over the batch, never averaged: the gradient of a sample does not depend on the rest of its batch.
    Only the input gradient is computed. A model that is constant in its input has gradient zero. For a random model,
    logits are means over ``draws`` forward passes and the gradient is the mean gradient (Athalye et al. 2018,
    expectation over transformation).
    """
    answers = [_ask(model, images, loss) for _ in range(draws)]
    if draws == 1:
        return answers[0]
    logits, losses, gradients = (
        torch.stack([getattr(answer, name) for answer in answers]).mean(0) for name in ("logits", "losses", "gradient")
    )
    return LossAndGradient(logits, losses, gradients)


def _ask(model: nn.Module, images: Tensor, loss: Callable[[Tensor], Tensor]) -> LossAndGradient:
    with torch.enable_grad():
        inputs = images.detach().requires_grad_(True)
        logits = model(inputs).float()
        losses = loss(logits)
        found: tuple[Tensor | None, ...] = (None,)
        if losses.requires_grad:
            found = torch.autograd.grad(losses.sum(), inputs, allow_unused=True)
    gradient = torch.zeros_like(images) if found[0] is None else found[0]
    return LossAndGradient(logits.detach(), losses.detach(), gradient)


class ModelQueries:
    """Counted queries of one search to the model, and the state of each sample of the batch at each rung of the ladder.

    A row that is broken, or whose outputs are not finite, is ``over``: the search removes it.
    """

    def __init__(self, samples: SampleBatch, access: ModelAccess, rungs: int) -> None:
        self.samples, self.access = samples, access
        count, device = len(samples.ids), samples.inputs.device
        self.found = samples.inputs.expand(rungs, *samples.inputs.shape).clone()
        """(R, N, C, H, W): the first error, or the image of highest margin loss where the sample held."""
        self.best = torch.full((rungs, count), -torch.inf, device=device)
        """(R, N): margin loss at ``found``."""
        self.broken = torch.zeros((rungs, count), dtype=torch.bool, device=device)
        self.failed = torch.zeros_like(self.broken)
        """bool (R, N): logits or gradient were not finite."""
        self.forwards = torch.zeros((rungs, count), dtype=torch.int32, device=device)
        self.backwards = torch.zeros_like(self.forwards)
        self.zero = torch.zeros(count, dtype=torch.bool, device=device)
        """bool (N,): some input gradient was exactly zero in all entries."""
        self.tiny = torch.zeros_like(self.zero)
        """bool (N,): some input gradient was not zero, but smaller than ``TINY`` in all entries."""
        self.spent = torch.zeros_like(self.broken)
        """bool (R, N): all runs at this rung came to their end."""
        self.notes: list[Counter[str]] = [Counter() for _ in range(rungs)]
        """Further counts by attacks, one counter per rung."""

    def over(self, batch: ActiveRows) -> Tensor:
        """Mask of rows that need no further query: broken or failed, bool (B,)."""
        return self.broken[batch.rung, batch.index] | self.failed[batch.rung, batch.index]

    def gradient(
        self, batch: ActiveRows, loss: Loss | None = None, where: Tensor | None = None, inside: Tensor | None = None
    ) -> LossAndGradient:
        """Query logits and input gradient at the iterates, or at the images ``where``. Default loss: the margin.

        An attack that leaves the ball passes ``inside``, bool (B,): only rows inside the ball can be errors.
        """
        images = batch.x if where is None else where
        chosen = margin if loss is None else loss
        draws = self.access.draws
        answer = value_and_gradient(self.access.model, images, lambda logits: chosen(logits, batch.labels), draws=draws)
        self._count(batch, self.forwards, draws)
        self._count(batch, self.backwards, draws)
        usable = torch.isfinite(answer.gradient).flatten(1).all(1)
        self.record_errors(batch, images, answer.logits, usable=usable, inside=inside)
        largest = answer.gradient.abs().flatten(1).amax(1)
        self.zero[batch.index] |= largest == 0
        self.tiny[batch.index] |= (largest > 0) & (largest < TINY)
        return answer

    @torch.no_grad()
    def logits(self, batch: ActiveRows, where: Tensor | None = None, inside: Tensor | None = None) -> Tensor:
        """Query logits (B, K) at the iterates, or at the images ``where``, without gradients.

        An attack that leaves the ball passes ``inside``, bool (B,): only rows inside the ball can be errors.
        """
        images = batch.x if where is None else where
        logits = self._forward(images)
        self._count(batch, self.forwards, self.access.draws)
        self.record_errors(batch, images, logits, usable=torch.ones_like(batch.index, dtype=torch.bool), inside=inside)
        return logits

    @torch.no_grad()
    def probe_margins(self, batch: ActiveRows, images: Tensor) -> Tensor:
        """Margin loss (S, B) at S images (S, B, C, H, W) per row, in one forward pass of S * B images.

        These images may lie outside the ball, so none of them counts as an error.
        """
        logits = self._forward(images.flatten(0, 1))
        self._count(batch, self.forwards, len(images) * self.access.draws)
        finite = torch.isfinite(logits).all(1).view(len(images), -1).all(0)
        self.failed[batch.rung, batch.index] |= ~finite
        return margin(logits, batch.labels.repeat(len(images))).view(len(images), -1)

    def _forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.access.model(images).float() for _ in range(self.access.draws)]).mean(0)

    def record_errors(
        self, batch: ActiveRows, images: Tensor, logits: Tensor, usable: Tensor, inside: Tensor | None = None
    ) -> None:
        """Record errors, and the image of highest margin loss so far, among rows inside the ball.

        A gradient that is not finite must not pass for a zero gradient: sign(NaN) is 0 in torch.
        """
        finite = torch.isfinite(logits).all(1)
        allowed = finite if inside is None else finite & inside
        wrong = allowed & (logits.argmax(1) != batch.labels)
        failed = ~wrong & ~(finite & usable)
        place = (batch.rung, batch.index)
        height = torch.where(allowed, margin(logits, batch.labels), -torch.inf)
        better = (height > self.best[place]) & ~self.broken[place] | (wrong & ~self.broken[place])
        if bool(better.any()):
            rows = (batch.rung[better], batch.index[better])
            self.found[rows] = images[better]
            self.best[rows] = height[better]
        self.broken[place] |= wrong
        self.failed[place] |= failed & ~self.broken[place]

    def add_evidence(self, batch: ActiveRows, name: str, count: int) -> None:
        """Add ``count`` to a named number of the evidence for every row."""
        for rung in batch.rung.tolist():
            self.notes[rung][name] += count

    def evidence(self, rung: int) -> dict[str, int]:
        """Counts of samples that credibility is graded by; counts of several batches add up."""
        asked = self.backwards[rung] > 0
        held = (self.forwards[rung] > 0) & ~self.broken[rung] & ~self.failed[rung]
        return {
            "held": int(held.sum()),
            # A sample that held to the end in a larger ball counts as tried in full.
            "held_to_the_end": int((held & self.spent[rung:].any(0)).sum()),
            "samples": int((self.forwards[rung] > 0).sum()),
            "gradients": int(asked.sum()),
            "zero_gradients": int((self.zero & asked).sum()),
            "tiny_gradients": int((self.tiny & asked).sum()),
            **self.notes[rung],
        }

    @staticmethod
    def _count(batch: ActiveRows, counter: Tensor, passes: int) -> None:
        counter[batch.rung, batch.index] += passes
