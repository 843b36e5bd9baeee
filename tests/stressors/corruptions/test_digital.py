"""Elastic transform compared with scipy for equal draws; pixelate and JPEG compared with Pillow, image by image."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.elastic import affine
from robustbench_wb.stressors.corruptions.filters import Border
from robustbench_wb.stressors.corruptions.smoothing import smooth
from tests.stressors.corruptions.pictures import tiles

SEED = 3


def build(name: str, severity: int, calibration: int) -> Any:
    found = parse_stressor(f"{name};severity={severity};calibration={calibration}")
    assert isinstance(found, Corruption)
    return found


def pillow(images: Tensor, scale: float) -> list[NDArray[np.uint8]]:
    """Each image shrunk and enlarged again by a box filter, rows first."""
    found = []
    for image in images:
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        width, height = (max(1, int(side * scale)) for side in picture.size)
        box = Image.Resampling.BOX
        small = picture.resize((width, picture.height), box).resize((width, height), box)
        found.append(np.asarray(small.resize(picture.size, box)).transpose(2, 0, 1))
    return found


def assert_pixelate_is_pillow(images: Tensor, severity: int, calibration: int) -> None:
    corruption = build("pixelate", severity, calibration)
    expected = np.stack(pillow(images, corruption.severity_constants((0, 0))))
    assert np.array_equal(corruption.perturb(images, torch.zeros(len(images)), 0).numpy(), expected)


@given(st.integers(8, 70), st.integers(8, 70), st.integers(1, 5), st.sampled_from([32, 64, 224]))
@settings(max_examples=60, deadline=None)
def test_pixelate_is_pillow(height: int, width: int, severity: int, calibration: int) -> None:
    assert_pixelate_is_pillow(tiles(70, 3)[:, :, :height, :width].contiguous(), severity, calibration)


@pytest.mark.parametrize("size", [(224, 224), (224, 90), (90, 224), (127, 129), (128, 128)], ids=str)
@pytest.mark.parametrize("severity", [1, 3])
def test_pixelate_of_large_images_is_pillow(size: tuple[int, int], severity: int) -> None:
    images = tiles(224, 2)[:, :, : size[0], : size[1]].contiguous()
    assert_pixelate_is_pillow(images, severity, 224)
    grey = images[:, :1].contiguous()
    found = build("pixelate", severity, 224).perturb(grey, torch.zeros(2), 0)
    assert np.array_equal(found.numpy(), np.stack(pillow(grey.expand(-1, 3, -1, -1), (0.6, 0.4)[severity // 2]))[:, :1])


@pytest.mark.parametrize("size", [(32, 32), (33, 31), (224, 160)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("severity", "calibration", "quality"), [(1, 32, 80), (3, 64, 50), (4, 224, 10), (5, 224, 7)])
def test_jpeg_is_pillow(size: tuple[int, int], channels: int, *, severity: int, calibration: int, quality: int) -> None:
    corruption = build("jpeg-compression", severity, calibration)
    images = tiles(224, 2)[:, :channels, : size[0], : size[1]].contiguous()
    found = corruption.perturb(images, torch.zeros(2), 0).permute(0, 2, 3, 1).numpy()
    for image, decoded in zip(images, found, strict=True):
        file = BytesIO()
        picture = image.permute(1, 2, 0).numpy()
        Image.fromarray(picture if channels == 3 else picture[:, :, 0]).save(file, "JPEG", quality=quality)
        assert np.array_equal(np.asarray(Image.open(file)).reshape(decoded.shape), decoded)


@pytest.mark.parametrize(("border", "truncate"), [("reflect", 3.0), ("nearest", 4.0), ("mirror", 4.0)])
@pytest.mark.parametrize("sigma", [0.3, 0.96, 6.4, 40.0])
def test_smoothing_is_that_of_scipy(border: Border, truncate: float, sigma: float) -> None:
    fields = rng.normal(torch.arange(3), (31, 44), seed=SEED, label="fields")
    expected = [gaussian_filter(field, sigma, mode=border, truncate=truncate) for field in fields.double().numpy()]
    assert np.abs(smooth(fields, sigma, border=border, truncate=truncate).numpy() - expected).max() < 3e-5


def test_three_points_go_where_they_are_moved() -> None:
    """The pixel at the new position of a point comes from its old position."""
    moves = torch.tensor([[[1.5, -2.0], [0.25, 3.0], [-4.0, 1.0]]])
    x, y = affine(moves, 41, 60)
    points = [(43, 33), (43, 7), (17, 7)]
    for (px, py), (dx, dy) in zip(points, moves[0].tolist(), strict=True):
        at = [[py + dy], [px + dx]]  # the maps are linear: bilinear values of them are exact
        assert map_coordinates(x[0].numpy(), at, order=1) == pytest.approx(px, abs=1e-4)
        assert map_coordinates(y[0].numpy(), at, order=1) == pytest.approx(py, abs=1e-4)


def elastic(image: NDArray[np.float64], jitter: Tensor, noise: Tensor, alpha: float, sigma: float) -> NDArray[np.int64]:
    """Elastic transform of one image (C, H, W) by a system of equations and scipy."""
    height, width = image.shape[1:]
    reach, centre = min(height, width) // 3, np.array([width // 2, height // 2])
    start = np.array([centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach], float)
    moved = np.c_[start + jitter.double().numpy(), np.ones(3)]
    back = np.linalg.solve(moved, start)
    rows, columns = np.indices((height, width)).astype(float)
    x, y = np.moveaxis(np.stack([columns, rows, np.ones_like(rows)], -1) @ back, -1, 0)
    image = np.stack([map_coordinates(channel, [y, x], order=1, mode="mirror") for channel in image])
    if alpha:
        dx, dy = (alpha * gaussian_filter(field, sigma, mode="reflect", truncate=3) for field in noise.double().numpy())
        at = [rows + dy, columns + dx]
        image = np.stack([map_coordinates(channel, at, order=1, mode="reflect") for channel in image])
    return np.floor(np.clip(image, 0, 255) + 0.5).astype(np.int64)


@pytest.mark.parametrize("size", [(32, 32), (33, 48)])
@pytest.mark.parametrize(("severity", "calibration"), [(s, c) for s in (1, 2, 3, 5) for c in (32, 64, 224)])
def test_elastic_is_that_of_scipy(size: tuple[int, int], severity: int, calibration: int) -> None:
    images, ids, side = tiles(64, 6)[:, :, : size[0], : size[1]].contiguous(), torch.arange(6), min(size)
    corruption = build("elastic-transform", severity, calibration)
    alpha, sigma, jitter = (side * part for part in corruption.severity_constants((0, 0)))
    moves = (2 * rng.uniform(ids, (3, 2), seed=SEED, label=corruption.name) - 1) * jitter
    noise = (2 * rng.uniform16(ids, (2, *size), seed=SEED, label=corruption.name, step=1) + 1) / rng.CODES - 1
    found = corruption.perturb(images, ids, SEED).numpy().astype(int)
    for image, shaken, field, result in zip(images.double().numpy(), moves, noise, found, strict=True):
        assert np.abs(result - elastic(image, shaken, field, alpha=alpha, sigma=sigma)).max() <= 1


def test_the_constants_are_the_published_pixels() -> None:
    """make_cifar_c: (1.6, 6.4, 2.24) at 32 pixels; make_imagenet_c: 244 times (2, 0.7, 0.1) at 224."""
    for (severity, calibration), pixels in {(2, 32): (1.6, 6.4, 2.24), (1, 224): (488, 170.8, 24.4)}.items():
        parts = build("elastic-transform", severity, calibration).severity_constants((0, 0))
        assert np.multiply(parts, calibration) == pytest.approx(pixels)
