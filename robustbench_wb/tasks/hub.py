"""Image classification from the hub or from a local mirror in hub layout, through Hugging Face ``datasets``.

Decoding tens of thousands of PNG files takes seconds, so decoded arrays are kept in the cache folder, addressed by
the bytes of the files that they came from: an edited mirror is decoded again, whatever its file dates say.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.spec import digest
from robustbench_wb.tasks.pictures import decode, lossy_suffix
from robustbench_wb.tasks.task import Dataset, Split, TaskFacts, default_patch

_FORMAT = 1  # of the decoded cache; raise it when decoding changes
_log = logging.getLogger(__name__)


class HubTask:
    """A dataset with one image column and one class-label column, splits ``train`` and ``test`` (or ``validation``)."""

    def __init__(self, facts: TaskFacts) -> None:
        self.facts = facts
        self.name = facts.name

    def load(self, data_dir: str | None) -> Dataset:
        """Load from ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if there, else from the hub (or its local cache)."""
        root = data_dir or os.environ.get("RBWB_DATA_DIR")
        mirror = _mirror_folder(self.facts.source, root)
        if mirror is not None:
            files = sorted(path for path in mirror.rglob("*.*") if path.is_file())
            folder = _decoded(_files_digest(files), lambda: _open(str(mirror)), self.name)
        else:
            source = _reach(self.facts.source, root)
            folder = _decoded(_files_digest(_cache_files(source)), lambda: source, self.name)
        card = json.loads((folder / "card.json").read_text())
        train, test = (_read_split(folder, name) for name in ("train", "test"))
        suffix = card["lossy"] if self.facts.lossless else ""
        patch = self.facts.patch or default_patch(*train.images.shape[2:])
        return Dataset(self.name + suffix, tuple(card["classes"]), train, test, patch)


FASHION_MNIST = HubTask(
    TaskFacts(
        name="fashion-mnist",
        summary="28x28 grey clothes",
        source="zalando-datasets/fashion_mnist",
        patch=4,
        lossless=True,
    )
)
CIFAR10 = HubTask(
    TaskFacts(name="cifar10", summary="32x32 colour objects", source="uoft-cs/cifar10", patch=4, lossless=True)
)


def _mirror_folder(source: str, root: str | None) -> Path | None:
    """The folder of a hub id inside the mirror; None when no mirror is named or it lacks the dataset."""
    if not root:
        return None
    if not Path(root).is_dir():
        raise DataError(f"data folder {root} does not exist; --data-dir / RBWB_DATA_DIR names a mirror in hub layout")
    for folder in (Path(root) / source, Path(root) / source.split("/")[-1]):
        if any(folder.rglob("*.parquet")) or any(folder.rglob("*.arrow")):
            return folder
    return None


def _files_digest(paths: list[Path]) -> str:
    """SHA-256 over names and bytes of the files."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(path.name.encode())
        with path.open("rb") as file:
            sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


def _cache_files(source: Any) -> list[Path]:
    return [Path(entry["filename"]) for split in sorted(source) for entry in source[split].cache_files]


def _open(path: str) -> Any:
    """A dataset dictionary of a local folder. Arrow copies go to a folder that is thrown away."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return datasets.load_dataset(path, cache_dir=scratch, keep_in_memory=True)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise DataError(f"the dataset in {path} cannot be read: {error}") from error


def _reach(hub_id: str, mirror: str | None) -> Any:
    """A dataset dictionary from the hub; without a network, from the hub library's own cache.

    ``datasets`` alone retries an unreachable hub for most of a minute, so one quick question goes first.
    """
    import datasets
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    datasets.disable_progress_bars()
    revision: str | None = None
    try:
        revision = HfApi().dataset_info(hub_id, timeout=20).sha
    except HfHubHTTPError as error:
        raise DataError(f"the hub has no readable dataset {hub_id!r}: {error}") from error
    except (httpx2.TransportError, OfflineModeIsEnabled, OSError) as error:
        _log.info("the hub did not answer (%s); looking in its local cache", error)
    try:
        with _offline(revision is None):
            return datasets.load_dataset(hub_id, revision=revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        where = f"{mirror} has no folder for it" if mirror else "no local mirror was named"
        raise DataError(
            f"dataset {hub_id!r} cannot be reached: {where} and the hub did not answer; "
            "connect to the network, or name a folder in hub layout with --data-dir or RBWB_DATA_DIR, or use the "
            "embedded task: --task digits"
        ) from error


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Keep the hub library from retrying a network that just did not answer."""
    import datasets
    import huggingface_hub.constants as hub

    before = (hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    if wanted:
        hub.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _decoded(source_digest: str, open_source: Any, name: str) -> Path:
    """The folder with the decoded arrays of a source; decoded now if it is not there yet."""
    folder = cache_folder("datasets") / digest({"format": _FORMAT, "source": source_digest})[:32]
    if not (folder / "card.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _decode_into(folder, open_source(), name)
    return folder


def _decode_into(folder: Path, source: Any, name: str) -> None:
    """Decode both splits; the card is written last and is what makes the folder complete."""
    test = next((split for split in ("test", "validation", "valid") if split in source), None)
    if "train" not in source or test is None:
        raise DataError(f"{name} has splits {sorted(source)}; a task needs 'train' and 'test' (or 'validation')")
    image, label = _columns(source["train"].features, name)
    classes = source["train"].features[label].names
    suffixes = set()
    for split, rows in (("train", source["train"]), ("test", source[test])):
        images, labels = decode(rows, image, label, name)
        if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(classes):
            raise DataError(f"{name}: split {split!r} holds rows without a valid label, so it cannot be scored")
        _write_array(folder / f"{split}-images.npy", images)
        _write_array(folder / f"{split}-labels.npy", labels)
        suffixes.add(lossy_suffix(rows, image))
    card = json.dumps({"classes": classes, "lossy": "".join(sorted(suffixes))})
    write_atomic(folder / "card.json", lambda path: path.write_text(card))


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


def _write_array(path: Path, array: NDArray[Any]) -> None:
    write_atomic(path, lambda temporary: np.save(temporary, array))


def _read_split(folder: Path, split: str) -> Split:
    return Split(
        np.load(folder / f"{split}-images.npy", mmap_mode="r"),
        np.load(folder / f"{split}-labels.npy"),
    )
