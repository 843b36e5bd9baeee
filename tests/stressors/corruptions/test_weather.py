"""Fog and snow compared with plain loops for equal draws; frost compared with every window of its textures."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from robustbench_wb import rng
from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.frost_textures import textures
from tests.stressors.corruptions import loops
from tests.stressors.corruptions.pictures import tiles

SEED = 3
CASES = [(severity, calibration) for severity in (1, 2, 3, 4, 5) for calibration in (32, 64, 224)]


def build(name: str, severity: int, calibration: int, mode: str = "fixed") -> Any:
    found = parse_stressor(f"{name};severity={severity};calibration={calibration};mode={mode}")
    assert isinstance(found, Corruption)
    return found


def diamond_square(draws: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Diamond-square noise on a torus, point by point."""
    n = len(draws)
    heights = np.zeros((n, n))
    step, wibble = n, 100.0
    while step > 1:
        half = step // 2
        for y in range(half, n, step):
            for x in range(half, n, step):
                corners = [heights[(y + i) % n, (x + j) % n] for i in (-half, half) for j in (-half, half)]
                heights[y, x] = sum(corners) / 4 + wibble**2 * draws[y, x]
        for y in range(0, n, half):
            for x in range((y + half) % step, n, step):
                near = [heights[(y + i) % n, (x + j) % n] for i, j in ((-half, 0), (half, 0), (0, -half), (0, half))]
                heights[y, x] = sum(near) / 4 + wibble**2 * draws[y, x]
        step, wibble = half, wibble / decay
    return (heights - heights.min()) / np.ptp(heights)


@pytest.mark.parametrize(("severity", "calibration"), CASES)
def test_fog_is_the_loop(severity: int, calibration: int) -> None:
    corruption, ids = build("fog", severity, calibration), torch.arange(2)
    images = tiles(64, 2)[:, :, :31, :33].contiguous() // 2  # not white anywhere
    strength, decay = corruption.severity_constants((0, 0))
    draws = 2 * rng.uniform(ids, (64, 64), seed=SEED, label="fog").double().numpy() - 1
    found = corruption.perturb(images, ids, SEED)
    for image, field, result in zip(images.numpy() / 255, draws, found.numpy(), strict=True):
        cloud = diamond_square(field, decay)[:31, :33]
        expected = (image + strength * cloud) * image.max() / (image.max() + strength)
        assert np.abs(result - np.clip(expected, 0, 1) * 255).max() < 0.501


def snow(image: NDArray[np.float64], draws: NDArray[np.float64], angle: float, setting: Any) -> NDArray[np.float64]:
    """Snow on one image (H, W, 3) from 0 to 1, by scipy's zoom and the loop of motion blur."""
    mean, deviation, zoom, threshold, radius, sigma, share = setting
    layer = ndimage.zoom(mean + deviation * draws, zoom, order=1)
    height, width = image.shape[:2]
    top, left = (layer.shape[0] - height) // 2, (layer.shape[1] - width) // 2
    layer = layer[top : top + height, left : left + width]
    layer[layer < threshold] = 0
    layer = np.floor(np.clip(layer, 0, 1) * 255) / 255
    layer = loops.motion_blur(layer[:, :, None], angle, radius=radius, sigma=sigma)
    grey = image @ [0.299, 0.587, 0.114]
    pale = np.maximum(image, grey[:, :, None] * 1.5 + 0.5)
    return share * image + (1 - share) * pale + layer + np.rot90(layer, 2)


@pytest.mark.parametrize("size", [(32, 32), (33, 48)])
@pytest.mark.parametrize(("severity", "calibration"), CASES)
def test_snow_is_the_loop(size: tuple[int, int], severity: int, calibration: int) -> None:
    corruption, ids = build("snow", severity, calibration, mode="reference"), torch.arange(4)
    images = tiles(64, 4)[:, :, : size[0], : size[1]].contiguous()
    zoom = corruption.severity_constants((0, 0))[2]
    draws = rng.normal16(ids, tuple(math.ceil(side / zoom) for side in size), seed=SEED, label="snow").double().numpy()
    angles = np.deg2rad(-45 - 90 * rng.uniform(ids, (), seed=SEED, label="snow", step=1).double().numpy())
    found = corruption.perturb(images, ids, SEED).permute(0, 2, 3, 1).numpy()
    for image, field, angle, result in zip(images.permute(0, 2, 3, 1).numpy() / 255, draws, angles, found, strict=True):
        expected = loops.levels(snow(image, field, float(angle), setting=corruption.severity_constants((0, 0)))).astype(
            int
        )
        assert np.abs(result - expected).max() <= 1


def pictures(folder: Path) -> list[NDArray[np.uint8]]:
    """Six textures of 12 x 14 pixels whose pixels all differ."""
    numbers = np.arange(6 * 12 * 14).reshape(6, 12, 14)
    found = np.stack([numbers % 251, numbers // 251 * 40, numbers % 7], 3).astype(np.uint8)
    for number, texture in enumerate(found):
        Image.fromarray(texture).save(folder / f"{number}.png")
    return list(found)


@pytest.mark.parametrize("mode", ["fixed", "reference"])
def test_frost_takes_every_window_once_in_a_while(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each result is one window; together they are all windows, or all that the reference can reach."""
    own = pictures(tmp_path)
    monkeypatch.setenv("RBWB_FROST_DIR", str(tmp_path))
    black = torch.zeros(3000, 3, 9, 10, dtype=torch.uint8)
    corruption = build("frost", 5, 224, mode=mode)
    found = corruption.perturb(black, torch.arange(3000), SEED).permute(0, 2, 3, 1).numpy()
    missed = int(mode == "reference")
    expected = {
        (number, y, x): np.floor(texture[y : y + 9, x : x + 10] * 0.75 + (0.5 if not missed else 0)).astype(np.uint8)
        for number, texture in enumerate(own[: 6 - missed])
        for y in range(4 - missed)
        for x in range(5 - missed)
    }
    names = {window.tobytes(): place for place, window in expected.items()}
    counts: dict[tuple[int, int, int], int] = {}
    for result in found:
        place = names[result.tobytes()]
        counts[place] = counts.get(place, 0) + 1
    assert counts.keys() == expected.keys()
    share = 3000 / len(expected)
    assert sum((count - share) ** 2 / share for count in counts.values()) < 1.5 * len(expected)  # chi square, p ~ 0.001


def test_severities_share_a_window() -> None:
    black, ids = torch.zeros(50, 3, 32, 32, dtype=torch.uint8), torch.arange(50)
    light, heavy = (build("frost", severity, 32).perturb(black, ids, SEED).float() for severity in (1, 2))
    assert (light / 0.2 - heavy / 0.3).abs().max() < 0.5 / 0.2 + 0.5 / 0.3 + 1e-3


@pytest.mark.parametrize("scale", [0.2, 0.3])
def test_grown_ice_is_as_bright_as_the_photographs(scale: float) -> None:
    """CIFAR-C: frost of severity 1 adds 0.2 of a texture, a shift of 30 levels at a PSNR of 18.0 dB."""
    ice = textures(scale, 33)
    assert len({texture.numpy().tobytes() for texture in ice}) == len(ice) == 6
    levels = 0.2 * torch.stack(list(ice)).double()
    assert float(levels.mean()) == pytest.approx(30, abs=2)
    assert 20 * math.log10(255 / float(levels.square().mean().sqrt())) == pytest.approx(18.0, abs=0.5)


def test_own_textures_are_part_of_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frost = build("frost", 1, 32)
    grown = frost.code()
    pictures(tmp_path)
    monkeypatch.setenv("RBWB_FROST_DIR", str(tmp_path))
    first = frost.code()
    Image.new("RGB", (12, 14)).save(tmp_path / "0.png")
    assert len({grown, first, frost.code()}) == 3
    large = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    assert frost.perturb(large, torch.arange(2), SEED).shape == large.shape  # textures are enlarged


def test_a_folder_without_pictures_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBWB_FROST_DIR", str(tmp_path))
    frost, black = build("frost", 1, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(UsageError, match="contains no images"):
        frost.code()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"broken\.png"):
        frost.perturb(black, torch.arange(1), SEED)
