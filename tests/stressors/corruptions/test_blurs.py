"""Blurs compared with scipy and plain loops, with equal draws."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions import glass_blur
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.filters import whole_weights
from robustbench_wb.stressors.corruptions.glass_blur import GlassBlur, Wavefront, move, wavefront
from robustbench_wb.stressors.corruptions.line_blur import motion_blur
from tests.stressors.corruptions import loops
from tests.stressors.corruptions.pictures import tiles

CASES = [(severity, calibration) for severity in (1, 2, 3, 4, 5) for calibration in (32, 224)]
SEED = 3


def build(name: str, severity: int, calibration: int) -> tuple[Any, Any]:
    """The corruption in mode ``reference``, and its constants."""
    found = parse_stressor(f"{name};severity={severity};calibration={calibration};mode=reference")
    assert isinstance(found, Corruption)
    return found, found.severity_constants((0, 0))


def pixels(images: Tensor) -> loops.Image:
    """Values from 0 to 1, (B, H, W, C)."""
    values: loops.Image = images.permute(0, 2, 3, 1).numpy() / 255
    return values


def distance(images: Tensor, expected: NDArray[np.float64]) -> NDArray[np.int64]:
    """Absolute difference in levels."""
    levels: NDArray[np.int64] = loops.levels(expected).astype(np.int64)
    return np.abs(images.permute(0, 2, 3, 1).numpy() - levels)


@pytest.mark.parametrize(("severity", "calibration"), CASES)
@pytest.mark.parametrize("name", ["gaussian-blur", "defocus-blur", "zoom-blur", "motion-blur"])
def test_within_a_level_of_the_formula(name: str, severity: int, calibration: int) -> None:
    images, ids = tiles(80, 8)[:, :, :, :72], torch.arange(8)
    found, numbers = build(name, severity, calibration)
    angles = (rng.uniform(ids, (), seed=SEED, label=name).double() - 0.5) * math.pi / 2
    expected: Callable[[loops.Image, float], loops.Image] = {
        "gaussian-blur": lambda x, angle: loops.gaussian_blur(x, numbers),
        "defocus-blur": lambda x, angle: loops.defocus_blur(x, radius=numbers[0], sigma=numbers[1]),
        "zoom-blur": lambda x, angle: loops.zoom_blur(x, np.arange(1, numbers[0] + numbers[1] / 2, numbers[1])),
        "motion-blur": lambda x, angle: loops.motion_blur(x, angle, radius=numbers[0], sigma=numbers[1]),
    }[name]
    apart = distance(
        found.perturb(images, ids, SEED),
        np.stack([expected(x, angle) for x, angle in zip(pixels(images), angles.tolist(), strict=True)]),
    )
    assert (apart > 0).mean() < 0.12  # where the formula is near a whole number
    if name == "defocus-blur" and numbers[0] >= 8:
        # Only the sum of the kernel equals that of the reference, not its edge: see reference_gain.
        assert (apart > 1).mean() < 1e-4
        assert apart.max() <= 2
    else:
        assert apart.max() <= 1


def test_a_wide_disk_that_is_not_too_bright() -> None:
    images, ids = tiles(80, 8), torch.arange(8)
    for severity, gain in ((4, 1.013), (5, 1.011)):
        found, (radius, sigma) = build("defocus-blur", severity, 224)
        assert loops.defocus_kernel(radius, sigma).sum() == pytest.approx(gain, abs=5e-4)
        fixed = found.model_copy(update={"mode": "fixed"})
        white = torch.full_like(images[:1], 200)
        assert torch.equal(fixed.perturb(white, ids[:1], SEED), white)
        assert int(found.perturb(white, ids[:1], SEED).max()) == int(200 * gain)


@pytest.mark.parametrize("degrees", [-180, -135, -90, -50, -45, 0, 30, 45, 90, 170])
@pytest.mark.parametrize(
    "reach", [(3, 4), (10, 4)], ids=str
)  # radius and sigma: all copies have weight, or only the first ones
def test_motion_in_any_direction(degrees: int, reach: tuple[int, float]) -> None:
    images = tiles(32, 3).float()
    angle = math.radians(degrees)
    radius, sigma = reach
    found = motion_blur(images, torch.full((3,), angle, dtype=torch.float64), radius=radius, sigma=sigma)
    for image, x in zip(found, images, strict=True):
        expected = loops.motion_blur(x.permute(1, 2, 0).double().numpy(), angle, radius=radius, sigma=sigma)
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), expected, atol=0.03)


@given(
    weights=st.lists(st.floats(0, 1), min_size=1, max_size=40).filter(lambda w: sum(w) > 1e-3),
    bits=st.sampled_from([8, 16, 20]),
)
def test_whole_weights_are_whole_sum_to_one_and_are_near(weights: list[float], bits: int) -> None:
    found = whole_weights(np.array(weights), bits)
    assert np.array_equal(found * 2**bits, np.round(found * 2**bits))
    assert found.sum() == 1
    assert np.abs(found - np.array(weights) / sum(weights)).max() < 2.0**-bits * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(3, 14),
    width=st.integers(3, 14),
    reach=st.integers(1, 3),
    reference=st.booleans(),
    draws=st.randoms(use_true_random=False),
)
def test_the_wavefront_is_the_scan(height: int, width: int, reach: int, reference: bool, draws: Any) -> None:
    front = wavefront(height, width, reach, inner=reference)
    top = reach - 1 if reference else reach
    offsets = {
        (cell // width, cell % width): (draws.randint(-reach, top), draws.randint(-reach, top))
        for cell in front.cells.tolist()
    }
    expected = np.arange(height * width).reshape(height, width)
    visited: list[tuple[int, int]] = []

    def offset(h: int, w: int) -> tuple[int, int]:
        visited.append((h, w))
        return offsets[h, w]

    loops.scan(expected, reach, offset, reference=reference)
    places = np.arange(height * width)[:, None]
    moves = np.array([down * width + right for down, right in offsets.values()], np.int64)[:, None]
    move(places, front, moves, swap=not reference)
    assert sorted(visited) == sorted(offsets)
    assert places[:, 0].tolist() == expected.flatten().tolist()
    if not reference:
        assert sorted(places[:, 0].tolist()) == list(range(height * width))  # nothing is lost


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int64]]:
    """By how many cells each cell looks away, (cells, B), in every scan that glass blur makes from now on."""
    seen: list[NDArray[np.int64]] = []

    def watched(places: NDArray[np.int64], front: Wavefront, offsets: NDArray[np.int64], swap: bool) -> None:
        seen.append(offsets)
        move(places, front, offsets, swap=swap)

    monkeypatch.setattr(glass_blur, "move", watched)
    return seen


@pytest.mark.parametrize(("severity", "calibration"), [(3, 32), (5, 32), (1, 224), (5, 224)])
@pytest.mark.parametrize("mode", ["fixed", "reference"])
def test_glass_within_a_level_of_the_scan(
    severity: int, calibration: int, mode: str, moves: list[NDArray[np.int64]]
) -> None:
    images, ids = tiles(32, 4), torch.arange(4)
    found, (sigma, reach, scans) = build("glass-blur", severity, calibration)
    found = found.model_copy(update={"mode": mode})
    assert isinstance(found, GlassBlur)
    front = wavefront(32, 32, reach, inner=mode == "reference")
    perturbed = found.perturb(images, ids, SEED)
    assert len(moves) == scans
    half = 0.5 / 255 if mode == "fixed" else 0
    expected = []
    for row, x in enumerate(pixels(images)):
        out = loops.levels(loops.gaussian_blur(x, sigma) + half)
        for number in range(scans):
            drawn = dict(zip(front.cells.tolist(), moves[number][:, row].tolist(), strict=True))

            def offset(h: int, w: int, drawn: dict[int, int] = drawn) -> tuple[int, int]:
                down = (drawn[h * 32 + w] + reach) // 32
                return down, drawn[h * 32 + w] - 32 * down

            loops.scan(out, reach, offset, reference=mode == "reference")
        expected.append(loops.gaussian_blur(out / 255, sigma) + half)
    apart = distance(perturbed, np.stack(expected))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.03  # a level that the first blur rounds to the other side is passed on


@pytest.mark.parametrize("mode", ["fixed", "reference"])
def test_offsets_are_equally_likely_and_differ_by_scan(mode: str, moves: list[NDArray[np.int64]]) -> None:
    found = parse_stressor(f"glass-blur;severity=4;calibration=224;mode={mode}")
    assert isinstance(found, GlassBlur)
    width = 1000
    found.perturb(torch.zeros(2, 1, 32, width, dtype=torch.uint8), torch.arange(2), 0)
    first, second = map(torch.from_numpy, moves)
    down = torch.div(first + 3, width, rounding_mode="floor")
    right = first - down * width
    choices = range(-3, 4 if mode == "fixed" else 3)
    for drawn in (down, right):
        shares = torch.stack([(drawn == choice).double().mean() for choice in choices])
        assert shares.sum() == pytest.approx(1)
        assert (shares * len(choices) - 1).abs().max() < 0.03
    assert (first == second).double().mean() < 1.5 / len(choices) ** 2


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_glass_pictures_are_as_far_away_as_numpys(severity: int) -> None:
    images = tiles(32, 60)
    found, (sigma, reach, scans) = build("glass-blur", severity, 32)
    ours = found.perturb(images, torch.arange(60), 0).permute(0, 2, 3, 1).double().numpy()
    draw = np.random.default_rng(0)
    clean = pixels(images)
    theirs = np.stack([loops.levels(loops.glass_blur(x, sigma, reach, scans=scans, draw=draw)) for x in clean]).astype(
        float
    )
    errors = [((made - 255 * clean) ** 2).mean() for made in (ours, theirs)]
    assert 10 * math.log10(errors[0] / errors[1]) == pytest.approx(0, abs=0.2)  # dB
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.15)  # levels
