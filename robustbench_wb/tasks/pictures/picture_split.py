"""Split of pictures in files, of which only those that are asked for are decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.spec import digest
from robustbench_wb.tasks.array_cache import load_or_make_arrays
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.pictures.decode import decode_pictures, decoder_release
from robustbench_wb.tasks.task import MOMENT_BYTES, Split

_FORMAT: Final = 1  # of the decoded arrays; raise it when decoding changes


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """Where the pictures of a split are, and how they become images."""

    folder: Path
    files: Sequence[str]
    """Paths relative to the folder."""
    digests: Sequence[str]
    """SHA-256 (hex) of the bytes of each file."""
    geometry: ImageGeometry | None
    """Scaling and cropping of the pictures; None: all have the size of ``shape``."""
    shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    border: int = 0
    """Pixels that are cut off at each side of a picture before anything else."""

    def identity(self, rows: NDArray[np.int64]) -> dict[str, object]:
        """Everything that the images of some pictures depend on."""
        cut = {"border": self.border} if self.border else {}
        return {
            **cut,
            "format": _FORMAT,
            "files": [self.digests[row] for row in rows.tolist()],
            "geometry": self.geometry,
            "shape": self.shape,
            "decoder": decoder_release(),
        }

    def decode(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of some pictures, uint8 (N, C, H, W), mapped from a file in the cache."""
        files, digests = ([those[row] for row in rows.tolist()] for those in (self.files, self.digests))

        def fill(target: Path) -> dict[str, int]:
            decode_pictures(
                target / "images.npy",
                self.folder,
                files,
                digests=digests,
                geometry=self.geometry,
                shape=self.shape,
                border=self.border,
            )
            return {"pictures": len(files)}

        def read(target: Path, card: object) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = np.load(target / "images.npy", mmap_mode="r")
            return found

        return load_or_make_arrays(self.identity(rows), str(self.folder), "decode", fill=fill, read=read)


class PictureSplit(Split):
    """Split of pictures in files.

    Reading ``inputs`` decodes all of them; ``take`` decodes some. The digest comes from the bytes of the files, their
    labels, the geometry and the release of the decoder, so that nothing need be decoded for it.
    """

    def __init__(self, source: PictureSource, labels: NDArray[np.int64]) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "labels", labels)

    source: PictureSource

    @cached_property
    def inputs(self) -> NDArray[Any]:
        """All images, uint8 (N, C, H, W), mapped from a file."""
        return self.take(np.arange(len(self), dtype=np.int64))

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of some rows, uint8 (N, C, H, W), mapped from a file; no others are decoded."""
        return self.source.decode(rows) if len(rows) else np.zeros((0, *self.source.shape), np.uint8)

    def select_rows(self, rows: slice) -> Split:
        """Return the samples ``rows`` as a split."""
        return PictureSplit(self._part(rows), self.labels[rows])

    def _part(self, rows: slice) -> PictureSource:
        return replace(self.source, files=self.source.files[rows], digests=self.source.digests[rows])

    def digest(self) -> str:
        """SHA-256 (hex) over everything that images and labels depend on."""
        every = np.arange(len(self), dtype=np.int64)
        return digest({**self.source.identity(every), "labels": self.labels.tolist()})

    def moments(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation per channel, see ``Split.moments``; only the pictures it takes are decoded."""
        share = min(len(self), max(1, MOMENT_BYTES // int(np.prod(self.source.shape))))
        first = np.arange(share, dtype=np.int64)
        return Split(inputs=self.take(first), labels=self.labels[:share]).moments()


class PictureDataset(EvaluationDataset):
    """Dataset of pictures in files. Without a training split, ``train`` has no samples."""

    def __post_init__(self) -> None:
        """Check nothing, because reading the images would decode all of them."""
