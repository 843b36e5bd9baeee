"""Drift: change of each layer measure under a perturbation, in pairs of the same sample."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from robustbench_wb.layers.table import LayerTable, PlainColumn, mean_std, plain_list


@dataclass(frozen=True, eq=False, kw_only=True)
class Drift:
    """Perturbed minus clean value of one measure: mean per layer with its 95 % confidence interval, (layers,) each.

    The mean is NaN without any defined pair, the interval with fewer than two.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    pairs: NDArray[np.int64]
    """Number of samples per layer for which both values are defined."""

    def plain(self) -> dict[str, PlainColumn]:
        """Return lists with one entry per layer, for JSON; None where the value is undefined."""
        return {
            "mean": plain_list(self.mean),
            "low": plain_list(self.low),
            "high": plain_list(self.high),
            "pairs": self.pairs.tolist(),
        }


@dataclass(frozen=True, eq=False)
class LayerPair:
    """Layer measures of the same samples, clean and perturbed."""

    clean: LayerTable
    stressed: LayerTable

    @cached_property
    def drift(self) -> dict[str, Drift]:
        """Drift (perturbed minus clean) by measure."""
        return drift(self.clean, self.stressed)


def drift(clean: LayerTable, stressed: LayerTable) -> dict[str, Drift]:
    """Return the drift of every measure: mean paired difference with Student's t interval (95 %).

    Raises:
        ValueError: the tables hold different samples or layers.
    """
    if not np.array_equal(clean.ids, stressed.ids) or clean.layers != stressed.layers:
        raise ValueError("drift needs two tables of the same samples and layers")
    return {name: _paired(stressed.values[name] - clean.values[name]) for name in clean.values}


def _paired(difference: NDArray[np.float64]) -> Drift:
    pairs = np.isfinite(difference).sum(axis=1)
    mean, std = mean_std(difference)
    reach = stdtrit(np.maximum(pairs - 1, 1), 0.975) * std / np.sqrt(np.maximum(pairs, 1))
    return Drift(mean=mean, low=mean - reach, high=mean + reach, pairs=pairs)
