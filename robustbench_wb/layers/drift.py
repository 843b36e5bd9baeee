"""Drift: how far a stressor moves each measure of each layer, in pairs of the same sample."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from robustbench_wb.layers.table import LayerTable, mean_std, plain_list


@dataclass(frozen=True, eq=False)
class Drift:
    """Stressed minus clean of one measure: mean per layer with its 95 % interval, (layers,) each.

    NaN where no pair, and for the interval fewer than two, have a number.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    pairs: NDArray[np.int64]
    """Samples with both numbers."""

    def plain(self) -> dict[str, Any]:
        """Lists with one entry per layer; None where nothing is defined."""
        ends = {name: plain_list(getattr(self, name)) for name in ("mean", "low", "high")}
        return {**ends, "pairs": self.pairs.tolist()}


@dataclass(frozen=True, eq=False)
class LayerPair:
    """The layers of some samples under a stressor, and of the same samples when clean."""

    clean: LayerTable
    stressed: LayerTable

    @cached_property
    def drift(self) -> dict[str, Drift]:
        """Stressed minus clean, by measure."""
        return drift(self.clean, self.stressed)


def drift(clean: LayerTable, stressed: LayerTable) -> dict[str, Drift]:
    """The drift of every measure: mean paired difference, with Student's t interval (95 %).

    Raises:
        ValueError: the tables hold different samples or layers.
    """
    if not np.array_equal(clean.ids, stressed.ids) or clean.layers != stressed.layers:
        raise ValueError("a drift is between two tables of the same samples and layers")
    return {name: _paired(stressed.values[name] - clean.values[name]) for name in clean.values}


def _paired(difference: NDArray[np.float64]) -> Drift:
    pairs = np.isfinite(difference).sum(axis=1)
    mean, std = mean_std(difference)
    reach = stdtrit(np.maximum(pairs - 1, 1), 0.975) * std / np.sqrt(np.maximum(pairs, 1))
    return Drift(mean, mean - reach, mean + reach, pairs)
