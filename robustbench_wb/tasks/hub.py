"""Image classification from the hub or from a local mirror in hub layout, through Hugging Face ``datasets``.

Decoding tens of thousands of PNG files takes seconds, so decoded arrays are kept in the cache folder, addressed by
the bytes of the files that they came from: an edited mirror is decoded again, whatever its file dates say.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.spec import digest
from robustbench_wb.tasks.pictures import decode, lossy_suffix
from robustbench_wb.tasks.task import Dataset, Split, TaskFacts, default_patch

_FORMAT = 2  # of the decoded cache; raise it when decoding changes
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
            key = _files_digest(_mirror_files(mirror))
            decoded = _decoded(key, lambda: _open(str(mirror)), self.name)
        else:
            source = _reach(self.facts.source, root)
            decoded = _decoded(_files_digest(_cache_files(source)), lambda: source, self.name)
        suffix = decoded.lossy if self.facts.lossless else ""
        patch = self.facts.patch or default_patch(*decoded.train.images.shape[2:])
        return Dataset(self.name + suffix, decoded.classes, decoded.train, decoded.test, patch)


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


def _mirror_folder(source: str, root: str | None) -> Path | None:
    """The folder of a hub id inside the mirror; None when no mirror is named or it lacks the dataset."""
    if not root:
        return None
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(f"data folder {root} does not exist; --data-dir / RBWB_DATA_DIR names a mirror in hub layout")
    for folder in (base / source, base / source.split("/")[-1]):
        if any(folder.rglob("*.parquet")) or any(folder.rglob("*.arrow")):
            return folder
    return None


def _mirror_files(mirror: Path) -> dict[str, Path]:
    """Files of a mirror by their path inside it; hidden ones (``.git``, ``.cache``) are not part of the dataset."""
    inside = ((path.relative_to(mirror), path) for path in mirror.rglob("*.*") if path.is_file())
    return {name.as_posix(): path for name, path in inside if not any(part.startswith(".") for part in name.parts)}


def _files_digest(files: dict[str, Path]) -> str:
    """SHA-256 over names and bytes of the files.

    Raises:
        DataError: a file cannot be read.
    """
    sha = hashlib.sha256()
    for name in sorted(files):
        try:
            with files[name].open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"data file {files[name]} cannot be read: {error.strerror}") from error
        sha.update(f"{name}\0{content}\n".encode())
    return sha.hexdigest()


def _cache_files(source: Any) -> dict[str, Path]:
    paths = [Path(entry["filename"]) for split in source for entry in source[split].cache_files]
    return {path.name: path for path in paths}


def _open(path: str) -> Any:
    """A dataset dictionary of a local folder. Arrow copies go to a folder that is thrown away."""
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return datasets.load_dataset(path, cache_dir=scratch, keep_in_memory=True)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            # "An error occurred while generating the dataset" has its reason in the cause.
            reason = _first_line(error.__cause__ or error)
            raise DataError(f"the dataset in {path} cannot be read: {reason}") from error


def _reach(hub_id: str, mirror: str | None) -> Any:
    """A dataset dictionary from the hub; without a network, from the hub library's own cache.

    ``datasets`` alone retries an unreachable hub for most of a minute, so one quick question goes first.

    Raises:
        DataError: the hub has no such dataset, it cannot be loaded, or neither hub nor cache can be reached.
    """
    import datasets
    import httpx2
    from huggingface_hub import HfApi, errors

    datasets.disable_progress_bars()
    revision: str | None = None
    silence = ""
    try:
        revision = HfApi().dataset_info(hub_id, timeout=20).sha
    except (errors.RepositoryNotFoundError, errors.DisabledRepoError, errors.HFValidationError) as error:
        raise DataError(f"the hub has no readable dataset {hub_id!r}: {_first_line(error)}") from error
    except (httpx2.HTTPError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError) as error:
        silence = _first_line(error)
        _log.info("the hub did not answer (%s); looking in its local cache", silence)
    try:
        with _offline(revision is None):
            return datasets.load_dataset(hub_id, revision=revision)
    except (OSError, ValueError, httpx2.HTTPError, datasets.exceptions.DatasetsError) as error:
        if revision is not None:
            raise DataError(f"dataset {hub_id!r} is on the hub but cannot be loaded: {_first_line(error)}") from error
        where = f"{mirror} has no folder for it" if mirror else "no local mirror was named"
        raise DataError(
            f"dataset {hub_id!r} cannot be reached: {where} and the hub did not answer ({silence}); "
            "connect to the network, or name a folder in hub layout with --data-dir or RBWB_DATA_DIR, or use the "
            "embedded task: --task digits"
        ) from error


def _first_line(error: BaseException) -> str:
    """The first line of a library's message, which often has a page of advice after it."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


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


def _decoded(source_digest: str, open_source: Callable[[], Any], name: str) -> _Decoded:
    """The decoded arrays of a source; decoded now if a whole copy is not there yet."""
    folder = cache_folder("datasets") / digest({"format": _FORMAT, "source": source_digest})[:32]
    found = _read(folder)
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        _decode_into(folder, open_source(), name)
        found = _read(folder)
    if found is None:
        raise DataError(f"{name}: the decoded copy in {folder} cannot be read right after it was written")
    return found


def _decode_into(folder: Path, source: Any, name: str) -> None:
    """Decode both splits; the card is written last and is what makes the folder complete."""
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
        _write_array(folder / f"{split}-images.npy", images)
        _write_array(folder / f"{split}-labels.npy", labels)
    suffixes = {lossy_suffix(part, image) for part in rows}
    card = json.dumps({"classes": classes, "lossy": "".join(sorted(suffixes))})
    write_atomic(folder / "card.json", lambda path: path.write_text(card, encoding="utf-8"))


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


def _read(folder: Path) -> _Decoded | None:
    """A whole decoded copy; None when it is absent, unfinished or damaged."""
    if not (folder / "card.json").is_file():
        return None
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        train, test = (_read_split(folder, name) for name in ("train", "test"))
        return _Decoded(tuple(card["classes"]), str(card["lossy"]), train, test)
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        _log.warning("the decoded copy in %s is damaged (%s); decoding again", folder, error)
        return None


def _read_split(folder: Path, split: str) -> Split:
    images = np.load(folder / f"{split}-images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}-labels.npy")
    if images.ndim != 4 or len(images) != len(labels):
        raise ValueError(f"{split} has images {images.shape} and labels {labels.shape}")
    return Split(images, labels)
