"""Decoding of images to arrays, and detection of lossy copies from their encoding."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

MIXED_SIZE = 64
"""Side in pixels to which images of differing sizes are resized (bilinear, then centre crop)."""

_CHUNK = 4096
GREY_MODES = ("1", "L", "LA")
"""Modes of Pillow whose pictures have one channel, besides transparency."""
_COLOUR = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
_LOSSLESS = ("PNG", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "PCX")
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""Exceptions that Pillow raises for bytes that are not an image, are truncated or too large."""

# ITU-T T.81 Annex K, table K.1 (luminance), row by row.
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)


def decode_splits(splits: Sequence["Dataset"], image: str, name: str) -> list[NDArray[np.uint8]]:
    """Decode the images of all splits in the same way, each to uint8 (N, C, H, W).

    C is 1 if every image of every split is grey, else 3; alpha is dropped. If any sizes differ, all images are resized
    to ``MIXED_SIZE``.

    Args:
        splits: rows of the splits.
        image: name of the image column.
        name: name of the task, for error messages.

    Raises:
        DataError: an image is missing, cannot be decoded, or has more than 8 bits per channel.
    """
    pictures = [list(decoded_rows(rows, image, name, decode=decode_levels)) for rows in splits]
    grey = all(picture.ndim == 2 for split in pictures for picture in split)
    resize = len({picture.shape[:2] for split in pictures for picture in split}) > 1
    return [_stack(split, grey, resize) for split in pictures]


def _encoded(rows: "Dataset", image: str) -> "Dataset":
    """Rows whose images are not decoded but given as ``{"bytes": ..., "path": ...}``."""
    import datasets

    return rows.cast_column(image, datasets.Image(decode=False))


def decoded_rows(
    rows: "Dataset", image: str, name: str, *, decode: Callable[[Image.Image], NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the image of each row of a split as ``decode`` returns it.

    Args:
        rows: rows of the split.
        image: name of the image column.
        name: name of the task, for error messages.
        decode: converts one image.

    Raises:
        DataError: an image is missing, or cannot be decoded.
    """
    feature, encoded = rows.features[image], _encoded(rows, image)
    for start in range(0, len(rows), _CHUNK):
        for number, value in enumerate(encoded[start : start + _CHUNK][image], start):
            if value is None:
                raise DataError(f"{name}: image {number} of split {rows.split} is missing")
            try:
                yield decode(feature.decode_example(value))
            except BROKEN as error:
                raise DataError(f"{name}: image {number} of split {rows.split} cannot be decoded: {error}") from error


def decode_levels(picture: Image.Image) -> NDArray[np.uint8]:
    """Convert an image to uint8: (H, W) if it is stored as grey, else (H, W, 3).

    Raises:
        ValueError: the image has more than 8 bits per channel.
    """
    return np.asarray(plain_picture(picture), np.uint8)


def plain_picture(picture: Image.Image) -> Image.Image:
    """Convert an image to mode L if it is stored as grey, else to RGB. Alpha is dropped.

    Raises:
        ValueError: the image has more than 8 bits per channel.
    """
    for mode, others in (("L", GREY_MODES), ("RGB", _COLOUR)):
        if picture.mode in others:
            return picture if picture.mode == mode else picture.convert(mode)
    raise ValueError(f"its mode {picture.mode} is not 8 bits per channel")


def _stack(pictures: list[NDArray[np.uint8]], grey: bool, resize: bool) -> NDArray[np.uint8]:
    if not pictures:
        return np.zeros((0, 1 if grey else 3, 1, 1), np.uint8)
    if not grey:
        pictures = [p if p.ndim == 3 else np.repeat(p[:, :, None], 3, axis=2) for p in pictures]
    if resize:
        pictures = [np.asarray(_square(Image.fromarray(picture)), np.uint8) for picture in pictures]
    stacked = np.stack(pictures)
    return np.ascontiguousarray(stacked[:, None] if grey else stacked.transpose(0, 3, 1, 2))


def _square(picture: Image.Image) -> Image.Image:
    scale = MIXED_SIZE / min(picture.size)
    width, height = (max(MIXED_SIZE, round(side * scale)) for side in picture.size)
    left, top = (width - MIXED_SIZE) // 2, (height - MIXED_SIZE) // 2
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + MIXED_SIZE, top + MIXED_SIZE))


def lossy_suffix(rows: "Dataset", image: str) -> str:
    """Suffix of the task name that says that the images are a lossy copy, from the first image; empty if lossless.

    ``-jpeg75`` is a JPEG of that standard quality, and ``-jpeg`` has other quantisation tables. A format that can be
    lossy gets its own name (``-webp``).
    """
    value = _encoded(rows, image)[0][image]
    with Image.open(io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"]) as picture:
        kind, tables = picture.format or "", getattr(picture, "quantization", None)
    if tables:
        quality = _jpeg_quality(tuple(tables[0]))
        return "-jpeg" if quality is None else f"-jpeg{quality}"
    return "" if kind in _LOSSLESS else f"-{kind.lower()}"


def _jpeg_quality(table: tuple[int, ...]) -> int | None:
    """Quality, 1 to 100, whose luminance table this is, as scaled by the Independent JPEG Group; None if unknown."""
    for quality in range(100, 0, -1):
        scale = 200 - 2 * quality if quality >= 50 else 5000 // quality
        if table == tuple(min(255, max(1, (entry * scale + 50) // 100)) for entry in _LUMINANCE):
            return quality
    return None
