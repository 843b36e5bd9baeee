"""Patch attack: one square of the image is replaced, at a salient place of a grid (after Fu et al. 2022).

Transformers read an image in square patches. A square that covers exactly one of them changes one token, and attention
can carry it to all others.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.errors import MeasurementError
from robustbench_wb.norms import Norm
from robustbench_wb.spec import Exact, parse_exact
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.model_queries import ModelQueries
from robustbench_wb.stressors.attacks.pixel_bounds import PATCH_NORM, Pixels, square_mask
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import AttackKind


class PatchAttack(Attack):
    """Gradient ascent of the margin inside one square, whose pixels may take any value in [0, 1].

    The squares of a grid, as wide as the square itself from the top left corner on, are ordered by the sum of the
    absolute input gradient at the clean image. Run r replaces the square of rank r by uniform noise, and follows the
    signs of the gradient. At the bottom and the right the grid is moved to end at the edge.
    """

    name: ClassVar[str] = "patch"
    norm: ClassVar[Norm] = PATCH_NORM
    kind: ClassVar[AttackKind | None] = "white-box"
    sweeps: ClassVar[bool] = False

    eps: Pixels
    """Side of the square in pixels. A model's own patch side changes exactly one token."""
    steps: int = Field(default=40, ge=1)
    step: Exact = Field(default=parse_exact("1/10"), gt=0)
    """Step length; unit: full pixel range."""
    places: int = Field(default=4, ge=1)
    """Number of squares that are tried, the most salient first; a grid with fewer is tried again from other noise."""

    @property
    def side(self) -> int:
        """Side of the square in pixels."""
        return int(self.eps)

    @property
    def iterations(self) -> int:
        """The look at the clean image, then the gradient steps."""
        return 1 + self.steps

    @property
    def runs(self) -> int:
        """Runs per sample, each at another place."""
        return self.places

    def apply(self, batch: SampleBatch, access: ModelAccess) -> PerturbedBatch:
        """Search for an adversarial example of every sample in the batch.

        Raises:
            MeasurementError: an image is smaller than the square.
        """
        if self.side > min(batch.inputs.shape[2:]):
            size = "x".join(map(str, batch.inputs.shape[2:]))
            raise MeasurementError(f"{self.label}: a square of eps={self.eps} pixels does not fit into {size}")
        return super().apply(batch, access)

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start at the clean image: the first step chooses the place."""
        batch.x = batch.originals.clone()
        batch.memory["inside"] = torch.zeros_like(batch.x[:, :1])

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Choose the place at the first step; at the others follow the gradient inside the square."""
        gradient = oracle.gradient(batch).gradient
        first = (batch.step == 0).view(-1, 1, 1, 1)
        noise = rng.uniform(
            batch.ids, tuple(batch.x.shape[1:]), seed=oracle.samples.seed, label=self.stream, step=batch.run
        )
        batch.put(batch.step == 0, "inside", self._place(batch, gradient))
        climbed = (batch.x + float(self.step) * gradient.sign()).clamp(0.0, 1.0)
        inside = torch.where(first, noise.to(batch.x.dtype), climbed)
        batch.x = torch.where(batch.memory["inside"] > 0, inside, batch.originals)

    def _place(self, batch: ActiveRows, gradient: Tensor) -> Tensor:
        """Mask (B, 1, H, W) of the square of each row's run."""
        height, width = batch.x.shape[2:]
        rows, columns = (
            torch.arange(0, length, self.side, device=batch.x.device).clamp(max=length - self.side)
            for length in (height, width)
        )
        sums = F.avg_pool2d(gradient.abs().sum(1, keepdim=True), self.side, stride=1)[:, 0]
        ranked = sums[:, rows][:, :, columns].flatten(1).argsort(dim=1, descending=True, stable=True)
        chosen = ranked.gather(1, (batch.run % ranked.shape[1])[:, None])[:, 0]
        return square_mask(rows[chosen // len(columns)], columns[chosen % len(columns)], side=self.side, images=batch.x)
