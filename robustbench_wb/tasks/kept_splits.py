"""Splits that take long to make, kept in the cache and mapped from there."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_wb.tasks.kept import kept, write_array
from robustbench_wb.tasks.task import Split

_FORMAT = 1  # of the folder; raise it when it changes


def kept_splits(
    key: Mapping[str, object], name: str, verb: str, make: Callable[[], Mapping[str, Split]]
) -> dict[str, Split]:
    """What ``make`` gives, by name; made now unless a whole copy is in the cache. Texts are not kept.

    ``key`` is all that the splits depend on, ``verb`` what makes them: ``decode``, ``encode`` or ``generate``.

    Raises:
        DataError: the copy cannot be read right after it was written.
    """
    identity = {"format": _FORMAT, "kind": "splits", **key}
    return kept(identity, name, verb, lambda folder: _write(folder, make()), _read)


def _write(folder: Path, splits: Mapping[str, Split]) -> dict[str, object]:
    for name, split in splits.items():
        write_array(folder / f"{name}-inputs.npy", split.inputs)
        write_array(folder / f"{name}-labels.npy", split.labels)
        if split.sizes is not None:
            write_array(folder / f"{name}-sizes.npy", split.sizes)
    return {"splits": list(splits)}


def _read(folder: Path, card: Any) -> dict[str, Split]:
    return {name: _split(folder, name) for name in card["splits"]}


def _split(folder: Path, name: str) -> Split:
    inputs, labels = np.load(folder / f"{name}-inputs.npy", mmap_mode="r"), np.load(folder / f"{name}-labels.npy")
    sizes = folder / f"{name}-sizes.npy"
    if len(inputs) != len(labels):
        raise ValueError(f"{name} has {len(inputs)} inputs and {len(labels)} labels")
    return Split(inputs, labels, sizes=np.load(sizes) if sizes.is_file() else None)
