"""Rendering of Pathfinder images: paddles and markers in black and white on a fine grid, averaged to grey pixels."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.tasks.pathfinder.paddle_tables import Ints, PaddleTables
from robustbench_wb.tasks.pathfinder.parameters import PathfinderParameters


def render_images(stamps: PaddleTables, long: Ints, short: Ints, markers: Ints) -> NDArray[np.uint8]:
    """Render images, uint8 (N, S, S).

    A pixel covered by paddles to the share c has the level 255 ``paddle_contrast`` min(1, ``snake_contrast`` c), and a
    pixel covered by markers to the share m at least the level 255 m.

    Args:
        stamps: tables for the parameters of the images.
        long: points of the two long snakes, (N, 2, points, 2).
        short: points of the distractors, (N, distractors, points, 2).
        markers: centres of the two markers, (N, 2, 2).
    """
    parameters = stamps.parameters
    paddles = _empty(stamps, len(long))
    for chain in [*long.swapaxes(0, 1), *short.swapaxes(0, 1)]:
        numbers = _numbers(stamps, np.diff(chain, axis=1))
        for number in range(numbers.shape[1]):
            _ink(paddles, chain[:, number], stamps.cells[numbers[:, number]])
    disks = _empty(stamps, len(long))
    for end in markers.swapaxes(0, 1):
        _ink(disks, end, stamps.marker[None])
    grey = parameters.paddle_contrast * np.minimum(1, parameters.snake_contrast * _share(paddles, parameters))
    levels: NDArray[np.uint8] = np.rint(255 * np.maximum(grey, _share(disks, parameters))).astype(np.uint8)
    return levels


def _numbers(stamps: PaddleTables, steps: Ints) -> Ints:
    """Numbers of steps, (N, L, 2), among the steps of the stamps, (N, L)."""
    reach = int(np.abs(stamps.steps).max())
    table = np.zeros((2 * reach + 1, 2 * reach + 1), np.int64)
    table[tuple((stamps.steps + reach).T)] = np.arange(len(stamps.steps))
    return table[steps[..., 0] + reach, steps[..., 1] + reach]


def _empty(stamps: PaddleTables, count: int) -> NDArray[np.bool_]:
    side = stamps.parameters.window * stamps.parameters.antialias
    return np.zeros((count, side, side), bool)


def _ink(canvas: NDArray[np.bool_], points: Ints, cells: Ints) -> None:
    """Set ``cells`` (N or 1, P, 2), relative to ``points`` (N, 2), on the canvas."""
    where = points[:, None] + cells
    canvas[np.arange(len(canvas))[:, None], where[..., 0], where[..., 1]] = True


def _share(canvas: NDArray[np.bool_], parameters: PathfinderParameters) -> NDArray[np.float64]:
    count, scale = len(canvas), parameters.antialias
    share: NDArray[np.float64] = canvas.reshape(count, parameters.window, scale, parameters.window, scale).mean((2, 4))
    return share
