"""Attacks on few pixels and on one square: compared with all perturbations of small images that there are."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.norms import Norm
from robustbench_wb.stressors.attacks.pixel_bounds import L0_NORM, PATCH_NORM
from robustbench_wb.stressors.catalogue import parse_stressor
from tests.known import known
from tests.stressors.attacked_batch import AttackedBatch, attacked_batch

SIDE = 4
COUNT = 40


class Linear(nn.Module):
    """A linear model on images of two channels and 4x4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.randn(2, 2 * SIDE**2, generator=torch.Generator().manual_seed(5))

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T


def linear_batch() -> AttackedBatch:
    """Random images with the labels that the model predicts, near the boundary at first and ever further away."""
    model = Linear()
    draw = torch.rand(COUNT, 2, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    toward = (model.weight[0] - model.weight[1]).sign().view(2, SIDE, SIDE)
    images = 0.5 + torch.linspace(-0.5, 0.5, COUNT).view(-1, 1, 1, 1) * draw * toward
    labels = model(images).argmax(1)
    return attacked_batch(model, inputs=images, labels=labels, ids=torch.arange(COUNT) + 3, batch_size=16)


def largest_gains(batch: AttackedBatch) -> tuple[Tensor, Tensor]:
    """Margin loss of each clean image (N,), and how far the values 0 and 1 can raise it at each pixel (N, H, W)."""
    weight = Linear().weight
    direction = (weight[1 - batch.labels] - weight[batch.labels]).view_as(batch.inputs)
    logits = batch.access.model(batch.inputs)
    clean = logits.gather(1, 1 - batch.labels[:, None]) - logits.gather(1, batch.labels[:, None])
    gain = torch.maximum(direction * (1 - batch.inputs), -direction * batch.inputs)
    return clean[:, 0], gain.sum(1)


@pytest.mark.slow(5)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_sparse_rs_breaks_what_so_few_pixels_can_break(count: int) -> None:
    batch = linear_batch()
    clean, gain = largest_gains(batch)
    possible = (clean + gain.flatten(1).topk(count, dim=1).values.sum(1)).numpy() > 0
    assert 0 < possible.sum() < COUNT
    found = parse_stressor(f"sparse-rs-l0;eps={count};queries=3000").apply(batch, batch.access)
    assert (known(found.broken) == possible).all()
    changed = (found.inputs != batch.inputs).any(1).flatten(1).sum(1)
    assert int(changed.max()) == count
    values = found.inputs[found.inputs != batch.inputs]
    assert set(values.tolist()) == {0.0, 1.0}


def test_sparse_rs_may_change_every_pixel_but_no_more() -> None:
    batch = linear_batch()
    found = parse_stressor(f"sparse-rs-l0;eps={SIDE**2};queries=500").apply(batch, batch.access)
    assert known(found.broken).all()
    with pytest.raises(MeasurementError, match="eps=17 pixels, but an image has 16"):
        parse_stressor("sparse-rs-l0;eps=17").apply(batch, batch.access)


@pytest.mark.parametrize(("side", "grid"), [(2, (0, 2)), (3, (0, 1)), (4, (0,))])
def test_patches_break_what_a_square_of_the_grid_can_break(side: int, grid: tuple[int, ...]) -> None:
    batch = linear_batch()
    clean, gain = largest_gains(batch)
    squares = [gain[:, top : top + side, left : left + side].sum((1, 2)) for top in grid for left in grid]
    possible = (clean + torch.stack(squares).amax(0)).numpy() > 0
    assert side > 2 or 0 < possible.sum() < COUNT
    found = parse_stressor(f"patch;eps={side};places={len(squares)};steps=20").apply(batch, batch.access)
    assert (known(found.broken) == possible).all()
    assert float(PATCH_NORM.distance(found.inputs - batch.inputs).max()) <= side
    with pytest.raises(MeasurementError, match="a square of eps=5 pixels does not fit into 4x4"):
        parse_stressor("patch;eps=5").apply(batch, batch.access)


def test_the_most_salient_place_comes_first() -> None:
    batch = linear_batch()
    found = parse_stressor("patch;eps=2;places=1;steps=20").apply(batch, batch.access)
    weight = Linear().weight
    salience = (
        (weight[0] - weight[1]).abs().view(2, 2, 2, 2, 2).sum((0, 2, 4))
    )  # channel, row, in row, column, in column
    top, left = divmod(int(salience.argmax()), 2)
    changed = (found.inputs != batch.inputs).any(1)
    outside = changed.clone()
    outside[:, 2 * top : 2 * top + 2, 2 * left : 2 * left + 2] = False
    assert bool(changed.any())
    assert not bool(outside.any())


def nearest(delta: Tensor, kept: list[Tensor]) -> float:
    """Smallest squared distance to the perturbation that keeps only the pixels of one of some masks (H, W)."""
    return min(float((delta * ~mask).square().sum()) for mask in kept)


@pytest.mark.parametrize(("norm", "radius"), [(L0_NORM, 1), (L0_NORM, 3), (PATCH_NORM, 1), (PATCH_NORM, 2)])
def test_projections_are_the_nearest_of_all(norm: Norm, radius: int) -> None:
    deltas = torch.randn(20, 2, 3, 3, generator=torch.Generator().manual_seed(radius))
    places = range(9)
    if norm is L0_NORM:
        chosen = list(combinations(places, radius))
    else:
        corners = [(top, left) for top in range(4 - radius) for left in range(4 - radius)]
        chosen = [
            tuple(3 * (top + i) + left + j for i in range(radius) for j in range(radius)) for top, left in corners
        ]
    masks = [torch.isin(torch.arange(9), torch.tensor(one)).view(3, 3) for one in chosen]
    projected = norm.project(deltas, torch.full((20, 1, 1, 1), float(radius)))
    assert float(norm.distance(projected).max()) <= radius
    for delta, near in zip(deltas, projected, strict=True):
        assert float((delta - near).square().sum()) == pytest.approx(nearest(delta, masks), abs=1e-6)


@pytest.mark.parametrize("norm", [L0_NORM, PATCH_NORM])
def test_units_are_one_pixel(norm: Norm) -> None:
    gradient = torch.randn(6, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    steep = norm.steepest_direction(gradient)
    rise = (steep * gradient).flatten(1).sum(1)
    assert torch.allclose(rise, gradient.abs().sum(1).flatten(1).amax(1))
    drawn = norm.uniform_in_ball(torch.arange(6), (2, 3, 5), seed=0, label="x", step=0)
    for one in (steep, drawn):
        assert norm.distance(one).tolist() == [1.0] * 6
    assert norm.distance(torch.zeros_like(gradient)).tolist() == [0.0] * 6


@pytest.mark.parametrize("name", ["sparse-rs-l0", "patch"])
def test_strengths_are_whole_numbers(name: str) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        parse_stressor(f"{name};eps=3/2")


def test_samples_do_not_depend_on_their_batch() -> None:
    batch = linear_batch()
    for signature in ("sparse-rs-l0;eps=2;queries=50", "patch;eps=2;steps=3;places=2"):
        whole = parse_stressor(signature).apply(batch, batch.access)
        half = attacked_batch(
            batch.access.model, inputs=batch.inputs[::2], labels=batch.labels[::2], ids=batch.ids[::2], batch_size=5
        )
        part = parse_stressor(signature).apply(half, half.access)
        assert torch.equal(whole.inputs[::2], part.inputs)
        assert np.array_equal(known(whole.broken)[::2], known(part.broken))
