"""Pictures of the samples that fell: the clean ones as the task holds them, since what broke them is not kept."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.engine.record import Record
from robustbench_wb.report.html.panel import PanelRows, panels
from robustbench_wb.report.labels import cell_label
from robustbench_wb.stats.flips import Flip, flips
from robustbench_wb.store.rows import ScoreRow
from robustbench_wb.tasks.task import Dataset

SHOWN: Final = 24
"""Pictures of one gallery."""


@dataclass(frozen=True)
class Picture:
    """One sample."""

    source: str
    """The image as a data URL."""
    name: str
    """Its number in the split and its class."""
    fell: str
    """The subjects that lost it."""


@dataclass(frozen=True)
class Gallery:
    """The samples that fell in one cell."""

    title: str
    note: str
    pictures: tuple[Picture, ...] = ()


def galleries(
    rows: Iterable[ScoreRow], records: Mapping[str, Record], load: Callable[[str], Dataset | str]
) -> list[Gallery]:
    """A gallery for every panel of images that lost some.

    Args:
        rows: of one table.
        records: by key; a row without one is not looked at.
        load: the dataset of a task by the name that rows have, or a sentence on why it cannot be had.
    """
    found = []
    for panel in panels(rows):
        images = [row for row in panel.rows if row.side and row.key in records]
        cell, members = _strongest(images)
        if cell is None:
            continue
        dataset = load(members[0].task)
        if isinstance(dataset, str):
            found.append(Gallery(f"{members[0].task}: {cell}", dataset))
        elif any(row.data != dataset.test.digest() for row in members):
            found.append(Gallery(f"{members[0].task}: {cell}", "the images at hand are not those that were measured"))
        else:
            found.append(_gallery(panel, cell, members, records, dataset))
    return found


def _strongest(rows: Sequence[ScoreRow]) -> tuple[str | None, list[ScoreRow]]:
    """The cell of the lowest mean accuracy among those where a sample fell, and its rows."""
    cells: dict[str, list[ScoreRow]] = {}
    for row in rows:
        cells.setdefault(cell_label(row), []).append(row)
    fallen = {cell: members for cell, members in cells.items() if any(row.broken for row in members)}
    cell = min(
        fallen, key=lambda name: sum(row.accuracy or 0.0 for row in fallen[name]) / len(fallen[name]), default=None
    )
    return cell, fallen.get(cell or "", [])


def _gallery(
    panel: PanelRows, cell: str, rows: Sequence[ScoreRow], records: Mapping[str, Record], dataset: Dataset
) -> Gallery:
    found = flips([records[row.key] for row in rows])
    names = [panel.labels[row.subject] for row in rows]
    note = f"{len(found)} samples fell for at least one of {len(rows)} subjects"
    note += f"; shown are {min(SHOWN, len(found))}, those first that fell for the fewest"
    pictures = tuple(_picture(flip, names, dataset) for flip in found[:SHOWN])
    return Gallery(f"{rows[0].task}, {rows[0].scale} scale: {cell}", note, pictures)


def _picture(flip: Flip, names: Sequence[str], dataset: Dataset) -> Picture:
    label = dataset.classes[int(dataset.test.labels[flip.sample])]
    fell = "every subject" if len(flip.subjects) == len(names) else ", ".join(names[at] for at in flip.subjects)
    return Picture(png(dataset.test.inputs[flip.sample]), f"sample {flip.sample}, class {label}", f"fell: {fell}")


def png(image: NDArray[Any]) -> str:
    """An image, uint8 (C, H, W) with one or three channels, as a data URL."""
    pixels = np.asarray(image)
    target = BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1).copy()).save(target, "PNG")
    return f"data:image/png;base64,{b64encode(target.getvalue()).decode()}"
