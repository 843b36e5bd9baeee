"""Properties that hold for every image corruption."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_wb.stressors.catalogue import STRESSORS, parse_stressor
from robustbench_wb.stressors.corruptions.corruption import Corruption
from tests.stressors.attacked_batch import attacked_batch
from tests.stressors.corruptions.pictures import tiles

NAMES = [entry.name for entry in STRESSORS if issubclass(STRESSORS.get(entry.name), Corruption)]
UNORDERED = {"glass-blur", "frost", "fog", "elastic-transform", "motion-blur", "spatter", "saturate"}
"""Corruptions of ImageNet-C with a severity that is nearer to the clean image than a lower one, as published."""
SIZES = [(8, 8), (28, 28), (31, 31), (33, 33), (224, 160)]


def corrupt(name: str, images: Tensor, ids: Tensor, numbers: str = "severity=5") -> Tensor:
    stressor = parse_stressor(f"{name};{numbers}")
    assert isinstance(stressor, Corruption)
    return stressor.perturb(images, ids, 3)


def digest(name: str) -> str:
    """Digest of seven corrupted tiles."""
    return hashlib.sha256(corrupt(name, tiles(32, 7), torch.arange(7)).numpy().tobytes()).hexdigest()


def some(height: int, width: int, channels: int) -> Tensor:
    """Two photographs, then black, white and grey."""
    side = 224 if max(height, width) > 64 else 64
    photographs = tiles(side, 2)[:, :channels, :height, :width]
    flat = [torch.full_like(photographs[:1], level) for level in (0, 255, 100)]
    return torch.cat([photographs, *flat])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_and_colour(name: str, channels: int, size: tuple[int, int]) -> None:
    images = some(*size, channels)
    kept = images.clone()
    found = corrupt(name, images, torch.arange(5))
    assert found.dtype == torch.uint8
    assert found.shape == images.shape
    assert torch.equal(images, kept)  # the input is not modified
    assert not torch.equal(found[:2], images[:2])
    assert torch.equal(corrupt(name, images[1:2], torch.tensor([1]))[0], found[1])  # a batch of one


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_no_images(name: str) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    batch = attacked_batch(nn.Identity(), inputs=torch.zeros(0, 3, 32, 32), labels=none, ids=none, seed=3, batch_size=8)
    assert parse_stressor(f"{name};severity=5").apply(batch, batch.access).inputs.shape == (0, 3, 32, 32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("numbers", ["severity=5", "severity=3;calibration=224;mode=reference"])
def test_batch_and_order_change_nothing(name: str, numbers: str) -> None:
    images, ids = tiles(32, 20), torch.arange(20) * 7
    whole = corrupt(name, images, ids, numbers=numbers)
    for size in (1, 7):
        pairs = zip(images.split(size), ids.split(size), strict=True)
        parts = [corrupt(name, some_images, some_ids, numbers=numbers) for some_images, some_ids in pairs]
        assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert torch.equal(corrupt(name, images[order], ids[order], numbers=numbers), whole[order])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNORDERED])
@pytest.mark.parametrize("calibration", [32, 224])
def test_a_higher_severity_is_farther_from_the_image(name: str, calibration: int) -> None:
    images, ids = tiles(32, 16), torch.arange(16)
    found = [corrupt(name, images, ids, f"severity={severity};calibration={calibration}") for severity in range(1, 6)]
    distances = [float((images.double() - some).square().mean()) for some in found]
    assert distances == sorted(set(distances))


@pytest.mark.parametrize("name", NAMES)
def test_the_global_generators_are_not_used(name: str) -> None:
    before = torch.get_rng_state()
    first = digest(name)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert digest(name) == first


@pytest.mark.slow(8)
def test_another_process_makes_the_same() -> None:
    script = f"import {__name__} as t; print([t.digest(n) for n in {NAMES}])"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([digest(name) for name in NAMES])
