"""Spatter and its steps compared with shortest paths in a graph, labelled regions and plain loops."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import lil_matrix
from scipy.sparse.csgraph import dijkstra

from robustbench_wb import rng
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions import drop_relief
from robustbench_wb.stressors.corruptions.corruption import Corruption
from tests.stressors.corruptions.pictures import tiles

SEED = 3
Levels = NDArray[np.int64]


def walked(edge: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dijkstra's distance from the nearest edge by the moves of a 5 x 5 mask, at most 20."""
    height, width = edge.shape
    graph = lil_matrix((height * width, height * width))
    for y, x in np.ndindex(height, width):
        for i in range(-2, 3):
            for j in range(-2, 3):
                length = {(0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969}.get((min(abs(i), abs(j)), max(abs(i), abs(j))))
                if length and 0 <= y + i < height and 0 <= x + j < width:
                    graph[y * width + x, (y + i) * width + x + j] = length
    starts = np.flatnonzero(edge)
    if not len(starts):
        return np.full(edge.shape, 20.0)
    found = dijkstra(graph.tocsr(), indices=starts).min(0)
    return np.minimum(found, 20).reshape(edge.shape)


@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(3, 26), st.integers(3, 26))
@settings(max_examples=25, deadline=None)
def test_distance_is_the_shortest_path(seed: int, count: int, height: int, width: int) -> None:
    edge = np.zeros((height, width), bool)
    places = np.random.default_rng(seed).integers(0, height * width, count)
    edge.flat[places] = True
    found = drop_relief.distance(edge[None])[0] / drop_relief.UNIT
    assert found == pytest.approx(walked(edge), abs=1e-9)


def canny(image: Levels) -> NDArray[np.bool_]:
    """Canny edges pixel by pixel; strong edges keep the weak ones connected to them."""
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    dx, dy = (ndimage.correlate(image, k, mode="nearest") for k in (kernel, kernel.T))
    strength = np.pad(np.abs(dx) + np.abs(dy), 1)
    crest = np.zeros(image.shape, bool)
    for y, x in np.ndindex(*image.shape):
        angle = np.degrees(np.arctan2(abs(dy[y, x]), abs(dx[y, x])))
        slope = -1 if dx[y, x] * dy[y, x] < 0 else 1
        i, j = (0, 1) if angle < 22.5 else (1, 0) if angle > 67.5 else (1, slope)
        here, before, after = strength[y + 1, x + 1], strength[y + 1 - i, x + 1 - j], strength[y + 1 + i, x + 1 + j]
        crest[y, x] = here > before and (here > after if i and j else here >= after)
    inner = strength[1:-1, 1:-1]
    regions, _ = ndimage.label(crest & (inner > 50), np.ones((3, 3)))
    kept: NDArray[np.bool_] = np.isin(regions, np.unique(regions[crest & (inner > 150)])) & (regions > 0)
    return kept


def equalised(image: Levels) -> Levels:
    """Histogram equalisation: a level becomes the share of pixels at or below it, without those of the lowest level."""
    rest = (image > image.min()).sum()
    if not rest:
        return image
    shares = [((image > image.min()) & (image <= level)).sum() / rest for level in range(image.max() + 1)]
    found: Levels = np.rint(255 * np.array(shares)).astype(int)[image]
    return found


def relief(image: Levels) -> Levels:
    square = np.ones((3, 3), int)
    blurred = ndimage.correlate(np.rint(walked(canny(image)) * 10_000).astype(int), square, mode="mirror") // 90_000
    weights = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    embossed = np.clip(ndimage.correlate(equalised(blurred), weights, mode="mirror"), 0, 255)
    found: Levels = np.rint(ndimage.correlate(embossed, square, mode="mirror") / 9).astype(int)
    return found


def liquid(severity: int, calibration: int, side: int, count: int) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    """The smoothed noise, (count, side, side), and the constants."""
    corruption = build(severity, calibration)
    mean, deviation, sigma, *others = corruption.severity_constants((0, 0))
    draws = rng.normal16(torch.arange(count), (side, side), seed=SEED, label="spatter").double().numpy()
    fields = [mean + deviation * ndimage.gaussian_filter(field, sigma, mode="nearest") for field in draws]
    return np.stack(fields), tuple(others)


def build(severity: int, calibration: int) -> Any:
    found = parse_stressor(f"spatter;severity={severity};calibration={calibration}")
    assert isinstance(found, Corruption)
    return found


@pytest.mark.parametrize(("severity", "calibration"), [(1, 32), (2, 32), (3, 32), (1, 224), (3, 224)])
def test_the_relief_of_water_is_the_loop(severity: int, calibration: int) -> None:
    fields, (threshold, *_) = liquid(severity, calibration, side=28, count=3)
    levels = (255 * np.where(fields < threshold, 0, fields)).clip(0, 255).astype(np.uint8)
    found = drop_relief.relief(torch.from_numpy(levels)).numpy()
    for image, result in zip(levels.astype(int), found, strict=True):
        assert np.array_equal(result, relief(image))


@pytest.mark.parametrize("level", [0, 200])
def test_no_drop_has_no_relief(level: int) -> None:
    flat = torch.full((1, 9, 9), level, dtype=torch.uint8)
    assert drop_relief.relief(flat).unique().tolist() == [
        drop_relief.REACH
    ]  # no edge anywhere: the largest distance everywhere


@pytest.mark.parametrize(("severity", "calibration"), [(1, 32), (3, 224)])
def test_water_adds_its_colour(severity: int, calibration: int) -> None:
    images, (fields, (threshold, strength, _)) = tiles(28, 3), liquid(severity, calibration, side=28, count=3)
    found = build(severity, calibration).perturb(images, torch.arange(3), SEED).numpy()
    for image, field, result in zip(images.numpy(), fields, found, strict=True):
        drop = np.where(field < threshold, 0, field)
        mask = drop * relief((255 * drop).clip(0, 255).astype(np.uint8).astype(int))
        expected = image + mask / mask.max() * strength * np.array([175, 238, 238])[:, None, None]
        assert np.abs(result - expected.clip(0, 255)).max() < 0.51


@pytest.mark.parametrize(("severity", "calibration"), [(4, 32), (5, 32), (4, 64), (4, 224), (5, 224)])
def test_mud_replaces_the_image(severity: int, calibration: int) -> None:
    images, (fields, (threshold, sigma, _)) = tiles(28, 3), liquid(severity, calibration, side=28, count=3)
    found = build(severity, calibration).perturb(images, torch.arange(3), SEED).numpy()
    for image, field, result in zip(images.numpy(), fields, found, strict=True):
        mask = ndimage.gaussian_filter((field > threshold).astype(float), sigma, mode="nearest")
        mask[mask < 0.8] = 0
        expected = image * (1 - mask) + np.array([63, 42, 20])[:, None, None] * mask
        assert np.abs(result - expected).max() < 0.51
