"""Class maps: the output of a model that each label of a folder of pictures means."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.models.chosen_outputs import ChosenOutputs, MergedOutputs
from robustbench_wb.models.providers.library import load_library
from robustbench_wb.text_files import parse_json, read_text, reason_of

IMAGENET: Final = "imagenet-1k"
"""Name of the built-in map: WordNet ids like ``n01440764`` in sorted order are the outputs 0 to 999, as are numbers."""
_OUTPUT: Final = re.compile(r"0|[1-9]\d{0,2}")
_WORDNET: Final = re.compile(r"n\d{8}")
_SHOWN: Final = 3


@dataclass(frozen=True)
class ClassMap:
    """Outputs of a model by label, and the names of all outputs."""

    outputs: Mapping[str, int]
    """Output, from 0, of each label; several labels may mean one output."""
    names: tuple[str, ...]
    """Name of each output."""

    def numbers(self, labels: Sequence[str], where: str) -> list[int]:
        """Output of each label.

        Raises:
            DataError: the map lacks a label.
        """
        unknown = sorted(set(labels) - self.outputs.keys())
        if unknown:
            more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
            raise DataError(f"{where} has classes {', '.join(unknown[:_SHOWN])}{more}, which its class list lacks")
        return [self.outputs[label] for label in labels]

    def present(self, labels: Sequence[str], where: str) -> "tuple[ClassMap, ChosenOutputs]":
        """Map to the outputs of the given labels alone, renumbered in ascending order, and these outputs.

        Raises:
            DataError: the map lacks a label, or all labels mean one output.
        """
        columns = sorted(set(self.numbers(labels, where)))
        if len(columns) < 2:
            raise DataError(f"{where} has one class, {labels[0]}; with outputs=present nothing else can be answered")
        place = {output: number for number, output in enumerate(columns)}
        kept = {label: place[output] for label, output in self.outputs.items() if output in place}
        chosen = ChosenOutputs(total=len(self.names), columns=tuple(columns))
        return ClassMap(kept, tuple(self.names[output] for output in columns)), chosen


def sorted_classes(labels: Sequence[str]) -> ClassMap:
    """Labels in sorted order are the outputs; labels that are all whole numbers are the outputs themselves.

    Raises:
        DataError: half of the numbers up to the largest one are missing, so that they can hardly be outputs.
    """
    names = sorted(set(labels))
    if all(re.fullmatch(r"0|[1-9]\d{0,5}", name) for name in names):
        last = max(map(int, names))
        if last >= 2 * len(names):
            raise DataError(
                f"the labels are numbers up to {last}, but only {len(names)} of them; say with classes=FILE which "
                "output each one means"
            )
        return ClassMap({str(number): number for number in range(last + 1)}, tuple(map(str, range(last + 1))))
    return ClassMap({name: number for number, name in enumerate(names)}, tuple(names))


def listed_classes(names: Sequence[str]) -> ClassMap:
    """The given labels, in their order, are the outputs.

    Raises:
        ValueError: there is no label, or one occurs twice.
    """
    if not names:
        raise ValueError("it names no classes")
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"it names {twice!r} twice")
    return ClassMap({name: number for number, name in enumerate(names)}, tuple(names))


def read_class_map(reference: str, labels: Sequence[str]) -> ClassMap:
    """Read a class map.

    A text file has the label of one output per line. A JSON file is a list of labels, an object from label to output,
    or an object from output to a label or to a list of names of it (``imagenet_class_index.json``). A CSV file has the
    columns label and output.

    Args:
        reference: path of the file, or ``IMAGENET``.
        labels: all labels of the pictures.

    Raises:
        DataError: the file cannot be read, or does not number its outputs 0 to n - 1.
    """
    if reference == IMAGENET:
        return _imagenet(labels)
    path = Path(reference).expanduser()
    try:
        return _parsed(read_text(path), path.suffix, labels)
    except (OSError, ValueError) as error:
        raise DataError(f"classes {path} cannot be read: {reason_of(error)}") from error


def read_merged_classes(reference: str, labels: Sequence[str]) -> tuple[ClassMap, MergedOutputs]:
    """Read a file in the forms of ``read_class_map`` in which a label may mean several outputs.

    The outputs of each label of the pictures become one class, and every other output remains a class.

    Args:
        reference: path of the file.
        labels: all labels of the evaluated pictures.

    Raises:
        DataError: the file cannot be read, lacks a label, does not number its outputs 0 to n - 1, or gives one output
            to two labels of the pictures.
    """
    path = Path(reference).expanduser()
    try:
        return _merged(_pairs(read_text(path), path.suffix), sorted(set(labels)))
    except (OSError, ValueError) as error:
        raise DataError(f"classes {path} cannot be read: {reason_of(error)}") from error


def _merged(pairs: Sequence[tuple[str, int]], labels: Sequence[str]) -> tuple[ClassMap, MergedOutputs]:
    names = _output_names(pairs)
    meant = {label: sorted({output for name, output in pairs if name == label}) for label in labels}
    owners: dict[int, str] = {}
    for label, outputs in meant.items():
        if not outputs:
            raise ValueError(f"it lacks {label!r}; evaluate folders with known outputs only, with ids=FILE")
        for output in outputs:
            if owners.setdefault(output, label) != label:
                raise ValueError(f"it gives output {output} to {owners[output]!r} and {label!r}")
    groups = [tuple(outputs) for outputs in meant.values()] + [(at,) for at in range(len(names)) if at not in owners]
    groups.sort()
    classes = tuple(owners.get(group[0], names[group[0]]) for group in groups)
    place = {group[0]: at for at, group in enumerate(groups)}
    numbers = {label: place[outputs[0]] for label, outputs in meant.items()}
    return ClassMap(numbers, classes), MergedOutputs(total=len(names), groups=tuple(groups))


def _parsed(text: str, suffix: str, labels: Sequence[str]) -> ClassMap:
    """Class map of a file.

    Raises:
        ValueError: the content is none of the forms, or gives a label two outputs.
    """
    pairs = _pairs(text, suffix)
    if suffix not in (".json", ".csv") or (suffix == ".json" and text.lstrip().startswith("[")):
        return listed_classes([name for name, _ in pairs])
    return _numbered(pairs, labels)


def _pairs(text: str, suffix: str) -> list[tuple[str, int]]:
    """Labels and outputs of a file; a label may occur several times.

    Raises:
        ValueError: the content is none of the forms.
    """
    if suffix == ".json":
        content = parse_json(text)
        if isinstance(content, list):
            return [(str(name), at) for at, name in enumerate(content)]
        if not isinstance(content, dict):
            raise ValueError("it holds neither a list nor an object")
        if all(str(key).isdigit() for key in content) and not all(isinstance(value, int) for value in content.values()):
            names = {int(key): value for key, value in content.items()}
            return [
                (str(name), at)
                for at, value in names.items()
                for name in (value if isinstance(value, list) else [value])
            ]
        return [(str(key), _whole(value)) for key, value in content.items()]
    if suffix == ".csv":
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        start = 1 if rows and not rows[0][-1].strip().isdigit() else 0
        return [(row[0].strip(), _whole(row[-1])) for row in rows[start:]]
    return [(name, at) for at, name in enumerate(line.strip() for line in text.splitlines() if line.strip())]


def _whole(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no output number") from None


def _numbered(pairs: Sequence[tuple[str, int]], labels: Sequence[str]) -> ClassMap:
    outputs = dict(pairs)
    clashes = [name for name, output in pairs if outputs[name] != output]
    if clashes and set(clashes) & set(labels):
        raise ValueError(f"it gives {clashes[0]!r} two outputs")
    return ClassMap(outputs, _output_names(pairs))


def _output_names(pairs: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """First name of each output.

    Raises:
        ValueError: the outputs have gaps.
    """
    used = {output for _, output in pairs}
    if not used:
        raise ValueError("it names no classes")
    if min(used) < 0 or max(used) + 1 != len(used):
        raise ValueError("its outputs are not numbered 0 to n - 1 without gaps")
    names: dict[int, str] = {}
    for name, output in pairs:
        names.setdefault(output, name)
    return tuple(names[output] for output in range(len(used)))


def _imagenet(labels: Sequence[str]) -> ClassMap:
    """Outputs of the 1,000 classes of ImageNet, from timm, or from the folders themselves if all are there."""
    if all(_OUTPUT.fullmatch(label) for label in labels):
        return listed_classes([str(output) for output in range(1000)])
    odd = sorted(label for label in set(labels) if not _WORDNET.fullmatch(label))
    if odd:
        raise DataError(f"classes={IMAGENET} needs labels like n01440764, or outputs from 0 to 999; {odd[0]!r} is none")
    names = sorted(set(labels))
    if len(names) != 1000:
        try:
            timm = load_library("timm", "timm")
        except UsageError as error:
            raise DataError(
                f"classes={IMAGENET} with {len(names)} of the 1,000 classes takes their numbers from timm: {error}; "
                "or give classes=FILE"
            ) from None
        names = timm.data.ImageNetInfo(IMAGENET).label_names()
    return ClassMap({name: number for number, name in enumerate(names)}, tuple(names))
