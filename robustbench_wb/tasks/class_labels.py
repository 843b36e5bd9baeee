"""Labels of a dataset as numbers of one list of classes, whatever each split calls and numbers them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.mirror import ClassNames

if TYPE_CHECKING:
    from datasets import Dataset as HubRows

Kind = Literal["names", "integers", "words"]
_SHOWN = 5
"""Largest number of class names in a message."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """Labels of all splits, numbered by one list of classes."""

    classes: tuple[str, ...]
    labels: Mapping[str, NDArray[np.int64]]
    """Labels (N,) of each split, 0 to classes - 1."""
    notes: tuple[str, ...]
    """What was concluded from the data and may be wrong, one line each."""


def unify_labels(
    splits: Mapping[str, "HubRows"],
    column: str,
    *,
    name: str,
    files: Mapping[str, Sequence[ClassNames]],
) -> Labels:
    """Number the labels of all splits by the classes of the first split.

    A class-label column has names; other splits and files are aligned by name. Plain integers must be 0 to n - 1, and
    words are numbered in sorted order.

    Args:
        splits: rows by name of the split; the first is the training split.
        column: name of the label column.
        name: name of the task, for error messages.
        files: class names by file, where the files of a split are known.

    Raises:
        DataError: a row has no label, a split has classes that the first lacks, or the meaning of a label is unknown.
    """
    kinds = {split: _kind(rows, column, f"{name}: split {split!r}") for split, rows in splits.items()}
    given: dict[str, list[str | int]] = {
        split: _values(rows, column, f"{name}: split {split!r}") for split, rows in splits.items()
    }
    if len({kind == "integers" for kind in kinds.values()}) > 1:
        found = ", ".join(f"{split} has {kind}" for split, kind in kinds.items())
        raise DataError(f"{name}: the splits label in different ways: {found}; write all labels in one way")
    first = next(iter(splits))
    if kinds[first] == "integers":
        return _integers(given, column, name)
    words = {split: _words(rows, column, given[split], files=files.get(split, ())) for split, rows in splits.items()}
    named = _first_names(splits[first], column, files.get(first, ())) if kinds[first] == "names" else None
    classes = tuple(sorted(set(words[first]))) if named is None else named
    notes = []
    if named is None:
        notes.append(f"{name}: classes are the words of {column!r} in sorted order: {_listed(classes)}")
    for split, rows in splits.items():
        other = {item.names for item in files.get(split, ())} - {None, classes}
        if kinds[split] == "names" and (other or tuple(rows.features[column].names) != classes):
            notes.append(f"{name}: split {split!r} has its classes in another order; they are aligned by name")
    numbers = {word: number for number, word in enumerate(classes)}
    for split, given_words in words.items():
        unknown = sorted(set(given_words) - numbers.keys())
        if unknown:
            raise DataError(f"{name}: split {split!r} has classes {_listed(unknown)}; split {first!r} lacks them")
    labels = {split: np.array([numbers[word] for word in found], np.int64) for split, found in words.items()}
    return Labels(classes=classes, labels=labels, notes=tuple(notes))


def _integers(given: Mapping[str, Sequence[str | int]], column: str, name: str) -> Labels:
    """Labels that are plain integers, which must be 0 to n - 1."""
    first = next(iter(given))
    labels = {split: np.array(values, np.int64) for split, values in given.items()}
    found = np.unique(labels[first])
    advice = f"number the classes 0 to n - 1 in column {column!r}, or give their names"
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        raise DataError(f"{name}: split {first!r} has the labels {_listed(list(map(str, found)))}; {advice}")
    for split, numbers in labels.items():
        unknown = np.setdiff1d(numbers, found)
        if len(unknown):
            raise DataError(f"{name}: split {split!r} has the labels {_listed(list(map(str, unknown)))}; {advice}")
    notes = (f"{name}: labels of {column!r} are the integers 0 to {len(found) - 1}; the classes have no other names",)
    return Labels(classes=tuple(map(str, found)), labels=labels, notes=notes)


def _kind(rows: "HubRows", column: str, where: str) -> Kind:
    import datasets

    feature = rows.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return "names"
    dtype = feature.dtype if isinstance(feature, datasets.Value) else type(feature).__name__
    if dtype in ("string", "large_string"):
        return "words"
    if dtype.startswith(("int", "uint", "float", "bool")):
        return "integers"
    raise DataError(f"{where}: column {column!r} holds {dtype}; a label is a class, an integer or a word")


def _values(rows: "HubRows", column: str, where: str) -> list[str | int]:
    """Labels of all rows, as integers or words.

    Raises:
        DataError: there are no rows, a row has no label, or a label is a fraction.
    """
    values: list[str | float | None] = list(rows[column])
    if not values:
        raise DataError(f"{where} is empty")
    # pandas writes integers with gaps as floats, where a gap is NaN.
    present = [value for value in values if not (value is None or value != value or value == -1)]
    missing = len(values) - len(present)
    if missing:
        raise DataError(f"{where} holds rows without a valid label ({missing}), so it cannot be scored")
    if any(isinstance(value, float) and value != int(value) for value in present):
        raise DataError(f"{where}: column {column!r} holds fractions; a label is a class, an integer or a word")
    return [value if isinstance(value, str) else int(value) for value in present]


def _words(rows: "HubRows", column: str, values: Sequence[str | int], *, files: Sequence[ClassNames]) -> list[str]:
    """Class name of every row; a file that has names of its own is read by them."""
    found = [value for value in values if isinstance(value, str)]
    if found:
        return found
    common = tuple(rows.features[column].names)
    if sum(item.rows for item in files) != len(values):
        files = [ClassNames(len(values), common)]
    names = [item.names or common for item in files for _ in range(item.rows)]
    numbers = [value for value in values if isinstance(value, int)]
    if any(number >= len(own) for number, own in zip(numbers, names, strict=True)):
        raise DataError(f"column {column!r} holds rows without a valid label, so it cannot be scored")
    return [own[number] for number, own in zip(numbers, names, strict=True)]


def _first_names(rows: "HubRows", column: str, files: Sequence[ClassNames]) -> tuple[str, ...]:
    """Class names of a split in the order of its first file."""
    common = tuple(map(str, rows.features[column].names))
    return next((item.names for item in files if item.names), common)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
