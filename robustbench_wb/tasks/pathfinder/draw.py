"""From points to pixels: paddles and markers in black and white on the fine grid, averaged."""

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.tasks.pathfinder.parameters import Parameters
from robustbench_wb.tasks.pathfinder.stamps import Ints, Stamps


def draw(stamps: Stamps, long: Ints, short: Ints, markers: Ints) -> NDArray[np.uint8]:
    """The images, uint8 (N, S, S), of snakes (N, number, points, 2) with disks around ``markers`` (N, 2, 2).

    A pixel of which paddles cover the share c has level ``paddle_contrast * min(1, snake_contrast * c)`` of 255; one
    covered by a marker has its share of 255, if that is more.
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


def _numbers(stamps: Stamps, steps: Ints) -> Ints:
    """Which of the stamps' steps these are; (N, L, 2) to (N, L)."""
    reach = int(np.abs(stamps.steps).max())
    table = np.zeros((2 * reach + 1, 2 * reach + 1), np.int64)
    table[tuple((stamps.steps + reach).T)] = np.arange(len(stamps.steps))
    return table[steps[..., 0] + reach, steps[..., 1] + reach]


def _empty(stamps: Stamps, count: int) -> NDArray[np.bool_]:
    side = stamps.parameters.window * stamps.parameters.antialias
    return np.zeros((count, side, side), bool)


def _ink(canvas: NDArray[np.bool_], points: Ints, cells: Ints) -> None:
    """Blacken ``cells`` (N or 1, P, 2) around ``points`` (N, 2)."""
    where = points[:, None] + cells
    canvas[np.arange(len(canvas))[:, None], where[..., 0], where[..., 1]] = True


def _share(canvas: NDArray[np.bool_], parameters: Parameters) -> NDArray[np.float64]:
    count, scale = len(canvas), parameters.antialias
    share: NDArray[np.float64] = canvas.reshape(count, parameters.window, scale, parameters.window, scale).mean((2, 4))
    return share
