"""Image-classification tasks from the hub or from a local mirror in hub layout, through Hugging Face ``datasets``.

Decoding tens of thousands of PNG files takes seconds, so decoded arrays are cached. Their address is the digest of the
bytes of the source files: an edited mirror is decoded again, whatever the dates of its files.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.lib.format import open_memmap

from robustbench_wb.errors import DataError
from robustbench_wb.folders import write_atomic
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array
from robustbench_wb.tasks.class_labels import unify_labels
from robustbench_wb.tasks.dataset_source import locate_dataset
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.fitting_patch import fitting_patch
from robustbench_wb.tasks.image_decoding import decode_splits, decoded_rows, lossy_suffix
from robustbench_wb.tasks.mirror import class_names_of_files, followed_mirror, mirror_folder
from robustbench_wb.tasks.pictures.array_selection import with_selection
from robustbench_wb.tasks.pictures.decode import decode_picture, decoder_release
from robustbench_wb.tasks.pictures.listing import SPLITS
from robustbench_wb.tasks.pictures.task_options import GEOMETRY, SELECTION, geometry_of, parse_options
from robustbench_wb.tasks.read_splits import read_splits
from robustbench_wb.tasks.task import Dataset, Split, TaskFacts, image_shape

if TYPE_CHECKING:
    from datasets import Dataset as HubRows
    from datasets import DatasetDict, Features

_log = logging.getLogger(__name__)
_FORMAT = 3  # version of the decoded cache; raise it when decoding changes


class HubTask:
    """Image task of a dataset with one image column, one class-label column, and a split to evaluate.

    That is the split ``test``, or ``validation`` or ``valid`` where ``test`` is missing or has no labels. Without a
    split ``train``, models are evaluated as they are.

    Options follow the name: ``;size=224`` and others (``ImageGeometry``; images then have three channels),
    ``;split=NAME`` (evaluated split), ``;ids=FILE`` (numbers of its rows, from 0), ``;classes=FILE``
    (``read_class_map``, of the names of the classes) and ``;outputs=present`` (only the classes of the evaluated split
    are possible answers).
    """

    def __init__(self, facts: TaskFacts, options: Mapping[str, str] | None = None) -> None:
        self.facts = facts
        self.options = dict(options or {})
        self.name = ";".join([facts.name, *(f"{key}={value}" for key, value in self.options.items())])
        self.geometry = geometry_of(self.name, self.options)

    def with_options(self, name: str) -> "HubTask":
        """Return the task with the options that follow its name.

        Raises:
            UsageError: an option is wrong.
        """
        return HubTask(self.facts, parse_options(name, (*GEOMETRY, *SELECTION))[1])

    def load(self, data_dir: str | None) -> Dataset:
        """Load from ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if it exists, else from the hub or its local cache.

        Images that cannot be cut into patches get a patch larger than the image, so that they have no patches.

        Raises:
            DataError: the data cannot be had, or do not fit the options.
        """
        name, split, geometry = self.facts.name, self.options.get("split"), self.geometry
        more = {} if split is None else {"split": split}
        fitted = {} if geometry is None else {"geometry": geometry, "decoder": decoder_release()}
        with followed_mirror(self.facts.source, data_dir) as mirror:
            source = locate_dataset(self.facts.source, mirror)
            files = mirror_folder(self.facts.source, mirror)
            decoded = load_or_make_arrays(
                {"format": _FORMAT, "source": source.digest, **more, **fitted},
                name=name,
                verb="decode",
                fill=lambda folder: _decode_into(folder, read_splits(source), mirror=files, task=self),
                read=_read,
            )
        for note in decoded.notes:
            _log.warning("%s", note)
        suffix = decoded.lossy if self.facts.lossless else ""
        height, width = decoded.train.inputs.shape[2:]
        patch = (None if fitted else self.facts.patch) or fitting_patch(height, width)
        shape = image_shape(decoded.test, len(decoded.classes), patch)
        label = name + suffix + ("" if split is None else f";split={split}")
        label += "" if geometry is None else geometry.text
        found = EvaluationDataset(
            label=label, classes=decoded.classes, train=decoded.train, test=decoded.test, shape=shape
        )
        return with_selection(found, self.options)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Decoded:
    """Decoded arrays of a dataset, read from the cache."""

    classes: tuple[str, ...]
    lossy: str
    notes: tuple[str, ...]
    train: Split
    test: Split


FASHION_MNIST = HubTask(
    TaskFacts(
        name="fashion-mnist",
        summary="28x28 grey clothes",
        source="zalando-datasets/fashion_mnist",
        patch=7,
        lossless=True,
    )
)
CIFAR10 = HubTask(
    TaskFacts(name="cifar10", summary="32x32 colour objects", source="uoft-cs/cifar10", patch=4, lossless=True)
)


def task_of_hub_id(name: str) -> HubTask:
    """Make a task for any hub id. Facts known about that dataset (patch size, original format) are kept."""
    for task in (FASHION_MNIST, CIFAR10):
        if task.facts.source == name:
            return HubTask(task.facts.model_copy(update={"name": name}))
    return HubTask(TaskFacts(name=name, summary="image classification from the hub", source=name))


class _Card(TypedDict):
    """Card of decoded arrays: names of the classes, suffix of a lossy copy, and notes on the labels."""

    classes: tuple[str, ...]
    lossy: str
    notes: tuple[str, ...]


def _decode_into(folder: Path, source: "DatasetDict", *, mirror: Path | None, task: HubTask) -> _Card:
    """Decode both splits into ``folder`` and return the card. ``mirror`` is the folder of the files, if there is one.

    Raises:
        DataError: a split is missing or empty, or has rows without a valid label.
    """
    name = task.facts.name
    test = _evaluated(source, name, task.options.get("split"))
    known = [split for split in dict.fromkeys(("train", test)) if split in source]
    image, label = _columns(source[known[0]].features, name)
    parts = {split: _with_images(source[split], image) for split in known}
    files = {} if mirror is None else class_names_of_files(mirror, label)
    found = unify_labels(parts, label, name=name, files=files)
    rows = list(parts.values())
    targets = ["train", "test"] if len(parts) == 2 else ["test"]
    if task.geometry is not None:
        for split, part in zip(targets, rows, strict=True):
            _decode_fitted(folder / f"{split}-images.npy", part, image=image, task=task)
    else:
        for split, images in zip(targets, decode_splits(rows, image, name), strict=True):
            write_array(folder / f"{split}-images.npy", images)
    for split, origin in zip(targets, parts, strict=True):
        write_array(folder / f"{split}-labels.npy", found.labels[origin])
    suffixes = {lossy_suffix(part, image) for part in rows}
    return {"classes": found.classes, "lossy": "".join(sorted(suffixes)), "notes": found.notes}


def _decode_fitted(target: Path, rows: "HubRows", *, image: str, task: HubTask) -> None:
    """Decode the images of a split to the size of a task, three channels each, one after the other into a file."""
    decode = partial(decode_picture, geometry=task.geometry, channels=3)
    side = 0 if task.geometry is None else task.geometry.size

    def fill(path: Path) -> None:
        pages = open_memmap(path, "w+", np.uint8, (len(rows), 3, side, side))
        for row, levels in enumerate(decoded_rows(rows, image, task.facts.name, decode=decode)):
            pages[row] = levels
        pages.flush()

    write_atomic(target, fill)


def _evaluated(source: "DatasetDict", name: str, wanted: str | None) -> str:
    """Name of the split to evaluate: the first that exists and has a label, of ``test``, ``validation`` and ``valid``.

    A name that is asked for is that split, or the one that means it: ``validation`` finds ``valid`` and ``val``.

    Raises:
        DataError: there is none.
    """
    if wanted is not None:
        meaning = SPLITS.get(wanted, wanted)
        same = [split for split in source if split == wanted or SPLITS.get(str(split)) == meaning]
        if not same:
            raise DataError(f"{name} has splits {sorted(source)}, and no {wanted!r}", "split")
        return wanted if wanted in same else str(same[0])
    found = [split for split in ("test", "validation", "valid") if split in source]
    if not found:
        raise DataError(f"{name} has splits {sorted(source)}; a task needs 'test' or 'validation'")
    for split in found:
        _, label = _columns(source[split].features, name)
        if any(value not in (None, -1) for value in source[split][label]):
            return split
    return found[0]


def _columns(features: "Features", name: str) -> tuple[str, str]:
    """Names of the image column and the label column: a class label, or one of the usual names of a label.

    Raises:
        DataError: the dataset does not have exactly one of each.
    """
    import datasets

    images = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    images = images or [key for key, kind in features.items() if _is_encoded(kind)]
    labels = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels = labels or [key for key in features if key in ("label", "labels")]
    preferred = [key for key in labels if key in ("label", "labels", "fine_label")]
    labels = preferred if len(labels) > 1 and len(preferred) == 1 else labels
    if len(images) != 1 or len(labels) != 1:
        found = f"{_named('image', images)} and {_named('class-label', labels)}"
        raise DataError(f"{name} has the columns {', '.join(features)}: {found}; a task needs one of each")
    return images[0], labels[0]


def _named(kind: str, columns: Sequence[str]) -> str:
    """Columns of a kind in words."""
    if not columns:
        return f"no {kind} column"
    return f"the {kind} column{'s' if len(columns) > 1 else ''} {', '.join(columns)}"


def _is_encoded(kind: object) -> bool:
    """Whether a column holds encoded images without saying so: bytes, or a path beside them, as pandas writes it."""
    import datasets

    if isinstance(kind, dict):
        return kind.keys() == {"bytes", "path"}
    return isinstance(kind, datasets.Value) and kind.dtype in ("binary", "large_binary")


def _with_images(rows: "HubRows", column: str) -> "HubRows":
    """Rows whose column of encoded images says what it is."""
    import datasets

    return rows.cast_column(column, datasets.Image()) if _is_encoded(rows.features.get(column)) else rows


def _read(folder: Path, card: _Card) -> _Decoded:
    test = _read_split(folder, "test")
    trained = (folder / "train-images.npy").is_file()
    train = _read_split(folder, "train") if trained else test.select_rows(slice(0))
    return _Decoded(
        classes=tuple(card["classes"]), lossy=card["lossy"], notes=tuple(card["notes"]), train=train, test=test
    )


def _read_split(folder: Path, split: str) -> Split:
    images = np.load(folder / f"{split}-images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}-labels.npy")
    if images.ndim != 4 or len(images) != len(labels):
        raise ValueError(f"{split} has images {images.shape} and labels {labels.shape}")
    return Split(inputs=images, labels=labels)
