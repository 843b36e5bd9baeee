"""The measures of every layer and every sample, as plain arrays. Nothing here imports torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEASURES: dict[str, str] = {
    "coding_rate": "R^c of what attention mixes (nats)",
    "coding_rate_share": "R^c between its bounds (0 to 1)",
    "stream_rate": "R of the stream that enters (nats)",
    "normed_rate": "R of the same after the layer norm (nats)",
    "sparsity": "share of the code that is not 0",
    "entropy": "attention entropy (nats)",
    "entropy_share": "attention entropy over its greatest",
    "similarity": "mean cosine of different tokens",
    "snr_gain": "signal-to-noise gain of the block (dB)",
}
"""Every measure and what it is, in the order of tables."""


@dataclass(frozen=True, eq=False)
class LayerTable:
    """One number per measure, layer and sample; NaN where the measure is not defined for that sample.

    It is not where there is one token alone, where the attention mechanism writes out no matrix, or where an
    activation is not finite. Means are over the samples where it is.
    """

    ids: NDArray[np.int64]
    """(samples,)."""
    values: Mapping[str, NDArray[np.float64]]
    """(layers, samples) by name, see :data:`MEASURES`."""

    @property
    def layers(self) -> int:
        """How many layers."""
        return len(next(iter(self.values.values())))

    def defined(self, measure: str) -> NDArray[np.int64]:
        """Samples with a number, per layer."""
        count: NDArray[np.int64] = np.isfinite(self.values[measure]).sum(axis=1)
        return count

    def mean(self, measure: str) -> NDArray[np.float64]:
        """Mean over samples, per layer; NaN without any."""
        return mean_std(self.values[measure])[0]

    def std(self, measure: str) -> NDArray[np.float64]:
        """Standard deviation over samples (n - 1), per layer; NaN for fewer than two."""
        return mean_std(self.values[measure])[1]

    def select(self, ids: NDArray[np.int64]) -> "LayerTable":
        """The table of some of its samples.

        Raises:
            ValueError: one of them is not in the table.
        """
        place = {int(sample): index for index, sample in enumerate(self.ids)}
        missing = [int(sample) for sample in ids if int(sample) not in place]
        if missing:
            raise ValueError(f"samples {missing} were not measured")
        return self.take(np.array([place[int(sample)] for sample in ids], dtype=np.int64))

    def take(self, rows: NDArray[np.int64]) -> "LayerTable":
        """The table of the samples in these rows, in this order."""
        # In one memory order: sums round by it, and a table must give the same numbers after it was kept in a file.
        values = {name: np.ascontiguousarray(value[:, rows]) for name, value in self.values.items()}
        return LayerTable(self.ids[rows], values)

    def plain(self) -> dict[str, Any]:
        """Per measure, lists with one entry per layer; None where nothing is defined."""
        return {
            name: {
                "mean": plain_list(self.mean(name)),
                "std": plain_list(self.std(name)),
                "defined": self.defined(name).tolist(),
            }
            for name in self.values
        }


def join(parts: "list[LayerTable]") -> LayerTable:
    """The table of all samples of some tables.

    Raises:
        ValueError: there is none.
    """
    if not parts:
        raise ValueError("there are no tables to join")
    names = parts[0].values
    return LayerTable(
        np.concatenate([part.ids for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts], axis=1) for name in names},
    )


def plain_list(values: NDArray[np.float64]) -> list[float | None]:
    """Numbers that JSON knows: None for those that are not finite."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def mean_std(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (n - 1) along the last axis over what is finite; NaN where too little is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, values, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)
        square = np.where(finite, (values - mean[..., None]) ** 2, 0.0).sum(axis=-1)
        std = np.sqrt(square / np.where(count > 1, count - 1, np.nan))
    return mean, std
