"""The corruptions of ImageNet-C-bar compared with plain loops over pixels, for equal draws."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from robustbench_wb.stressors.corruptions.tabulated import cosine, direction, power, sine
from tests.stressors.corruptions.pictures import tiles

SEED = 3
IDS = torch.tensor([4, 17])
Image = NDArray[np.float64]
Loop = Callable[[Image, int, float], Image]
"""From an image (H, W, C) on the scale 0..255, its number, and a constant, to the corrupted image."""


def draws(name: str, shape: tuple[int, ...], step: int = 0) -> Any:
    return rng.uniform(IDS, shape, seed=SEED, label=name, step=step).double().numpy()


def by_pixel(image: Image, value: Callable[[int, int], Any]) -> Image:
    """Image (H, W, 1 or C) of the values at each row and column."""
    rows, columns = range(image.shape[0]), range(image.shape[1])
    return np.array([[np.atleast_1d(value(y, x)) for x in columns] for y in rows])


def single_frequency(image: Image, number: int, c: float) -> Image:
    first, second, order, phase = draws("single-frequency-greyscale", (4,))[number]
    large = (2 * first - 1) * math.pi
    pair = (large, (2 * second - 1) * abs(large))
    u, v = pair if order < 0.5 else pair[::-1]
    return image + 19.6 * c * by_pixel(image, lambda y, x: math.sin(u * x + v * y + math.tau * phase))


def cocentric(image: Image, number: int, c: float) -> Image:
    x0, y0, f, a, w = draws("cocentric-sine-waves", (5,))[number]
    height, width = image.shape[:2]
    side = min(height, width)
    f, a, w = 10 * f, a * side / 10, w * side / 10

    def ring(y: int, x: int) -> float:
        right, down = x - x0 * width, y - y0 * height
        return (math.hypot(right, down) + a * math.sin(f * math.atan2(right, down))) % w / w - 0.5

    return image + 12.8 * c * by_pixel(image, ring)


def plasma(image: Image, number: int, c: float) -> Image:
    time, folds, sharp, scale = draws("plasma-noise", (4,))[number]
    time, sharp, scale = 6 * math.pi * time, 0.5 + sharp / 2, (0.075 + 0.125 * scale) * min(image.shape[:2])

    def colour(row: int, column: int) -> list[float]:
        x, y, i = column / scale, row / scale, [1.0, 1.0, 1.0]
        for _ in range(4 + int(3 * folds)):
            r = math.cos(y * i[0] + time / i[1]) / i[2], math.sin(x * i[0] + time / i[1]) / i[2]
            x, y = x + r[0] - 0.3 * r[1], y + r[1] + 0.3 * r[0]
            i = [i[0] * 1.93, i[1] * 1.15, i[2] * (2.25 - sharp)]
        return [math.sin(x - time), math.sin((x + y + math.sin(time)) / 2), math.sin(y + time)]

    return (1 - 6.4 * c / 255) * image + 6.4 * c * by_pixel(image, colour)


def checkerboard(image: Image, number: int, c: float, reference: bool = False) -> Image:
    angle, size = draws("checkerboard-cutout", (2,))[number]
    height, width = image.shape[:2]
    side = min(height, width)
    reach = math.ceil(math.hypot(height, width) / max(1, side / 10))
    fields = draws("checkerboard-cutout", (2 * reach + 1, 2 * reach + 1), 1)[number]
    angle, size = math.tau * angle, max(1, (0.1 + 0.15 * size) * side)

    def kept(y: int, x: int) -> bool:
        down = (math.cos(angle) * y + math.sin(angle) * x) / size
        along = (math.cos(angle) * x - math.sin(angle) * y) / size
        if int(down % 2) != int(along % 2):
            return True
        cut = int if reference else math.floor
        return bool(fields[cut(down) + reach, cut(along) + reach] >= c / 10)

    return np.where(by_pixel(image, kept), image, 128)


def light(y: float, x: float, lengths: NDArray[np.float64], exponent: float) -> float:
    place = (math.atan2(x, y) + math.pi) / math.tau * len(lengths)
    first = int(place)
    part = place - first
    near, far = lengths[first % len(lengths)], lengths[(first + 1) % len(lengths)]
    strength = ((near + part * (far - near)) ** 2 / (y * y + x * x + 1e-4)) ** exponent
    return min(1.0, strength * (1 - (part - 0.5) ** 2))


def lit_at(y: int, x: int, *, y0: float, x0: float, lengths: NDArray[np.float64], exponent: float) -> float:
    return light(y - y0, x - x0, lengths, exponent)


def sparkles(image: Image, number: int, c: float) -> Image:
    height, width = image.shape[:2]
    normal = rng.normal16(IDS, (5, 199), seed=SEED, label="sparkles", step=1).double().numpy()[number]
    for (row, column, count), lengths in zip(draws("sparkles", (5, 3))[number], normal, strict=True):
        some = np.maximum(1, c / 100 * min(height, width) * (1 + lengths[: 50 + int(150 * count)] / 4))
        y0, x0 = row * height, column * width
        lit = by_pixel(image, partial(lit_at, y0=y0, x0=x0, lengths=some, exponent=1))
        image = image + lit * (255 - image)
    return image


def inverse_sparkles(image: Image, number: int, c: float) -> Image:
    height, width = image.shape[:2]
    row, column, count = draws("inverse-sparkles", (3,))[number]
    normal = rng.normal16(IDS, (199,), seed=SEED, label="inverse-sparkles", step=1).double().numpy()[number]
    some = min(height, width) / 4 * (1 + normal[: 50 + int(150 * count)] / 4)
    y0, x0 = (0.25 + row / 2) * height, (0.25 + column / 2) * width
    lit = by_pixel(image, lambda y, x: light(y - y0, x - x0, some, 0.13 * c))
    return 255 - lit * (255 - image)


def perlin(image: Image, number: int, c: float) -> Image:
    codes = rng.uniform16(IDS, (256, 2), seed=SEED, label="perlin-noise").double().numpy()[number]
    gradients = [vector / np.linalg.norm(vector) for vector in (codes + 0.5) / 32768 - 1]
    order = np.argsort(rng.words(IDS, 256, seed=SEED, label="perlin-noise", step=1).numpy()[number], kind="stable")

    def noise(y: float, x: float) -> float:
        found = 0.0
        for i in (0, 1):
            for j in (0, 1):
                gradient = gradients[order[(order[int(y) + i] + int(x) + j) % 256]]
                offset = np.array([y % 1 - i, x % 1 - j])
                smooth = 1 - 3 * offset**2 + 2 * np.abs(offset) ** 3
                found += float(gradient @ offset) * smooth[0] * smooth[1]
        return 1.5 * found

    def cloud(row: int, column: int) -> float:
        y, x = (place * 7 / min(image.shape[:2]) for place in (row, column))
        return min(1.0, 0.5 + 0.5 * sum(abs(noise(f * y, f * x)) / f for f in (1, 2, 4, 8, 16)))

    return (1 - c / 20) * image + 255 * c / 20 * by_pixel(image, cloud)


def spectral(name: str, number: int, size: int, power: Callable[[float], float], channels: int) -> Image:
    """Noise of a square image of even size, as a sum of waves, (size, size, channels)."""
    half = draws(name, (channels, size, size // 2))[number]
    found = []
    for turns in half:
        phases = np.concatenate([turns, turns[::-1, ::-1]], 1)
        waves = np.array([[power(math.hypot(y - size / 2, x - size / 2)) for x in range(size)] for y in range(size)])
        waves = waves * np.exp(2j * math.pi * phases)
        turn = np.exp(2j * math.pi * np.outer(np.arange(size), np.arange(size) - size // 2) / size)
        noise = (turn @ waves @ turn.T).real
        found.append(noise / noise.std())
    return np.stack(found, 2)


def blue_noise(image: Image, number: int, c: float) -> Image:
    return image * (spectral("blue-noise-sample", number, len(image), lambda r: r, channels=1) > 0.3 * c - 2.5)


def brownish(image: Image, number: int, c: float) -> Image:
    noise = spectral("brownish-noise", number, len(image), lambda r: 1 / (1 + r * r), channels=3)
    return image + 6.4 * c * noise


def caustic(image: Image, number: int, c: float) -> Image:
    time, scale = draws("caustic-refraction", (2,))[number]
    height, width = image.shape[:2]
    side = min(height, width)
    time, scale = 0.5 + 1.5 * time, (0.75 + scale / 2) * side

    def brightness(y: int, x: int) -> float:
        p = np.array([y / scale % 1, x / scale % 1]) * 6.28318530718 - 250
        i, total = p, 1.0
        for n in range(5):
            t = time * (1 - 3.5 / (n + 1))
            moved = math.cos(t - i[0]) + math.sin(t + i[1]), math.sin(t - i[1]) + math.cos(t + i[0])
            i = p + np.array(moved)
            total += 1 / math.hypot(p[0] / (math.sin(i[0] + t) / 0.005), p[1] / (math.cos(i[1] + t) / 0.005))
        return float(min(1.0, abs(1.17 - (total / 5) ** 1.4) ** 8))

    water = ndimage.gaussian_filter(by_pixel(image, brightness)[:, :, 0], 1, mode="reflect")

    def at(values: NDArray[np.float64], y: int, x: int) -> Any:
        return values[y, x] if 0 <= y < height and 0 <= x < width else np.zeros(values.shape[2:])

    def refracted(y: int, x: int) -> Image:
        down = float(at(water, y + 1, x) - at(water, y - 1, x))
        along = float(at(water, y, x + 1) - at(water, y, x - 1))
        normal, ray = np.array([down, along, 1.0]), np.array([0.0, 0.0, 1.0])
        normal /= np.linalg.norm(normal)
        if normal @ ray < 0.999:
            sine_in = math.sin(math.acos(normal @ ray))
            beside = np.cross(normal, np.cross(ray, normal) / np.linalg.norm(np.cross(ray, normal)))
            ray = normal * math.sqrt(1 - (sine_in / 4) ** 2) + beside * sine_in / 4
        there = np.array([y, x]) + ray[:2] * c * side / 20
        top, left = (int(v) for v in np.floor(there))
        found = np.zeros(image.shape[2])
        for i in (0, 1):
            for j in (0, 1):
                weight = (1 - abs(there[0] - top - i)) * (1 - abs(there[1] - left - j))
                found += weight * at(image, top + i, left + j)
        return found + 255 * c / 5 * (down - along)

    return by_pixel(image, refracted)


LOOPS: dict[str, Loop] = {
    "single-frequency-greyscale": single_frequency,
    "cocentric-sine-waves": cocentric,
    "plasma-noise": plasma,
    "checkerboard-cutout": checkerboard,
    "sparkles": sparkles,
    "inverse-sparkles": inverse_sparkles,
    "perlin-noise": perlin,
    "blue-noise-sample": blue_noise,
    "brownish-noise": brownish,
    "caustic-refraction": caustic,
}


def differences(name: str, images: Tensor, numbers: str, loop: Loop) -> NDArray[np.int64]:
    """Levels between a corruption and its loop."""
    corruption = parse_stressor(f"{name};{numbers}")
    assert isinstance(corruption, Corruption)
    constant = corruption.severity_constants(images.shape)
    found = corruption.perturb(images, IDS, SEED).permute(0, 2, 3, 1).numpy().astype(np.int64)
    half = 0.0 if corruption.mode == "reference" else 0.5
    loops = [
        np.floor(np.clip(loop(image, number, float(str(constant))), 0, 255) + half)
        for number, image in enumerate(images.permute(0, 2, 3, 1).double().numpy())
    ]
    return np.abs(found - np.stack(loops).astype(np.int64))


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("numbers", ["severity=2;calibration=32", "severity=5;calibration=224;mode=reference"])
def test_the_corruption_is_the_loop(name: str, numbers: str) -> None:
    """Within one level everywhere: table and library differ by 2e-9 only, which a threshold sees nowhere here."""
    square = name in ("blue-noise-sample", "brownish-noise")
    images = tiles(64, 2)[:, :, :26, : 26 if square else 31].contiguous()

    def loop(image: Image, number: int, constant: float) -> Image:
        if name == "checkerboard-cutout":
            return checkerboard(image, number, constant, reference="reference" in numbers)
        return LOOPS[name](image, number, constant)

    assert differences(name, images, numbers=numbers, loop=loop).max() <= 1


def test_tables_are_the_functions() -> None:
    angles = torch.linspace(-300, 300, 5001, dtype=torch.float64)
    assert float((sine(angles) - angles.sin()).abs().max()) < 2e-9
    assert float((cosine(angles) - angles.cos()).abs().max()) < 2e-9
    y, x = torch.meshgrid(*[torch.linspace(-2, 2, 41, dtype=torch.float64)] * 2, indexing="ij")
    turned = (direction(y, x) - torch.atan2(y, x)).abs()
    assert float(torch.minimum(turned, math.tau - turned).max()) < 1e-9
    bases = torch.cat([torch.tensor([0.0]), torch.logspace(-12, 6, 4001)]).double()
    for exponent in (0.13, 1.4, 5.2):
        exact = bases**exponent
        assert float(((power(bases, exponent) - exact).abs() / exact.clamp(min=1e-300)).max()) < 1e-7
