"""Published corrupted images: folders like CIFAR-10-C and ImageNet-C, used in place."""

import hashlib
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.progress import Advance
from robustbench_wb.spec import digest
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.tasks.pictures.manifest import read_manifest

SEVERITIES = 5
_PICTURES = (".jpg", ".jpeg", ".png")


class StoredCorruption(ModelFreeStressor):
    """Stored images of one corruption and severity, in the order of the task's test split.

    Two layouts are supported. CIFAR-C: ``folder/NAME.npy``, uint8 (5 n, H, W[, C]), severity after severity, beside
    ``labels.npy``. ImageNet-C: ``folder/NAME/SEVERITY/CLASS/PICTURE``, with classes and pictures sorted by name. Labels
    are compared with those of the task: another order is rejected, never guessed.
    """

    name: ClassVar[str] = "stored"
    axis: ClassVar[str | None] = "severity"
    modality = "image"

    corruption: str = Field(min_length=1)
    """Name of the corruption in the folder, like ``gaussian_noise``."""
    folder: str
    """Folder of the data set. The path is not part of the signature; the bytes in the folder are part of the
    identity."""
    severity: int = Field(ge=1, le=SEVERITIES)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if not (self._array.is_file() or self._pictures.is_dir()):
            raise UsageError(f"neither {self._array} nor {self._pictures} exists")
        return self

    @property
    def _array(self) -> Path:
        return Path(self.folder).expanduser() / f"{self.corruption}.npy"

    @property
    def _pictures(self) -> Path:
        return Path(self.folder).expanduser() / self.corruption / str(self.severity)

    @property
    def signature(self) -> str:
        """Printed form: corruption and severity, without the folder."""
        return f"{self.name};corruption={self.corruption};severity={self.severity}"

    @property
    def label(self) -> str:
        """Name in tables: includes the corruption."""
        return f"{self.name}-{self.corruption}"

    def code(self) -> str:
        """Digest of the source and of the bytes of the files. Pictures are read once, see ``read_manifest``.

        Raises:
            DataError: a file cannot be read.
        """
        if not self._array.is_file():
            return digest([super().code(), *picture_digests(self._pictures)])
        files = self._array, self._array.with_name("labels.npy")
        return digest([super().code(), *(_file_digest(path) for path in files)])

    def make(self, batch: SampleBatch, advance: Advance) -> PerturbedData:
        """Look up the samples of the batch.

        Raises:
            MeasurementError: the folder does not hold these samples, or cannot be read.
        """
        ids, labels = batch.ids.cpu().numpy(), batch.labels.cpu().numpy()
        images, stored = self._from_array(ids) if self._array.is_file() else self._from_pictures(ids)
        self._refuse_misfits(images, stored, labels=labels, shape=tuple(batch.inputs.shape[1:]))
        advance(len(ids))
        none = np.zeros(len(ids), np.int64)
        return PerturbedData(inputs=images, changed=none, units=none.copy())

    def _from_array(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        rows = np.load(self._array, mmap_mode="r")
        known = np.load(self._array.with_name("labels.npy"))
        each, rest = divmod(len(rows), SEVERITIES)
        if rest or rows.dtype != np.uint8 or rows.ndim not in (3, 4):
            raise MeasurementError(
                f"{self._array} holds {rows.dtype} {rows.shape}, not five severities of 8-bit images"
            )
        self._refuse_short(each, ids)
        places = (self.severity - 1) * each + ids
        images = rows[places]
        images = images[..., None] if images.ndim == 3 else images
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), known[places % len(known)].astype(np.int64)

    def _from_pictures(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        files = _files(self._pictures)
        self._refuse_short(len(files), ids)
        classes = sorted({file.parent.name for file in files})
        some = [files[number] for number in ids]
        pictures = [np.asarray(Image.open(file).convert("RGB"), np.uint8).transpose(2, 0, 1) for file in some]
        if len({picture.shape for picture in pictures}) > 1:
            raise MeasurementError(f"the images in {self._pictures} have different sizes")
        return np.stack(pictures), np.array([classes.index(file.parent.name) for file in some], np.int64)

    def _refuse_short(self, count: int, ids: NDArray[np.int64]) -> None:
        if len(ids) and int(ids.max()) >= count:
            raise MeasurementError(f"{self.folder} holds {count} samples of {self.corruption}, the task has more")

    def _refuse_misfits(
        self, images: NDArray[np.uint8], stored: NDArray[np.int64], *, labels: NDArray[np.int64], shape: tuple[int, ...]
    ) -> None:
        if images.shape[1:] != shape:
            raise MeasurementError(f"{self.folder} holds images {images.shape[1:]}, the task {shape}")
        wrong = int((stored != labels).sum())
        if wrong:
            raise MeasurementError(
                f"{self.folder} is in another order than the task: {wrong} of {len(labels)} labels differ"
            )


def _files(folder: Path) -> list[Path]:
    """Images of all class folders, sorted by class and name."""
    return sorted(path for path in folder.glob("*/*") if path.suffix.lower() in _PICTURES)


@cache
def picture_digests(folder: Path) -> list[str]:
    """SHA-256 (hex) of each image of a folder, in the order of ``_files``; looked up once per process."""
    names = [path.relative_to(folder).as_posix() for path in _files(folder)]
    return [picture.sha256 for picture in read_manifest(folder, names).values()]


@cache
def _file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file; computed once per process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
