"""Small mirrors in hub layout with encoded images."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

Picture = bytes | None
Write = Callable[..., Path]


def encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(mode: str, seed: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    """Random image; ``size`` is (width, height)."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8), mode)


def rows(pictures: Sequence[Picture], labels: Sequence[int | None], names: Sequence[str], **more: Any) -> Any:
    """Split with the columns ``image`` and ``label``; ``more`` adds columns as (values, feature)."""
    columns: dict[str, Any] = {
        "image": [None if p is None else {"bytes": p, "path": None} for p in pictures],
        "label": list(labels),
    }
    kinds: dict[str, Any] = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(names))}
    for name, (values, kind) in more.items():
        columns[name], kinds[name] = values, kind
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
