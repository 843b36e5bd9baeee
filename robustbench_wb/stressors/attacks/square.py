"""Square Attack: gradient-free random search over squares (Andriushchenko et al. 2020, algorithms 1 to 3)."""

from abc import abstractmethod
from functools import lru_cache
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.norms import L2_NORM, LINF, Norm
from robustbench_wb.spec import Exact, parse_exact
from robustbench_wb.stressors.attacks.active_rows import ActiveRows
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.attacks.attack_losses import margin
from robustbench_wb.stressors.attacks.model_queries import ModelQueries

HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Queries, of 10,000, at which the share of changed pixels is halved."""


@lru_cache
def bump(height: int, width: int) -> Tensor:
    """Rectangle of weights (height, width), height >= width, that decrease from its centre (the paper's eta)."""
    n = height // 2
    row, column = torch.arange(height)[:, None], torch.arange(width)[None, :]
    reach = n - torch.maximum((row - n).abs(), (column - width // 2).abs())
    terms: Tensor = 1.0 / (n + 1 - torch.arange(n + 1)) ** 2
    weight: Tensor = terms.cumsum(0)[reach.clamp(min=0)] * (reach >= 0)
    return weight


@lru_cache
def dipole(side: int) -> Tensor:
    """Square (side, side) of Euclidean length 1: a bump beside a negative one."""
    both = torch.cat([bump(side, side // 2), -bump(side, side - side // 2)], dim=1)
    unit: Tensor = both / torch.linalg.vector_norm(both)
    return unit


class SquareAttack(Attack):
    """Random search: a changed square is kept if it raises the margin loss."""

    kind = "black-box"
    classifies_iterates: ClassVar[bool] = True

    queries: int = Field(default=5000, ge=1)
    """Forward passes per run, including the one at the start."""
    restarts: int = Field(default=1, ge=1)
    """Number of runs; a sample leaves at its first success."""
    share: Exact = Field(default=parse_exact("0.8"), gt=0, le=1)
    """Share of the pixels that the first square covers (p in the paper)."""

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

    def begin(self, batch: ActiveRows, seed: int) -> None:
        """Start with the initial pattern and no accepted change."""
        batch.x = self.place(batch, seed)
        batch.memory["height"] = torch.full_like(batch.radius, -torch.inf).flatten()

    def move(self, batch: ActiveRows, oracle: ModelQueries) -> None:
        """Query a changed image (at the first step: the start) and keep it if its margin loss is higher."""
        sides = self._sides(batch)
        changed = torch.where(
            (batch.step == 0).view(-1, 1, 1, 1), batch.x, self.change(batch, sides, oracle.samples.seed)
        )
        height = margin(oracle.logits(batch, changed), batch.labels)
        higher = height > batch.memory["height"]
        batch.put(higher, "height", height)
        batch.x = torch.where(higher.view(-1, 1, 1, 1), changed, batch.x)

    @abstractmethod
    def place(self, batch: ActiveRows, seed: int) -> Tensor:
        """Starting points (B, C, H, W), in ball and box."""

    @abstractmethod
    def change(self, batch: ActiveRows, sides: Tensor, seed: int) -> Tensor:
        """Iterates with squares of these sides (B,) changed, in ball and box."""

    def allowed(self, side: int, limit: int) -> int:
        """Side to use for a desired one, in an image whose shorter side is ``limit``."""
        return min(max(side, 1), limit)

    def _sides(self, batch: ActiveRows) -> Tensor:
        """Side of each row's square at its step: the area starts at the share and is halved by the schedule."""
        height, width = batch.x.shape[-2:]
        area = float(self.share) * height * width
        table = [
            self.allowed(round((area / 2**halved) ** 0.5), min(height, width)) for halved in range(len(HALVINGS) + 1)
        ]
        marks = torch.tensor(HALVINGS, device=batch.step.device) * self.queries
        halved = (batch.step[:, None] * 10_000 > marks).sum(1)
        return torch.tensor(table, device=batch.step.device)[halved]


def _windows(batch: ActiveRows, sides: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, H) and columns (B, W) relative to the corner of a square placed by uniform draws (B, 2)."""
    height, width = batch.x.shape[-2:]
    room = torch.stack([height - sides, width - sides], dim=1) + 1
    corner = (draw * room).long()
    rows = torch.arange(height, device=draw.device) - corner[:, :1]
    return rows, torch.arange(width, device=draw.device) - corner[:, 1:]


def _mask(windows: tuple[Tensor, Tensor], sides: Tensor) -> Tensor:
    """Mask of the square, bool (B, 1, H, W)."""
    rows, columns = ((at >= 0) & (at < sides[:, None]) for at in windows)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


class SquareLinf(SquareAttack):
    """Square Attack in Linf: each channel of a square moves to one end of its range."""

    name: ClassVar[str] = "square-linf"
    norm: ClassVar[Norm] = LINF

    def place(self, batch: ActiveRows, seed: int) -> Tensor:
        """Vertical stripes, one pixel wide, with each channel at either end of its range."""
        shape = (batch.x.shape[1], 1, batch.x.shape[3])
        stripes = rng.signs(batch.ids, shape, seed=seed, label=f"{self.stream}/stripes", step=batch.run)
        return self.project(batch, batch.originals + batch.radius * stripes)

    def change(self, batch: ActiveRows, sides: Tensor, seed: int) -> Tensor:
        """Algorithm 2: add +-2 eps on the square, then project onto the ball."""
        ticket, channels = self.draw_number(batch), batch.x.shape[1]
        corner = rng.uniform(batch.ids, (2,), seed=seed, label=f"{self.stream}/corner", step=ticket)
        sign = rng.signs(batch.ids, (channels, 1, 1), seed=seed, label=f"{self.stream}/sign", step=ticket)
        mask = _mask(_windows(batch, sides, corner), sides)
        return self.project(batch, batch.x + torch.where(mask, 2 * batch.radius * sign, 0.0))


class SquareL2(SquareAttack):
    """Square Attack in L2: the length of the change moves from one square to another."""

    name: ClassVar[str] = "square-l2"
    norm: ClassVar[Norm] = L2_NORM

    def allowed(self, side: int, limit: int) -> int:
        """An odd side, at least 3 if the image allows it."""
        return min(max(side, 3) | 1, limit - 1 + limit % 2)

    def place(self, batch: ActiveRows, seed: int) -> Tensor:
        """Tiles of a fifth of the image, each a dipole of either sign, scaled to the radius."""
        channels, height, width = batch.x.shape[1:]
        side = max(1, min(height, width) // 5)
        down, across = height // side, width // side
        shape = (channels, down, across)
        signs = rng.signs(batch.ids, shape, seed=seed, label=f"{self.stream}/tiles", step=batch.run)
        tiles = torch.kron(signs, dipole(side).to(signs.device))
        top, left = (height - down * side) // 2, (width - across * side) // 2
        whole = F.pad(tiles, (left, width - across * side - left, top, height - down * side - top))
        return self.project(batch, batch.originals + batch.radius * self.norm.steepest_direction(whole))

    def change(self, batch: ActiveRows, sides: Tensor, seed: int) -> Tensor:
        """Algorithm 3: the change in a second square, and any unused length, move into the first square."""
        ticket, channels = self.draw_number(batch), batch.x.shape[1]
        draw = rng.uniform(batch.ids, (5,), seed=seed, label=f"{self.stream}/corner", step=ticket)
        sign = rng.signs(batch.ids, (channels, 1, 1), seed=seed, label=f"{self.stream}/sign", step=ticket)
        into = _windows(batch, sides, draw[:, :2])
        first, second = _mask(into, sides), _mask(_windows(batch, sides, draw[:, 2:4]), sides)
        delta = batch.x - batch.originals
        unspent = (batch.radius.flatten() ** 2 - self.norm.distance(delta) ** 2).clamp(min=0).view(-1, 1, 1, 1)
        pattern = sign * torch.where(first, self._pattern(into, sides, draw[:, 4] < 0.5), 0.0)
        fresh = pattern + _channelwise(torch.where(first, delta, 0.0))
        held = torch.where(first | second, delta, 0.0).square().sum((2, 3), keepdim=True)
        moved = torch.where(first, _channelwise(fresh) * (held + unspent / channels).sqrt(), 0.0)
        return self.project(batch, batch.originals + torch.where(first | second, moved, delta))

    @staticmethod
    def _pattern(windows: tuple[Tensor, Tensor], sides: Tensor, turned: Tensor) -> Tensor:
        """Dipole of each row, or its transpose, at its window, (B, 1, H, W); arbitrary outside the window."""
        rows, columns = windows
        limit = int(sides.max())
        known = sorted(set(sides.tolist()))
        table = torch.stack([F.pad(dipole(side), (0, limit - side, 0, limit - side)) for side in known])
        which = torch.searchsorted(torch.tensor(known, device=sides.device), sides)[:, None, None]
        down, across = rows.clamp(0, limit - 1)[:, :, None], columns.clamp(0, limit - 1)[:, None, :]
        turn = turned[:, None, None]
        return table.to(sides.device)[which, torch.where(turn, across, down), torch.where(turn, down, across)][:, None]


def _channelwise(values: Tensor) -> Tensor:
    """Every channel of every image scaled to Euclidean length 1; zero stays zero."""
    size = values.square().sum((2, 3), keepdim=True).sqrt()
    return values / size.clamp(min=1e-12)
