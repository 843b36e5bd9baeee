"""Where a dataset's files are: a local mirror in hub layout, the hub, or the hub library's own cache.

A source is known by the bytes of its files: an edited mirror is another source, whatever its file dates say.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustbench_wb.errors import DataError, first_line

_REASON = 200  # characters of a library's message
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A dataset that has been found; its rows are not read yet."""

    digest: str
    """SHA-256 (hex) over names and bytes of its files."""
    open: Callable[[], Any]
    """Gives the dataset dictionary: split name to rows."""
    splits: Callable[[], set[str]]
    """What there is a split for, without reading a mirror's rows."""


def locate(hub_id: str, data_dir: str | None, config: str | None = None) -> Source:
    """The dataset in ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if there, else on the hub (or in its local cache).

    ``data_dir`` falls back to the environment variable RBWB_DATA_DIR. A dataset with several configurations needs
    ``config``; in a mirror the folder of that name counts, too.

    Raises:
        DataError: the data folder does not exist, or the dataset cannot be reached.
    """
    root = data_dir or os.environ.get("RBWB_DATA_DIR")
    mirror = _mirror_folder(hub_id, root, config)
    if mirror is not None:
        files = _mirror_files(mirror)
        return Source(_files_digest(files), lambda: _open(str(mirror)), lambda: _split_names(files))
    found = _reach(hub_id, root, config)
    return Source(_files_digest(_cache_files(found)), lambda: found, lambda: set(found))


def _split_names(files: dict[str, Path]) -> set[str]:
    """Splits (among other words) that the names of data files tell, as in ``data/test-0-of-1.parquet``."""
    return {part.split("-")[0].split(".")[0] for name in files for part in Path(name).parts}


def _mirror_folder(source: str, root: str | None, config: str | None) -> Path | None:
    """The folder of a hub id inside the mirror; None when no mirror is named or it lacks the dataset."""
    if not root:
        return None
    base = Path(root).expanduser()
    if not base.is_dir():
        raise DataError(f"data folder {root} does not exist; --data-dir / RBWB_DATA_DIR names a mirror in hub layout")
    names = [source, source.split("/")[-1], *([config] if config else [])]
    for folder in (base / name for name in names):
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
            reason = first_line(error.__cause__ or error, _REASON)
            raise DataError(f"the dataset in {path} cannot be read: {reason}") from error


def _reach(hub_id: str, mirror: str | None, config: str | None) -> Any:
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
        raise DataError(f"the hub has no readable dataset {hub_id!r}: {first_line(error, _REASON)}") from error
    except (httpx2.HTTPError, errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError) as error:
        silence = first_line(error, _REASON)
        _log.info("the hub did not answer (%s); looking in its local cache", silence)
    try:
        with _offline(revision is None):
            return datasets.load_dataset(hub_id, config, revision=revision)
    except (OSError, ValueError, httpx2.HTTPError, datasets.exceptions.DatasetsError) as error:
        if revision is not None:
            reason = first_line(error, _REASON)
            raise DataError(f"dataset {hub_id!r} is on the hub but cannot be loaded: {reason}") from error
        where = f"{mirror} has no folder for it" if mirror else "no local mirror was named"
        raise DataError(
            f"dataset {hub_id!r} cannot be reached: {where} and the hub did not answer ({silence}); "
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
