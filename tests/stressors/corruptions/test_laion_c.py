"""The distortions of LAION-C compared with Pillow and with plain loops, for equal draws."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.geometric_shapes import SIZES
from robustbench_wb.stressors.corruptions.photo_textures import photo_textures
from robustbench_wb.stressors.corruptions.shape_masks import shape_masks
from tests.stressors.corruptions.pictures import tiles

SEED = 3
IDS = torch.tensor([4, 9])


def corrupted(name: str, images: Tensor, numbers: str) -> NDArray[np.uint8]:
    corruption = parse_stressor(f"{name};{numbers}")
    assert isinstance(corruption, Corruption)
    found: NDArray[np.uint8] = corruption.perturb(images, IDS, SEED).permute(0, 2, 3, 1).numpy()
    return found


def draws(name: str, shape: tuple[int, ...], step: int = 0) -> NDArray[np.float32]:
    found: NDArray[np.float32] = rng.uniform(IDS, shape, seed=SEED, label=name, step=step).numpy()
    return found


def lines_by_pillow(image: NDArray[np.uint8], lines: int, step: int) -> NDArray[np.uint8]:
    """Vertical lines drawn one after the other by Pillow, cell by cell."""
    picture = Image.fromarray(image)
    grey, drawn = np.asarray(picture.convert("L")), Image.new("RGB", picture.size)
    draw, (width, height) = ImageDraw.Draw(drawn), picture.size
    for number in range(lines):
        left = number / lines * width
        columns = slice(int(left), min(int(left + width / lines), width))
        before = (left, 0.0)
        for top in range(0, height, step):
            cell = image[top : top + step, columns].reshape(-1, 3).astype(int)
            brightness = int(grey[top : top + step, columns].astype(int).sum()) // len(cell)
            here = (left + (1 - brightness / 255) * -(40 * width / 224), float(top))
            draw.line((*before, *here), fill=tuple(cell.sum(0) // len(cell)))
            before = here
    return np.asarray(drawn)


@pytest.mark.parametrize(("side", "severity", "lines", "step"), [(224, 2, 178, 2), (224, 5, 60, 8), (56, 3, 28, 1)])
def test_vertical_lines_are_those_of_pillow(side: int, severity: int, lines: int, step: int) -> None:
    images = tiles(side, 2)
    found = corrupted("vertical-lines", images, f"severity={severity}")
    for image, result in zip(images.permute(0, 2, 3, 1).numpy(), found, strict=True):
        assert np.array_equal(result, lines_by_pillow(image, lines, step))


def shapes_by_pillow(image: NDArray[np.uint8], numbers: NDArray[np.float32], count: int) -> NDArray[np.uint8]:
    """Shapes drawn one after the other by Pillow, on an image of 224 x 224 pixels."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for one in numbers[:count]:
        kind, y, x, size, turn = (int(part) for part in one[:5] * np.array([4, 224, 224, 10, 360], np.float32))
        size, colour = 6 + size, tuple(int(part) for part in one[5:] * 256)
        if kind == 0:
            draw.polygon([(x, y), (x + size, y), (x + size / 2, y + size)], fill=colour)
        elif kind == 1:
            draw.rectangle((x, y, x + size, y + size), fill=colour)
        elif kind == 2:
            draw.ellipse((x, y, x + size, y + size), fill=colour)
        else:
            angles = np.deg2rad(36 * np.arange(10) + turn)
            radii = np.where(np.arange(10) % 2, size / 2.4, size / 1.2)
            corners = zip(x + radii * np.sin(angles), y + radii * np.cos(angles), strict=True)
            draw.polygon([(float(a), float(b)) for a, b in corners], fill=colour)
    return np.asarray(picture)


@pytest.mark.parametrize(("severity", "count"), [(1, 150), (5, 1000)])
def test_shapes_are_those_of_pillow(severity: int, count: int) -> None:
    """Equal but for the edges of some stars, whose corners Pillow rounds by their place: 0.13 % at most."""
    images = tiles(224, 2)
    found = corrupted("geometric-shapes", images, f"severity={severity}")
    numbers = draws("geometric-shapes", (count, 8))
    for image, some, result in zip(images.permute(0, 2, 3, 1).numpy(), numbers, found, strict=True):
        differ = (result != shapes_by_pillow(image, some, count)).any(2)
        assert differ.mean() < 0.0015


def test_shapes_cover_the_same_share_of_small_images() -> None:
    black = torch.zeros((2, 3, 224, 224), dtype=torch.uint8)
    for severity in (1, 3):
        large = (corrupted("geometric-shapes", black, f"severity={severity}") > 0).any(3).mean()
        small = (corrupted("geometric-shapes", black[..., :32, :32], f"severity={severity}") > 0).any(3).mean()
        assert small == pytest.approx(large, abs=0.06)


def test_areas_of_shapes_are_those_of_geometry() -> None:
    masks = shape_masks(SIZES)
    squares = masks.counts[len(SIZES) : 2 * len(SIZES)].tolist()
    assert squares == [(size + 1) ** 2 for size in SIZES]  # Pillow's rectangles include both ends


def glitched_by_loop(image: NDArray[np.uint8], number: int, level: int) -> NDArray[np.uint8]:
    """Glitch of an image of 224 x 224 pixels, chunk by chunk, copied from the input as in the package glitch_this."""
    height, width, channels = image.shape
    found, most = image.copy(), int(level**2 / 100 * width)
    for shift, first, tall in draws("glitched", (20, 3))[number][: 2 * level]:
        offset, top = int(shift * np.float32(2 * most + 1)) - most, int(first * np.float32(height + 1))
        if offset:
            rows = slice(top, min(top + 1 + int(tall * np.float32(height // 4)), height))
            found[rows] = np.roll(image[rows], offset, 1)
    right, down, channel = draws("glitched", (3,), 1)[number]
    dx, dy = (int(part * np.float32(4 * level + 1)) - 2 * level for part in (right, down))
    which = int(channel * np.float32(channels))
    moved = np.roll(image[..., which], dy, 0)
    moved[dy % height] = np.roll(image[0, :, which], dx)
    found[..., which] = moved
    found[::2] = 0
    return found


@pytest.mark.parametrize(("severity", "level"), [(1, 2), (4, 8), (5, 10)])
def test_glitch_is_the_loop(severity: int, level: int) -> None:
    images = tiles(224, 2)
    found = corrupted("glitched", images, f"severity={severity}")
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        assert np.array_equal(found[number], glitched_by_loop(image, number, level))


def test_checkerboard_is_the_loop() -> None:
    images = tiles(64, 2)[:, :, :46, :61].contiguous()
    amounts = 50 + 50 * draws("luminance-checkerboard", (16, 21))
    found = corrupted("luminance-checkerboard", images, "severity=2;mode=reference")
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy().astype(float)):
        for y in range(46):
            for x in range(61):
                sign = (-1) ** (y // 3 + x // 3)
                expected = np.clip(image[y, x] + sign * float(amounts[number, y // 3, x // 3]), 0, 255)
                assert np.abs(found[number, y, x] - np.floor(expected)).max() <= 1


@pytest.mark.parametrize("severity", [1, 5])
def test_mosaic_keeps_the_mean_of_each_square(severity: int) -> None:
    images, side = tiles(224, 2), {1: 4, 5: 28}[severity]
    found = corrupted("mosaic", images, f"severity={severity}").astype(float)

    def means(pictures: Any) -> Any:
        return pictures.reshape(2, 224 // side, side, 224 // side, side, 3).mean((2, 4))

    assert np.abs(means(found) - means(images.permute(0, 2, 3, 1).numpy().astype(float))).max() < 0.5
    assert not np.array_equal(means(found), found[:, ::side, ::side])


@pytest.mark.parametrize("side", [32, 224])
def test_stickers_cover_as_much_as_independent_ones(side: int) -> None:
    """A pixel stays clear of n stickers with the probability (1 - p)^n, where p is its share of their places."""
    images = torch.full((2, 1, side, side), 7, dtype=torch.uint8)
    width, count = {224: (16, 200), 32: (4, 65)}[side]
    found = corrupted("stickers", images, "severity=2")[..., 0]
    places = side - width
    starts = np.array([min(x, places - 1) - max(0, x - width + 1) + 1 if x < side - 1 else 0 for x in range(side)])
    clear = (1 - np.outer(starts, starts).clip(0) / places**2) ** count
    seen = (found == 7).mean()
    assert seen == pytest.approx(clear.mean(), abs=0.05)


def test_textures_are_different_pictures_of_mean_zero() -> None:
    for side in (2, 16, 28):
        textures = photo_textures(side)
        assert float(textures.abs().max()) <= 1
        assert float(textures.mean((2, 3)).abs().max()) < 1e-6
        assert len({texture.numpy().tobytes() for texture in textures}) == len(textures)
    steps = photo_textures(28).diff(dim=3).square().mean() / (2 * photo_textures(28).square().mean())
    assert float(steps) < 0.2  # neighbours go together; in white noise this is 1
