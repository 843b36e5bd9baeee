"""Image classification from the hub or from a local mirror in hub layout, through Hugging Face ``datasets``.

Decoding tens of thousands of PNG files takes seconds, so decoded arrays are kept in the cache folder, addressed by
the bytes of the files that they came from: an edited mirror is decoded again, whatever its file dates say.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.kept import kept, write_array
from robustbench_wb.tasks.pictures import decode, lossy_suffix
from robustbench_wb.tasks.source import locate
from robustbench_wb.tasks.task import Dataset, Split, TaskFacts, default_patch, image_shape

_FORMAT = 2  # of the decoded cache; raise it when decoding changes


class HubTask:
    """A dataset with one image column and one class-label column, splits ``train`` and ``test`` (or ``validation``)."""

    def __init__(self, facts: TaskFacts) -> None:
        self.facts = facts
        self.name = facts.name

    def load(self, data_dir: str | None) -> Dataset:
        """Load from ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if there, else from the hub (or its local cache)."""
        source = locate(self.facts.source, data_dir)
        key = {"format": _FORMAT, "source": source.digest}
        decoded = kept(key, self.name, "decode", lambda folder: _decode_into(folder, source.open(), self.name), _read)
        suffix = decoded.lossy if self.facts.lossless else ""
        patch = self.facts.patch or default_patch(*decoded.train.inputs.shape[2:])
        shape = image_shape(decoded.train, len(decoded.classes), patch)
        return Dataset(self.name + suffix, decoded.classes, decoded.train, decoded.test, shape)


@dataclass(frozen=True, eq=False)
class _Decoded:
    """The decoded arrays of a source, read back from the cache."""

    classes: tuple[str, ...]
    lossy: str
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
    """A task for any hub id. What is known of that dataset under another name (patch, original format) still holds."""
    for task in (FASHION_MNIST, CIFAR10):
        if task.facts.source == name:
            return HubTask(task.facts.model_copy(update={"name": name}))
    return HubTask(TaskFacts(name=name, summary="image classification from the hub", source=name))


def _decode_into(folder: Path, source: Any, name: str) -> dict[str, object]:
    """Decode both splits; gives the card."""
    test = next((split for split in ("test", "validation", "valid") if split in source), None)
    if "train" not in source or test is None:
        raise DataError(f"{name} has splits {sorted(source)}; a task needs 'train' and 'test' (or 'validation')")
    image, label = _columns(source["train"].features, name)
    classes = source["train"].features[label].names
    origins = {"train": "train", "test": test}
    rows = [source[origin] for origin in origins.values()]
    for origin, part in zip(origins.values(), rows, strict=True):
        if len(part) == 0:
            raise DataError(f"{name}: split {origin!r} is empty")
    for (split, origin), (images, labels) in zip(origins.items(), decode(rows, image, label, name), strict=True):
        if labels.min() < 0 or labels.max() >= len(classes):
            raise DataError(f"{name}: split {origin!r} holds rows without a valid label, so it cannot be scored")
        write_array(folder / f"{split}-images.npy", images)
        write_array(folder / f"{split}-labels.npy", labels)
    suffixes = {lossy_suffix(part, image) for part in rows}
    return {"classes": classes, "lossy": "".join(sorted(suffixes))}


def _columns(features: Any, name: str) -> tuple[str, str]:
    """Names of the image column and the label column.

    Raises:
        DataError: there is not exactly one of each.
    """
    import datasets

    images = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [key for key, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    preferred = [key for key in labels if key in ("label", "labels", "fine_label")]
    labels = preferred if len(labels) > 1 and len(preferred) == 1 else labels
    if len(images) != 1 or len(labels) != 1:
        raise DataError(f"{name} has image columns {images} and class-label columns {labels}; a task needs one of each")
    return images[0], labels[0]


def _read(folder: Path, card: dict[str, Any]) -> _Decoded:
    train, test = (_read_split(folder, name) for name in ("train", "test"))
    return _Decoded(tuple(card["classes"]), str(card["lossy"]), train, test)


def _read_split(folder: Path, split: str) -> Split:
    images = np.load(folder / f"{split}-images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}-labels.npy")
    if images.ndim != 4 or len(images) != len(labels):
        raise ValueError(f"{split} has images {images.shape} and labels {labels.shape}")
    return Split(images, labels)
