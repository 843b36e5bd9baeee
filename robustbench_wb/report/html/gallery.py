"""The samples that fell: as the task holds them, as the stressor made them, and what is between."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from io import BytesIO
from re import findall
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.analysis.broken_samples import BrokenSample, broken_samples
from robustbench_wb.records.names import Slot
from robustbench_wb.records.perturbed_sample import PerturbedSample, PerturbedSamples, SampleSelection
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.panel import PanelRows, panel_rows
from robustbench_wb.tasks.task import Dataset

SHOWN: Final = 24
"""Samples of one gallery."""
SIDE: Final = 128
"""Larger images are made smaller, in pixels."""
_VECTORS: Final = "embedding-"
"""Names of stressors that move word vectors and leave the text."""


@dataclass(frozen=True)
class TextPiece:
    """Part of a text."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True)
class GallerySample:
    """One sample."""

    name: str
    """Its number in the split and its class."""
    fell: str
    """The subjects that lost it, and what the first of them answered."""
    images: tuple[tuple[str, str], ...] = ()
    """Data URLs with what they show."""
    text: tuple[TextPiece, ...] = ()


@dataclass(frozen=True)
class Gallery:
    """The samples that fell in one cell."""

    title: str
    note: str
    pictures: tuple[GallerySample, ...] = ()


@dataclass(frozen=True)
class GalleryCell:
    """The cell of a panel that is shown, with its task."""

    panel: PanelRows
    rows: Sequence[ScoreRow]
    records: Sequence[Record]
    """Of the rows."""
    dataset: Dataset

    @cached_property
    def fallen(self) -> list[BrokenSample]:
        """All samples that fell for one of the subjects."""
        return broken_samples(self.records)

    @property
    def title(self) -> str:
        """Task, scale and cell."""
        return f"{self.rows[0].task}, {self.rows[0].scale} scale: {self.rows[0].cell}"

    @property
    def shown(self) -> Sequence[BrokenSample]:
        """Those that there is room for."""
        return self.fallen[:SHOWN]

    @property
    def wanted(self) -> list[SampleSelection]:
        """What has to be stressed again: each sample for the first subject that it fell for."""
        ids: dict[int, list[int]] = {}
        for flip in self.shown:
            ids.setdefault(flip.subjects[0], []).append(flip.sample)
        return [
            SampleSelection(self.rows[at].slot, self.records[at], np.array(sorted(found), np.int32))
            for at, found in sorted(ids.items())
        ]


def gallery_cells(
    rows: Iterable[ScoreRow], records: Mapping[str, Record], load: Callable[[str], Dataset | str]
) -> list[GalleryCell | Gallery]:
    """The cell to be shown of every panel of images or texts that lost some; or why none can be.

    Args:
        rows: of one table.
        records: by key; a row without one is not looked at.
        load: the dataset of a task by the name that rows have, or a sentence on why it cannot be had.
    """
    found: list[GalleryCell | Gallery] = []
    for panel in panel_rows(rows):
        members = _strongest([row for row in panel.rows if row.key in records])
        if not members:
            continue
        title, dataset = f"{members[0].task}: {members[0].cell}", load(members[0].task)
        if isinstance(dataset, str):
            found.append(Gallery(title, dataset))
        elif {row.data for row in members} - {dataset.digest, dataset.worded_digest}:
            found.append(Gallery(title, "the samples at hand are not those that were measured"))
        elif members[0].side or dataset.test.texts:
            own = [records[row.key] for row in members]
            found.append(GalleryCell(panel, members, own, dataset))
    return found


def make_gallery(choice: GalleryCell, sight: PerturbedSamples) -> Gallery:
    """The samples of a cell, with what could be seen of them."""
    found, rows = choice.fallen, choice.rows
    note = f"{len(found)} samples fell for at least one of {len(rows)} subjects"
    note += f"; shown are {len(choice.shown)}, those first that fell for the fewest"
    lacking = dict.fromkeys(sight.refused[one.slot] for one in choice.wanted if one.slot in sight.refused)
    note += "".join(f"; what was made of some cannot be shown: {reason}" for reason in lacking)
    return Gallery(choice.title, note, tuple(_picture(choice, flip, sight.samples) for flip in choice.shown))


def _strongest(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """The rows of the cell of the lowest mean accuracy among those where a sample fell."""
    cells: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if not row.stressor.startswith(_VECTORS):
            cells.setdefault(row.cell, []).append(row)
    fallen = [members for members in cells.values() if any(row.broken for row in members)]
    return min(fallen, key=lambda members: sum(row.accuracy or 0.0 for row in members) / len(members), default=[])


def _picture(
    choice: GalleryCell, flip: BrokenSample, samples: Mapping[Slot, Mapping[int, PerturbedSample]]
) -> GallerySample:
    names, dataset = [choice.panel.labels[row.subject] for row in choice.rows], choice.dataset
    first = choice.rows[flip.subjects[0]]
    seen = samples.get(first.slot, {}).get(flip.sample)
    fell = "every subject" if len(flip.subjects) == len(names) else ", ".join(names[at] for at in flip.subjects)
    answer = "" if seen is None else f"; {names[flip.subjects[0]]} answers {dataset.classes[seen.answer]}"
    name = f"sample {flip.sample}, class {dataset.classes[int(dataset.test.labels[flip.sample])]}"
    if first.side:
        return GallerySample(name, f"fell: {fell}{answer}", images=_images(dataset.test.inputs[flip.sample], seen))
    text = dataset.test.texts[flip.sample]
    new = text if seen is None or seen.text is None else seen.text
    return GallerySample(name, f"fell: {fell}{answer}", text=tuple(text_pieces(text, new)))


def _images(clean: NDArray[Any], seen: PerturbedSample | None) -> tuple[tuple[str, str], ...]:
    """Clean, perturbed, and the difference around grey, made as large as it fits."""
    if seen is None:
        return ((png_data_url(clean), "clean"),)
    levels = seen.inputs * 255.0
    difference = levels - clean
    factor = 127.5 / max(float(np.abs(difference).max()), 1.0)
    around = np.rint(127.5 + factor * difference).clip(0, 255).astype(np.uint8)
    perturbed = np.rint(levels).clip(0, 255).astype(np.uint8)
    return (
        (png_data_url(clean), "clean"),
        (png_data_url(perturbed), "perturbed"),
        (png_data_url(around), f"difference x {factor:.3g}"),
    )


def text_pieces(old: str, new: str) -> list[TextPiece]:
    """A text as what stayed, went and came: words, marks and blanks are compared."""
    before, after = (findall(r"\s+|\w+|[^\w\s]", text) for text in (old, new))
    found = []
    for kind, start, end, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        gone, come = "".join(before[start:end]), "".join(after[first:last])
        if kind == "equal":
            found.append(TextPiece("same", gone))
        else:
            found += [TextPiece("gone", gone)] * bool(gone) + [TextPiece("new", come)] * bool(come)
    return found


def png_data_url(image: NDArray[Any]) -> str:
    """An image, uint8 (C, H, W) with one or three channels, as a data URL."""
    pixels = np.asarray(image)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1).copy())
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
    target = BytesIO()
    picture.save(target, "PNG")
    return f"data:image/png;base64,{b64encode(target.getvalue()).decode()}"
