"""From encoded pictures to arrays, and what the encoding says of the data."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.errors import DataError

MIXED_SIZE = 64
"""Side to which pictures of differing sizes are brought (bilinear, then centre crop)."""

# ITU-T T.81 Annex K, table K.1 (luminance), first row: enough to recognise a standard quality setting.
_LUMINANCE_ROW = (16, 11, 10, 16, 24, 40, 51, 61)


def decode(rows: Any, image: str, label: str, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode a split to uint8 (N, C, H, W) and int64 (N,). C is 1 when every picture is grey, else 3.

    Raises:
        DataError: a picture cannot be decoded.
    """
    pictures = []
    try:
        for start in range(0, len(rows), 4096):
            pictures += [_array(picture) for picture in rows[start : start + 4096][image]]
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: picture {len(pictures)} cannot be decoded: {error}") from error
    if len({picture.shape for picture in pictures}) > 1:
        pictures = [_array(_square(Image.fromarray(picture).convert("RGB"))) for picture in pictures]
    stacked = np.stack(pictures) if pictures else np.zeros((0, 1, 1), np.uint8)
    channels_first = stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first), np.asarray(rows[label], np.int64)


def _array(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"), np.uint8)


def _square(picture: Image.Image) -> Image.Image:
    scale = MIXED_SIZE / min(picture.size)
    width, height = (max(MIXED_SIZE, round(side * scale)) for side in picture.size)
    left, top = (width - MIXED_SIZE) // 2, (height - MIXED_SIZE) // 2
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + MIXED_SIZE, top + MIXED_SIZE))


def lossy_suffix(rows: Any, image: str) -> str:
    """``-jpeg75`` when the first picture is a JPEG of quality 75, ``-jpeg`` for non-standard tables, else empty."""
    import datasets

    encoded = rows.cast_column(image, datasets.Image(decode=False))[0][image]["bytes"]
    if encoded is None:
        return ""
    with Image.open(io.BytesIO(encoded)) as picture:
        tables = getattr(picture, "quantization", None)
    if not tables:
        return ""
    quality = _jpeg_quality(tuple(tables[0][:8]))
    return "-jpeg" if quality is None else f"-jpeg{quality}"


def _jpeg_quality(row: tuple[int, ...]) -> int | None:
    """The quality whose standard luminance table begins with ``row`` (the scaling of the Independent JPEG Group)."""
    for quality in range(100, 0, -1):
        scale = 200 - 2 * quality if quality >= 50 else 5000 // quality
        if row == tuple(min(255, max(1, (entry * scale + 50) // 100)) for entry in _LUMINANCE_ROW):
            return quality
    return None
