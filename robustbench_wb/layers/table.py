"""Layer measures per layer and sample, as arrays. This module does not import torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEASURES: dict[str, str] = {
    "coding_rate": "coding rate R^c of the values that attention mixes (nats)",
    "coding_rate_share": "coding rate R^c between its bounds (0 to 1)",
    "stream_rate": "coding rate R of the input stream (nats)",
    "normed_rate": "coding rate R of the input stream after the layer norm (nats)",
    "sparsity": "share of nonzero entries of the code",
    "entropy": "attention entropy (nats)",
    "entropy_share": "attention entropy over its maximum",
    "similarity": "mean cosine of different tokens",
    "snr_gain": "signal-to-noise gain of the block (dB)",
    "cross_share": "share of the cross terms of content and position in the logits (0 to 1)",
    "cross_shift": "attention that the cross terms move (total variation, 0 to 1)",
}
"""All measures with their descriptions, in the order of tables."""

PlainColumn = list[float | None] | list[int]
"""Numbers per layer, for JSON; None where a value is undefined."""


@dataclass(frozen=True, eq=False)
class LayerTable:
    """Values of all measures per layer and sample; NaN where a measure is undefined for a sample.

    A measure can be undefined for a single token, for attention mechanisms that provide no matrix, in layers after the
    first (cross terms), and where an activation is not finite. Means are over samples with a defined value.
    """

    ids: NDArray[np.int64]
    """Sample ids, (samples,)."""
    values: Mapping[str, NDArray[np.float64]]
    """Values (layers, samples) by measure, see ``MEASURES``."""

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(next(iter(self.values.values())))

    def defined(self, measure: str) -> NDArray[np.int64]:
        """Return the number of samples with a defined value, (layers,)."""
        count: NDArray[np.int64] = np.isfinite(self.values[measure]).sum(axis=1)
        return count

    def mean(self, measure: str) -> NDArray[np.float64]:
        """Return the mean over samples, (layers,); NaN without a defined value."""
        return mean_std(self.values[measure])[0]

    def std(self, measure: str) -> NDArray[np.float64]:
        """Return the standard deviation over samples (n - 1), (layers,); NaN for fewer than two defined values."""
        return mean_std(self.values[measure])[1]

    def select(self, ids: NDArray[np.int64]) -> "LayerTable":
        """Return the table of the samples ``ids``, in this order.

        Raises:
            ValueError: a sample is not in the table.
        """
        place = {int(sample): index for index, sample in enumerate(self.ids)}
        missing = [int(sample) for sample in ids if int(sample) not in place]
        if missing:
            raise ValueError(f"samples {missing} were not measured")
        return self.take(np.array([place[int(sample)] for sample in ids], dtype=np.int64))

    def take(self, rows: NDArray[np.int64]) -> "LayerTable":
        """Return the table of the samples at positions ``rows``, in this order."""
        # In one memory order, which affects the rounding of sums: a table loaded from a file must give equal numbers.
        values = {name: np.ascontiguousarray(value[:, rows]) for name, value in self.values.items()}
        return LayerTable(self.ids[rows], values)

    def plain(self) -> dict[str, dict[str, PlainColumn]]:
        """Return mean, standard deviation and count by measure, as lists with one entry per layer, for JSON."""
        return {
            name: {
                "mean": plain_list(self.mean(name)),
                "std": plain_list(self.std(name)),
                "defined": self.defined(name).tolist(),
            }
            for name in self.values
        }


def join_tables(parts: "list[LayerTable]") -> LayerTable:
    """Concatenate the samples of tables with the same measures and layers.

    Raises:
        ValueError: ``parts`` is empty.
    """
    if not parts:
        raise ValueError("there are no tables to join")
    names = parts[0].values
    return LayerTable(
        np.concatenate([part.ids for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts], axis=1) for name in names},
    )


def plain_list(values: NDArray[np.float64]) -> list[float | None]:
    """Return the values as a list for JSON, with None for values that are not finite."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def mean_std(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (n - 1) of finite values along the last axis; NaN with too few values."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, values, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)
        square = np.where(finite, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1)
        std = np.sqrt(square / np.where(count > 1, count - 1, np.nan))
    return mean, std
