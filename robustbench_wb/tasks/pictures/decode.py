"""Decoding of picture files straight to the size of a task, in parallel, into an array on disk."""

import io
import os
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from multiprocessing import current_process
from pathlib import Path
from typing import Final

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image, __version__, features

from robustbench_wb.errors import DataError
from robustbench_wb.folders import write_atomic
from robustbench_wb.models.image_geometry import ImageGeometry
from robustbench_wb.tasks.image_decoding import BROKEN, plain_picture

CHUNK: Final = 64
"""Pictures that a process decodes before it takes more."""
PARALLEL: Final = 256
"""Number of pictures from which several processes are worth their start."""
_FILTERS: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def decoder_release() -> str:
    """Releases of the libraries that turn files into pixels; another one may decode a JPEG to other levels."""
    return f"pillow {__version__}, jpeg {features.version('jpg')}, webp {features.version('webp')}"


def decode_pictures(
    target: Path,
    folder: Path,
    files: Sequence[str],
    *,
    digests: Sequence[str],
    geometry: ImageGeometry | None,
    shape: tuple[int, int, int],
    border: int = 0,
) -> None:
    """Decode pictures into an ``.npy`` file, uint8 (N, C, H, W), written atomically.

    No more than a few pictures are in memory at once, whatever their number and size.

    Args:
        target: the file to write.
        folder: the folder of the pictures.
        files: paths relative to it, in the order of the array.
        digests: SHA-256 (hex) of the bytes of each file, by which the array is known: other bytes are refused.
        geometry: how pictures are scaled and cropped; None: all have the height and width of ``shape``.
        shape: channels, height and width of each image; one channel holds the grey levels.
        border: pixels that are cut off at each side of a picture first.

    Raises:
        DataError: a picture cannot be read or decoded, has more than 8 bits per channel, or has other bytes by now; or
            the array does not fit on the disk.
    """

    def fill(path: Path) -> None:
        open_memmap(path, "w+", np.uint8, (len(files), *shape)).flush()
        _reserve(path)
        jobs = [range(first, min(first + CHUNK, len(files))) for first in range(0, len(files), CHUNK)]
        one = partial(
            _decode_rows,
            path,
            folder,
            files=files,
            digests=digests,
            geometry=geometry,
            channels=shape[0],
            border=border,
        )
        processes = cpu_count()
        if processes == 1 or len(files) < PARALLEL or current_process().daemon:
            for rows in jobs:
                one(rows)
        else:
            # joblib is used because workers of the standard library import the script of the caller.
            Parallel(processes)(delayed(one)(rows) for rows in jobs)

    write_atomic(target, fill)


def _decode_rows(
    path: Path,
    folder: Path,
    rows: range,
    *,
    files: Sequence[str],
    digests: Sequence[str],
    geometry: ImageGeometry | None,
    channels: int,
    border: int,
) -> None:
    pages = open_memmap(path, "r+")
    for row in rows:
        file = folder / files[row]
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(f"picture {file} cannot be read: {error.strerror}; run again") from error
        if sha256(content).hexdigest() != digests[row]:
            raise DataError(f"picture {file} was changed while the run was reading it; run again")
        try:
            with Image.open(io.BytesIO(content)) as picture:
                pages[row] = decode_picture(without_border(picture, border), geometry, channels)
        except BROKEN as error:
            raise DataError(f"picture {file} cannot be decoded: {error}; repair or remove it") from error
    pages.flush()


def _reserve(path: Path) -> None:
    """Take the space of a mapped file on the disk: a full disk would kill the process that writes into a hole of it.

    Raises:
        DataError: the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    size = path.stat().st_size
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise DataError(
            f"the decoded pictures need {size / 1e9:.2f} GB in {path.parent}: {error.strerror}; free space, or name "
            "another folder by RBWB_CACHE_DIR"
        ) from error


def without_border(picture: Image.Image, border: int) -> Image.Image:
    """Cut off so many pixels at each side; they are fewer than half of the shorter side."""
    width, height = picture.size
    return picture.crop((border, border, width - border, height - border)) if border else picture


def decode_picture(picture: Image.Image, geometry: ImageGeometry | None, channels: int) -> NDArray[np.uint8]:
    """Decode one picture to levels, uint8 (C, H, W): convert to grey or RGB, scale, crop. Alpha is dropped.

    Orientation tags are ignored, as torchvision and timm ignore them.

    Raises:
        ValueError: the picture has more than 8 bits per channel.
    """
    plain = plain_picture(picture)
    plain = plain.convert("RGB") if channels == 3 and plain.mode != "RGB" else plain
    levels = np.asarray(plain if geometry is None else _fitted(plain, geometry), np.uint8)
    return np.ascontiguousarray(levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1))


def _fitted(picture: Image.Image, geometry: ImageGeometry) -> Image.Image:
    """Scale and crop a picture; the rounding is that of torchvision's ``Resize`` and ``CenterCrop``.

    Image processors of transformers cut one pixel further to the left or top where half a pixel is left over.
    """
    size, resample = geometry.size, _FILTERS[geometry.interpolation]
    if geometry.crop == "squash":
        return picture if picture.size == (size, size) else picture.resize((size, size), resample)
    shorter = geometry.resize or size
    width, height = picture.size
    scaled = (shorter, int(shorter * height / width)) if width <= height else (int(shorter * width / height), shorter)
    if scaled != picture.size:
        picture = picture.resize(scaled, resample)
    width, height = scaled
    if min(scaled) < size:  # the rest is black, as in torchvision
        canvas = Image.new(picture.mode, (max(width, size), max(height, size)))
        canvas.paste(picture, ((canvas.width - width) // 2, (canvas.height - height) // 2))
        picture, (width, height) = canvas, canvas.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))
