"""Cache of perturbations that look at no model: made once per task, shared by all models."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from pydantic import PrivateAttr
from torch import nn

from robustbench_wb.engine.batch import BatchSize
from robustbench_wb.engine.foreign_stressor import is_own
from robustbench_wb.engine.shared_arrays import fetch_arrays, share_arrays
from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples, sample_batches
from robustbench_wb.errors import UsageError, as_measurement_error
from robustbench_wb.folders import cache_folder, write_atomic
from robustbench_wb.progress import Advance, Progress
from robustbench_wb.spec import digest
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch
from robustbench_wb.stressors.stressor import Modality
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array, write_json

KIND = "perturbed"
"""Folder of the cache that holds perturbed samples."""
LIMIT_GB = 8.0
"""Largest size of the folder unless RBWB_SHELF_GB says otherwise; the least recently used samples are removed first."""
_FORMAT = 1  # of a folder; raise it when it changes
THREAD_VALUES = 1 << 22
"""Pixel values that a thread perturbs at once. Cannot change a result."""
MADE_ON_CPU: Final = frozenset({"jpeg-compression", "pixelate", "spatter"})
"""Corruptions that compute on the CPU, whatever the device of the model: as many cores as there are make them."""
_FLUSH_BYTES = 1 << 26
_BATCH = 1024  # samples asked for at once; cannot change a result


class CachedPerturbation(ModelFreeStressor):
    """A stressor that returns cached perturbations of another one."""

    name: ClassVar[str] = "shelved"
    modality: ClassVar[Modality] = "any"

    _of: ModelFreeStressor = PrivateAttr()
    _made: PerturbedData = PrivateAttr()
    _ids: NDArray[np.int32] = PrivateAttr()

    @classmethod
    def of(cls, stressor: ModelFreeStressor, made: PerturbedData, ids: NDArray[np.int32]) -> "CachedPerturbation":
        """Wrap a stressor; ``made`` holds its perturbations of the samples ``ids``, in that order."""
        value = cls()
        value._of, value._made, value._ids = stressor, made, ids
        return value

    @property
    def signature(self) -> str:
        """Signature of the wrapped stressor, which messages name."""
        return self._of.signature

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Select the cached rows of the batch's samples."""
        order = np.argsort(self._ids, kind="stable")
        rows = order[np.searchsorted(self._ids, batch.ids.cpu().numpy(), sorter=order)]
        advance(len(rows))
        return self._made.select(rows)

    def finish(self, batch: SampleBatch, made: PerturbedData) -> PerturbedBatch:
        """Make the perturbed batch as the wrapped stressor does."""
        return self._of.finish(batch, made)


@dataclass(frozen=True, eq=False, kw_only=True)
class PerturbedCache:
    """Cached perturbations of the samples of one task."""

    samples: TaskSamples
    data: str
    """Digest of the task's data."""
    seed: int
    device: torch.device
    progress: Progress
    last: dict[str, tuple[ModelFreeStressor, str]] = field(default_factory=dict)
    """The perturbation that was taken last, by the digest of its key: the next model takes it without a check."""

    def take(self, stressor: ModelFreeStressor) -> tuple[ModelFreeStressor, str]:
        """Find the perturbations of all samples, or make them now.

        Returns:
            A stressor that returns the cached perturbations, and their SHA-256 (hex). Perturbations that are larger
            than the whole cache are not kept: the stressor is returned as it is, with an empty digest.

        Raises:
            MeasurementError: the stressor failed.
            UsageError: the limit of the cache is no number.
        """
        if not fits_cache(self.samples.inputs.nbytes):
            return stressor, ""
        with as_measurement_error(stressor.name):
            key = self._key(stressor)
            name = digest(key)
            fill = partial(self._fetch_or_fill, name=f"{KIND}/{name}", stressor=stressor)
            if (found := self.last.get(name)) is not None:
                return found
            self.last.clear()
            made, content = load_or_make_arrays(key, stressor.label, "store", fill=fill, read=_read, kind=KIND)
        _make_room(_limit())
        self.last[name] = CachedPerturbation.of(stressor, made, self.samples.ids), content
        return self.last[name]

    def _key(self, stressor: ModelFreeStressor) -> dict[str, object]:
        text = self.samples.text
        return {
            "format": _FORMAT,
            "signature": stressor.signature,
            "code": stressor.code(),
            "data": self.data,
            "samples": self.samples.ids.tolist(),
            "words": text.lexicon.words if text is not None and stressor.modality == "text" else (),
            "tokens": self._tokens() if stressor.modality == "tokens" else "",
            "seed": self.seed,
            "device": self.device.type,
        }

    def _tokens(self) -> str:
        """SHA-256 (hex) of the token ids: a model with a tokenizer of its own has other ids than the task."""
        return hashlib.sha256(np.ascontiguousarray(self.samples.inputs).data).hexdigest()

    def _fetch_or_fill(self, folder: Path, *, name: str, stressor: ModelFreeStressor) -> dict[str, object]:
        """Copy the perturbations from the shared cache, or write them and share them; return the card."""
        card = fetch_arrays(name, folder)
        if card is None:
            card = self._fill(folder, stressor=stressor)
            share_arrays(name, folder, card)
        return card

    def _fill(self, folder: Path, *, stressor: ModelFreeStressor) -> dict[str, object]:
        """Write the perturbations of all samples, part by part; return the card."""
        parts: list[PerturbedData] = []
        count, label = len(self.samples), f"make {stressor.label} {stressor.strength}".rstrip()
        images = self.samples.inputs if self.samples.inputs.dtype == np.uint8 else None

        def make(path: Path | None) -> None:
            pages = open_memmap(path, "w+", np.uint8, images.shape) if path and images is not None else None
            unwritten = 0
            with self.progress.stage(label, count, "samples") as advance:
                for rows, made in self._parts(stressor, advance):
                    if pages is not None and made.inputs is not None:
                        pages[rows] = made.inputs
                        unwritten += made.inputs.nbytes
                        if unwritten >= _FLUSH_BYTES:  # together they may be larger than memory
                            pages.flush()
                            unwritten = 0
                        made = replace(made, inputs=None)
                    parts.append(made)

        if images is None:
            make(None)
        else:
            write_atomic(folder / "inputs.npy", make)
        return _write(folder, parts)

    def _parts(
        self, stressor: ModelFreeStressor, advance: Advance
    ) -> Iterator[tuple[NDArray[np.int64], PerturbedData]]:
        """Yield rows of the samples with their perturbations, in order.

        On a CPU, images are made in as many threads as torch may use, each with one: most of the time goes to
        operations that are too small to be shared by threads. Stressors of plug-ins may not be fit for that. On a GPU,
        only the corruptions of ``MADE_ON_CPU`` are.
        """
        threads, every = torch.get_num_threads(), np.arange(len(self.samples))
        inputs = self.samples.inputs
        count = min(len(every), -(-inputs.size // THREAD_VALUES)) if inputs.dtype == np.uint8 else 1
        parts = np.array_split(every, max(1, count))
        if not is_own(stressor) or self._maker(stressor).type != "cpu" or min(threads, len(parts)) < 2:
            yield from self._made(stressor, every, advance)
            return

        def work(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], PerturbedData]:
            (found,) = self._made(stressor, rows, lambda count: None)
            return found

        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                for first in range(0, len(parts), threads):  # what waits to be written is in memory
                    for rows, made in pool.map(work, parts[first : first + threads]):
                        advance(len(rows))
                        yield rows, made
        finally:
            torch.set_num_threads(threads)  # threads that start later get the number that was set last

    def _made(
        self, stressor: ModelFreeStressor, rows: NDArray[np.int64], advance: Advance
    ) -> Iterator[tuple[NDArray[np.int64], PerturbedData]]:
        """Perturb some samples in this thread; yield them batch by batch."""
        nothing = MeasuredModel(model=nn.Identity(), batch=BatchSize(_BATCH), device=self._maker(stressor))
        for some, batch in sample_batches(nothing, self.samples, rows, seed=self.seed):
            yield some, stressor.make(batch, advance)

    def _maker(self, stressor: ModelFreeStressor) -> torch.device:
        """Device that makes a perturbation."""
        return torch.device("cpu") if stressor.name in MADE_ON_CPU else self.device


def _write(folder: Path, parts: list[PerturbedData]) -> dict[str, object]:
    """Write the arrays that are not on disk yet; return the card. Parts differ in rows, and have equal widths."""
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
    """Read the stored samples and the digest of their inputs or texts; reading marks the folder as used."""
    arrays = {
        name: np.load(path, mmap_mode="r") if name == "inputs" else np.load(path)
        for name in ("inputs", "changed", "units", "counted")
        if (path := folder / f"{name}.npy").is_file()
    }
    texts = folder / "texts.json"
    found = json.loads(texts.read_text(encoding="utf-8")) if texts.is_file() else None
    with suppress(OSError):  # another user's file may be read and not marked
        (folder / "card.json").touch()
    made = PerturbedData(
        inputs=arrays.get("inputs"),
        texts=found,
        changed=arrays["changed"],
        units=arrays["units"],
        counted=arrays.get("counted"),
    )
    return made, str(card["sha256"])


def fits_cache(size: int) -> bool:
    """Whether the cache of perturbations can hold a number of bytes at once.

    Raises:
        UsageError: the limit of the cache is no number.
    """
    return size <= _limit()


def _limit() -> float:
    """Bytes that the cache of perturbations may hold.

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
    """Remove the least recently used samples until the rest is within the limit. Open files stay readable."""
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
