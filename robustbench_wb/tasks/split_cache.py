"""Cache of splits that take long to make; their inputs are memory-mapped when read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array
from robustbench_wb.tasks.task import Split

_FORMAT = 1  # version of the files; raise it when they change


def load_or_make_splits(
    key: Mapping[str, object], name: str, verb: str, make: Callable[[], Mapping[str, Split]]
) -> dict[str, Split]:
    """Read splits by name from the cache; make them first if the cache has no complete copy. Texts are not cached.

    Args:
        key: everything that the splits depend on.
        name: name of the task, for the error message.
        verb: what making them is called in messages: ``decode``, ``encode`` or ``generate``.
        make: makes the splits by name.

    Raises:
        DataError: the copy cannot be read right after it was written.
    """
    identity = {"format": _FORMAT, "kind": "splits", **key}
    return load_or_make_arrays(identity, name=name, verb=verb, fill=lambda folder: _write(folder, make()), read=_read)


class _Card(TypedDict):
    """Card of cached splits."""

    splits: list[str]


def _write(folder: Path, splits: Mapping[str, Split]) -> _Card:
    for name, split in splits.items():
        write_array(folder / f"{name}-inputs.npy", split.inputs)
        write_array(folder / f"{name}-labels.npy", split.labels)
        if split.token_counts is not None:
            write_array(folder / f"{name}-sizes.npy", split.token_counts)
    return {"splits": list(splits)}


def _read(folder: Path, card: _Card) -> dict[str, Split]:
    return {name: _split(folder, name) for name in card["splits"]}


def _split(folder: Path, name: str) -> Split:
    inputs, labels = np.load(folder / f"{name}-inputs.npy", mmap_mode="r"), np.load(folder / f"{name}-labels.npy")
    sizes = folder / f"{name}-sizes.npy"
    if len(inputs) != len(labels):
        raise ValueError(f"{name} has {len(inputs)} inputs and {len(labels)} labels")
    return Split(inputs=inputs, labels=labels, token_counts=np.load(sizes) if sizes.is_file() else None)
