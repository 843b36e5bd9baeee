"""Closed forms of the HSV corruptions compared with colorsys, pixel by pixel; images of one channel."""

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.colour_corruption import luma
from robustbench_wb.stressors.corruptions.corruption import Corruption
from tests.stressors.corruptions.pictures import tiles

CASES = [(severity, calibration) for severity in (1, 2, 3, 4, 5) for calibration in (32, 64, 224)]


def build(name: str, severity: int, calibration: int, mode: str = "fixed") -> Any:
    found = parse_stressor(f"{name};severity={severity};calibration={calibration};mode={mode}")
    assert isinstance(found, Corruption)
    return found


def colours() -> Tensor:
    """Pixels of photographs, and the corners, edges and greys of the cube: (1, 3, n, 8)."""
    levels = torch.tensor([0, 1, 127, 255], dtype=torch.uint8)
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 8, 8)
    greys = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 32, 8).expand(-1, 3, -1, -1)
    return torch.cat([cube, greys, tiles(64, 2)[1:].reshape(1, 3, -1, 8)], 2)


def through_hsv(images: Tensor, change: Callable[[float, float], tuple[float, float]]) -> Tensor:
    """Levels, not rounded, after a change of saturation and value."""
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    found = []
    for red, green, blue in pixels:
        hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        found.append(colorsys.hsv_to_rgb(hue, *(min(max(x, 0.0), 1.0) for x in change(saturation, value))))
    shape = (len(images), *images.shape[2:], 3)
    return torch.tensor(found, dtype=torch.float64).view(shape).permute(0, 3, 1, 2) * 255


@pytest.mark.parametrize(("severity", "calibration"), CASES)
def test_brightness_adds_to_the_value(severity: int, calibration: int) -> None:
    corruption, images = build("brightness", severity, calibration), colours()
    shift = corruption.severity_constants((0, 0))
    expected = through_hsv(images, lambda s, v: (s, v + shift))
    found = corruption.perturb(images, torch.zeros(1), 0)
    assert (found - expected).abs().max() < 0.501  # rounded


@pytest.mark.parametrize(("severity", "calibration"), CASES)
def test_saturate_scales_and_shifts_the_saturation(severity: int, calibration: int) -> None:
    corruption, images = build("saturate", severity, calibration), colours()
    scale, shift = corruption.severity_constants((0, 0))
    expected = through_hsv(images, lambda s, v: (s * scale + shift, v))
    found = corruption.perturb(images, torch.zeros(1), 0)
    assert (found - expected).abs().max() < 0.501


def test_the_reference_cuts_off() -> None:
    images = colours()
    for name in ("brightness", "saturate", "fog", "elastic-transform"):
        rounded, cut = (
            build(name, 3, 32, mode=mode).perturb(images, torch.zeros(1), 0) for mode in ("fixed", "reference")
        )
        lost = rounded.int() - cut.int()
        assert set(lost.unique().tolist()) == {0, 1}
        assert 0.3 < lost.float().mean() < 0.6 or name in ("brightness", "saturate")


def test_grey_turns_red() -> None:
    grey = torch.full((1, 3, 8, 8), 100, dtype=torch.uint8)
    found = build("saturate", 5, 32).perturb(grey, torch.zeros(1), 0)
    assert found[0, :, 0, 0].tolist() == [100, 80, 80]


def test_luma_is_that_of_pillow() -> None:
    images = colours()
    expected = np.asarray(Image.fromarray(images[0].permute(1, 2, 0).numpy()).convert("L"))
    assert np.abs(luma(images)[0, 0].numpy().astype(int) - expected).max() <= 1  # Pillow's weights have 16 bits


@pytest.mark.parametrize("name", ["saturate", "spatter", "frost"])
def test_one_channel_comes_back_as_luma(name: str) -> None:
    corruption, ids = build(name, 5, 32), torch.arange(6)
    grey = luma(tiles(32, 6))
    assert torch.equal(corruption.perturb(grey, ids, 0), luma(corruption.perturb(grey.expand(-1, 3, -1, -1), ids, 0)))
