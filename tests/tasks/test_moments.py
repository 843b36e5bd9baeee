"""Channel moments, with which models normalise images, compared with numpy on floating-point pixels."""

import numpy as np
import pytest

from robustbench_wb.tasks import task
from robustbench_wb.tasks.task import Split


def split(images: np.ndarray) -> Split:
    return Split(inputs=images, labels=np.zeros(len(images), np.int64))


def test_moments_are_those_of_the_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 7, 5), dtype=np.uint8)
    mean, std = split(images).moments()
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-12)


def test_a_constant_channel_can_be_divided_by() -> None:
    assert split(np.full((4, 1, 8, 8), 7, np.uint8)).moments() == ([pytest.approx(7 / 255)], [1e-3])


def test_a_large_split_is_counted_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8), dtype=np.uint8)
    monkeypatch.setattr(task, "MOMENT_BYTES", 64 * 10)
    assert split(images).moments() == split(images[:10]).moments()
