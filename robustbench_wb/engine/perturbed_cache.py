"""What stressors make without looking at a model, kept in the cache: made once per task, shared by all subjects."""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import PrivateAttr
from torch import nn

from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.measure import TaskSamples, jobs
from robustbench_wb.errors import UsageError, as_measurement_error
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.progress import Progress
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.stressor import Modality, PerturbedBatch, SampleBatch
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array, write_json

KIND = "perturbed"
"""The part of the cache that holds the shelf."""
LIMIT_GB = 8.0
"""What the shelf may hold unless RBWB_SHELF_GB says otherwise; the least recently used goes first."""
_FORMAT = 1  # of a folder; raise it when it changes
_BATCH = 1024  # samples asked for at once; cannot change a result


class CachedPerturbation(ModelFreeStressor):
    """Stands in for a stressor, with what it made of some samples."""

    name: ClassVar[str] = "shelved"
    modality: ClassVar[Modality] = "any"

    _of: ModelFreeStressor = PrivateAttr()
    _made: PerturbedData = PrivateAttr()
    _ids: NDArray[np.int32] = PrivateAttr()

    @classmethod
    def of(cls, stressor: ModelFreeStressor, made: PerturbedData, ids: NDArray[np.int32]) -> "CachedPerturbation":
        """``made`` holds the samples ``ids``, in that order."""
        value = cls()
        value._of, value._made, value._ids = stressor, made, ids
        return value

    @property
    def signature(self) -> str:
        """That of the stressor: it is named in messages."""
        return self._of.signature

    def make(self, job: SampleBatch) -> PerturbedData:
        """The rows of the job's samples."""
        order = np.argsort(self._ids, kind="stable")
        rows = order[np.searchsorted(self._ids, job.ids.cpu().numpy(), sorter=order)]
        job.advance(len(rows))
        return self._made.rows(rows)

    def finish(self, job: SampleBatch, made: PerturbedData) -> PerturbedBatch:
        """As the stressor does it."""
        return self._of.finish(job, made)


class PerturbedCache:
    """The perturbed samples of one task."""

    def __init__(self, samples: TaskSamples, data: str, seed: int, device: torch.device, progress: Progress) -> None:
        self.samples, self.data, self.seed, self.device, self.progress = samples, data, seed, device, progress

    def take(self, stressor: ModelFreeStressor) -> tuple[ModelFreeStressor, str]:
        """The stressor with what it makes of all samples, and the SHA-256 of that; made now unless it is there.

        What is larger than the whole shelf is not kept: the stressor comes back as it is, with an empty digest.

        Raises:
            MeasurementError: the stressor failed.
            UsageError: the limit of the shelf is no number.
        """
        limit = _limit()
        if self.samples.inputs.nbytes > limit:
            return stressor, ""
        with as_measurement_error(stressor.name):
            made, content = load_or_make_arrays(
                self._key(stressor), stressor.label, "store", lambda folder: self._fill(folder, stressor), _read, KIND
            )
        _make_room(limit)
        return CachedPerturbation.of(stressor, made, self.samples.ids), content

    def _key(self, stressor: ModelFreeStressor) -> dict[str, object]:
        return {
            "format": _FORMAT,
            "signature": stressor.signature,
            "code": stressor.code(),
            "data": self.data,
            "samples": self.samples.ids.tolist(),
            "words": self.samples.lexicon.words if stressor.modality == "text" else (),
            "tokens": self._tokens() if stressor.modality == "tokens" else "",
            "seed": self.seed,
            "device": self.device.type,
        }

    def _tokens(self) -> str:
        """SHA-256 (hex) of the token ids: a subject with a tokenizer of its own has other ones than the task."""
        return hashlib.sha256(np.ascontiguousarray(self.samples.inputs).data).hexdigest()

    def _fill(self, folder: Path, stressor: ModelFreeStressor) -> dict[str, object]:
        """Everything that the stressor makes, job by job; gives the card."""
        parts: list[PerturbedData] = []
        count, label = len(self.samples), f"make {stressor.label} {stressor.strength}".rstrip()
        images = self.samples.inputs if self.samples.inputs.dtype == np.uint8 else None

        def make(path: Path | None) -> None:
            pages = open_memmap(path, "w+", np.uint8, images.shape) if path and images is not None else None
            with self.progress.stage(label, count, "samples") as advance:
                asked = (self.seed, self.device, BatchSize(_BATCH), advance)
                for rows, job in jobs(nn.Identity(), self.samples, np.arange(count), *asked):
                    made = stressor.make(job)
                    if pages is not None and made.inputs is not None:
                        pages[rows] = made.inputs  # all of them may be more than memory holds
                        pages.flush()
                        made = replace(made, inputs=None)
                    parts.append(made)

        if images is None:
            make(None)
        else:
            write_atomic(folder / "inputs.npy", make)
        return _write(folder, parts)


def _write(folder: Path, parts: list[PerturbedData]) -> dict[str, object]:
    """What is not on disk yet; gives the card. Arrays of different parts have different rows, and equal widths."""
    for name in ("inputs", "changed", "units", "counted"):
        arrays = [array for part in parts if (array := getattr(part, name)) is not None]
        if arrays:
            write_array(folder / f"{name}.npy", np.concatenate(arrays))
    texts = [text for part in parts for text in part.texts or ()]
    if texts:
        write_json(folder / "texts.json", texts)
    return {"sha256": _content(folder)}


def _content(folder: Path) -> str:
    """SHA-256 (hex) over the perturbed inputs or texts."""
    sha = hashlib.sha256()
    if (folder / "inputs.npy").is_file():
        for rows in np.load(folder / "inputs.npy", mmap_mode="r"):
            sha.update(np.ascontiguousarray(rows).data)
    if (folder / "texts.json").is_file():
        sha.update((folder / "texts.json").read_bytes())
    return sha.hexdigest()


def _read(folder: Path, card: Any) -> tuple[PerturbedData, str]:
    """The stored samples and their digest; reading marks the folder as used."""
    if _content(folder) != card["sha256"]:
        raise ValueError("its bytes are not those that were written")
    arrays = {
        name: np.load(path, mmap_mode="r") if name == "inputs" else np.load(path)
        for name in ("inputs", "changed", "units", "counted")
        if (path := folder / f"{name}.npy").is_file()
    }
    texts = folder / "texts.json"
    found = json.loads(texts.read_text(encoding="utf-8")) if texts.is_file() else None
    (folder / "card.json").touch()
    made = PerturbedData(
        inputs=arrays.get("inputs"),
        texts=found,
        changed=arrays["changed"],
        units=arrays["units"],
        counted=arrays.get("counted"),
    )
    return made, str(card["sha256"])


def _limit() -> float:
    """Bytes that the shelf may hold.

    Raises:
        UsageError: RBWB_SHELF_GB is no number, or below 0.
    """
    wanted = os.environ.get("RBWB_SHELF_GB", str(LIMIT_GB))
    try:
        limit = float(wanted) * 1e9
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise UsageError(f"RBWB_SHELF_GB is {wanted!r}; it must be a number of gigabytes, 0 or more")
    return limit


def _make_room(limit: float) -> None:
    """Remove what was used longest ago until the rest is within the limit. Open files stay readable."""
    found = []
    for card in cache_folder(KIND).glob("*/card.json"):
        with suppress(FileNotFoundError):  # another process makes room as well
            size = sum(file.stat().st_size for file in card.parent.iterdir())
            found.append((card.stat().st_mtime_ns, size, card.parent))
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found)[:-1]:
        if total <= limit:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
