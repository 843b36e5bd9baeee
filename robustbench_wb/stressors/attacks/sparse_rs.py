"""Sparse-RS in L0: random search over which pixels to change (Croce, Andriushchenko, Singh, Flammarion & Hein 2022)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import Norm
from robustbench_wb.spec import Exact, parse_exact
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import margin
from robustbench_wb.stressors.attacks.model_queries import ModelQueries
from robustbench_wb.stressors.attacks.pixel_bounds import L0_NORM, Pixels
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind

MARKS = (50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, after which fewer pixels are exchanged."""
DIVISORS = (2, 4, 5, 6, 8, 10, 12, 15, 20)
"""Divisors of the share of exchanged pixels between these marks: those of the authors' experiments."""


def lowest(draw: Tensor, among: Tensor, count: int | Tensor) -> Tensor:
    """Mask of the ``count`` entries with the lowest draws (B, P) among those of a mask, bool (B, P); all if fewer."""
    order = torch.where(among, draw, 2.0).argsort(dim=1, stable=True).argsort(1)
    return among & (order < count)


class SparseRs(Attack):
    """Random search for pixels to change and their colours; an exchange of pixels is kept if it raises the margin.

    The colours are corners of the colour cube: each channel is 0 or 1. Neither gradients nor logits beyond the margin
    are used. Strengths do not share a search: the image of a larger ball has too many changed pixels for a smaller one.
    """

    name: ClassVar[str] = "sparse-rs-l0"
    norm: ClassVar[Norm] = L0_NORM
    kind: ClassVar[AttackKind | None] = "black-box"
    sweeps: ClassVar[bool] = False
    classifies_iterates: ClassVar[bool] = True

    eps: Pixels
    """Number of pixels that may change."""
    queries: int = Field(default=5000, ge=1)
    """Forward passes per run, including the one at the start."""
    restarts: int = Field(default=1, ge=1)
    """Number of runs; a sample leaves at its first success."""
    share: Exact = Field(default=parse_exact("0.3"), gt=0, le=1)
    """Share of the changed pixels that a step exchanges at first (alpha_init in the paper); at least one pixel."""

    @property
    def step_passes(self) -> tuple[int, int]:
        """One forward pass and no gradient."""
        return 1, 0

    @property
    def iterations(self) -> int:
        """Queries per run: each step is one query."""
        return self.queries

    @property
    def runs(self) -> int:
        """Runs per sample."""
        return self.restarts

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch.

        Raises:
            MeasurementError: the images have fewer pixels than may change.
        """
        height, width = batch.inputs.shape[2:]
        if self.eps > height * width:
            raise MeasurementError(f"{self.label}: eps={self.eps} pixels, but an image has {height * width}")
        return super().apply(batch, access)

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Change random pixels to random corners of the colour cube (algorithm 1, lines 1 to 3)."""
        draw = self._draw(batch, "pixels", seed=seed, step=batch.run)
        chosen = lowest(draw, torch.ones_like(draw, dtype=torch.bool), int(self.eps))
        batch.x = self._paint(batch, batch.originals, chosen, seed=seed, label="start", step=batch.run)
        batch.memory["chosen"] = chosen
        batch.memory["height"] = torch.full_like(batch.radius, -torch.inf).flatten()

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Query the image with some pixels exchanged (at the first step: the start), and keep it if its margin is
        higher (algorithm 1, lines 5 to 10)."""
        first = batch.step == 0
        chosen, changed = self._exchange(batch, oracle.samples.seed)
        chosen = torch.where(first[:, None], batch.memory["chosen"], chosen)
        changed = torch.where(first.view(-1, 1, 1, 1), batch.x, changed)
        height = margin(oracle.logits(batch, changed), batch.labels)
        higher = height > batch.memory["height"]
        batch.put(higher, "height", height)
        batch.put(higher, "chosen", chosen)
        batch.x = torch.where(higher.view(-1, 1, 1, 1), changed, batch.x)

    def _exchange(self, batch: ActiveRows, seed: int) -> tuple[Tensor, Tensor]:
        """Changed pixels, bool (B, P), and images in which some of them have changed places and colours.

        Where all pixels are changed already, there is no other place, and pixels get new colours instead.
        """
        ticket, old = self.draw_number(batch), batch.memory["chosen"]
        room = old.shape[1] - int(self.eps)
        count = self._exchanged(batch)[:, None].clamp(max=room or int(self.eps))
        draw = self._draw(batch, "exchange", seed=seed, step=ticket)
        leaving = lowest(draw, old, count)
        entering = lowest(draw, ~old, count) if room else leaving
        restored = torch.where(self._as_pixels(batch, leaving), batch.originals, batch.x)
        changed = self._paint(batch, restored, entering, seed=seed, label="exchange", step=ticket)
        return old & ~leaving | entering, changed

    def _exchanged(self, batch: ActiveRows) -> Tensor:
        """Number of pixels that each row exchanges at its step, int64 (B,)."""
        counts = [max(1, round(float(self.share * self.eps / divisor))) for divisor in DIVISORS]
        marks = torch.tensor(MARKS, device=batch.step.device) * self.queries
        passed = (batch.step[:, None] * 10_000 > marks).sum(1)
        return torch.tensor(counts, device=batch.step.device)[passed]

    def _draw(self, batch: ActiveRows, what: str, *, seed: int, step: Tensor) -> Tensor:
        """A uniform draw for each pixel, (B, P)."""
        pixels = (batch.x.shape[2] * batch.x.shape[3],)
        return rng.uniform(batch.ids, pixels, seed=seed, label=f"{self.stream}/{what}", step=step)

    def _paint(
        self, batch: ActiveRows, images: Tensor, where: Tensor, *, seed: int, label: str, step: Tensor
    ) -> Tensor:
        """Images (B, C, H, W) with random corners of the colour cube at some pixels, bool (B, P)."""
        shape = tuple(images.shape[1:])
        drawn = rng.signs(batch.ids, shape, seed=seed, label=f"{self.stream}/colour/{label}", step=step)
        return torch.where(self._as_pixels(batch, where), (drawn.to(images.dtype) + 1) / 2, images)

    @staticmethod
    def _as_pixels(batch: ActiveRows, mask: Tensor) -> Tensor:
        """A mask (B, P) over all channels of the images, (B, 1, H, W)."""
        return mask.view(len(mask), 1, *batch.x.shape[2:])
