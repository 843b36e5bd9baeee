"""Location of the files of a dataset: a local mirror in hub layout, the hub, or the local cache of the hub library.

A dataset is identified by the bytes of its files, so that an edited mirror is another dataset, whatever the file dates.
"""

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustbench_wb.errors import DataError, first_line

if TYPE_CHECKING:
    from datasets import DatasetDict

_REASON = 200  # longest quoted message of a library, in characters
_EMPTY_SPLIT = re.compile('Instruction "(.+)" corresponds to no data|BatchSize must be greater than 0')
"""What datasets says of a split without rows."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetSource:
    """Dataset that has been located; its rows are read on request."""

    digest: str
    """SHA-256 (hex) over the names and bytes of the files."""
    open: Callable[[], "DatasetDict"]
    """Reads the rows of all splits, by name of the split."""
    splits: Callable[[], set[str]]
    """Returns the names of the splits without reading rows; for a mirror, other words of file names as well."""


def locate_dataset(hub_id: str, data_dir: str | None, config: str | None = None) -> DatasetSource:
    """Locate a dataset: in ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if it exists, else on the hub or in its cache.

    ``data_dir`` defaults to the environment variable RBWB_DATA_DIR. A dataset with several configurations needs
    ``config``; in a mirror, a folder with the name of the configuration is found as well.

    Raises:
        DataError: the data folder does not exist, or the dataset cannot be reached.
    """
    root = data_dir or os.environ.get("RBWB_DATA_DIR")
    mirror = _mirror_folder(hub_id, root, config)
    if mirror is not None:
        files = _mirror_files(mirror)
        return DatasetSource(_files_digest(files), lambda: _open(str(mirror)), lambda: _split_names(files))
    found = _reach(hub_id, root, config)
    return DatasetSource(_files_digest(_cache_files(found)), lambda: found, lambda: set(found))


def _split_names(files: dict[str, Path]) -> set[str]:
    """Names of splits, and other words, in the paths of data files such as ``data/test-0-of-1.parquet``."""
    return {part.split("-")[0].split(".")[0] for name in files for part in Path(name).parts}


def _mirror_folder(source: str, root: str | None, config: str | None) -> Path | None:
    """Folder of a hub id in the mirror; None if no mirror is given or the mirror lacks the dataset.

    Raises:
        DataError: the folder of the mirror does not exist.
    """
    if not root:
        return None
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(
            f"data folder {root} does not exist; data_dir / RBWB_DATA_DIR names a mirror in hub layout", "data_dir"
        )
    names = [source, source.split("/")[-1], *([config] if config else [])]
    for folder in (base / name for name in names):
        if any(folder.rglob("*.parquet")) or any(folder.rglob("*.arrow")):
            return folder
    return None


def _mirror_files(mirror: Path) -> dict[str, Path]:
    """Files of a mirror by relative path, without hidden ones (``.git``, ``.cache``)."""
    inside = ((path.relative_to(mirror), path) for path in mirror.rglob("*.*") if path.is_file())
    return {name.as_posix(): path for name, path in inside if not any(part.startswith(".") for part in name.parts)}


def _files_digest(files: dict[str, Path]) -> str:
    """SHA-256 (hex) over the names and bytes of the files.

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


def _cache_files(source: "DatasetDict") -> dict[str, Path]:
    paths = [Path(entry["filename"]) for split in source for entry in source[split].cache_files]
    return {path.name: path for path in paths}


def _open(path: str) -> "DatasetDict":
    """Read the dataset in a local folder. Arrow copies go to a temporary folder.

    Raises:
        DataError: the dataset cannot be read.
    """
    import datasets

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return datasets.load_dataset(path, cache_dir=scratch, keep_in_memory=True)
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            # The message "An error occurred while generating the dataset" gives its reason in the cause.
            reason = first_line(error.__cause__ or error, _REASON)
            problem = f"cannot be read: {reason}"
            if empty := _EMPTY_SPLIT.search(reason):
                problem = f"has a split without rows{f': {empty[1]}' if empty[1] else ''}; remove its files"
            raise DataError(f"the dataset in {path} {problem}") from error


def _reach(hub_id: str, mirror: str | None, config: str | None) -> "DatasetDict":
    """Load a dataset from the hub or, without a network, from the local cache of the hub library.

    A quick request goes first, because ``datasets`` alone retries an unreachable hub for most of a minute.

    Raises:
        DataError: the hub has no such dataset, the dataset cannot be loaded, or it is neither reachable nor cached.
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
        raise DataError(f"the hub has no readable dataset {hub_id!r}: {first_line(error, _REASON)}") from error
    except (httpx2.HTTPError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError) as error:
        silence = first_line(error, _REASON)
        _log.info("the hub did not answer (%s); trying its local cache", silence)
    try:
        with _offline(revision is None):
            return datasets.load_dataset(hub_id, config, revision=revision)
    except (OSError, ValueError, httpx2.HTTPError, datasets.exceptions.DatasetsError) as error:
        if revision is not None:
            reason = first_line(error, _REASON)
            raise DataError(f"dataset {hub_id!r} is on the hub but cannot be loaded: {reason}") from error
        where = f"{mirror} has no folder for it" if mirror else "no local mirror was given"
        raise DataError(
            f"dataset {hub_id!r} cannot be reached: {where} and the hub did not answer ({silence}); "
            "connect to the network, give a folder in hub layout with data_dir or RBWB_DATA_DIR, or use the embedded "
            "task digits",
            "data_dir",
        ) from error


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Set the hub library to offline mode within the block if ``wanted``, so that it does not retry the network."""
    import datasets
    import huggingface_hub.constants as hub

    before = (hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    if wanted:
        hub.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
