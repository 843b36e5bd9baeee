"""Gallery of adversarial examples: clean sample, perturbed sample and their difference."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from io import BytesIO
from re import findall
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.analysis.broken_samples import BrokenSample, broken_samples
from robustbench_wb.records.names import Slot
from robustbench_wb.records.perturbed_sample import PerturbedSample, PerturbedSamples, SampleSelection
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.html.masks import mask_iou, mask_picture
from robustbench_wb.report.panel import PanelRows, panel_rows
from robustbench_wb.tasks.task import Dataset

SHOWN: Final = 24
"""Maximal number of samples in one gallery."""
SIDE: Final = 128
"""Side in pixels to which larger images are reduced."""
_VECTORS: Final = "embedding-"
"""Prefix of attacks that perturb word vectors and leave the text unchanged."""


@dataclass(frozen=True)
class TextPiece:
    """Part of a text that the perturbation kept (``same``), removed (``gone``) or added (``new``)."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True, kw_only=True)
class GallerySample:
    """One adversarial example."""

    name: str
    """Number in the split, and class."""
    broken: str
    """Models for which the sample is broken, and the prediction of the first of them."""
    images: tuple[tuple[str, str], ...] = ()
    """Data URLs of the images, with their captions."""
    text: tuple[TextPiece, ...] = ()
    """Pieces of the text; empty for an image."""


@dataclass(frozen=True)
class Gallery:
    """Adversarial examples of one cell."""

    title: str
    note: str
    samples: tuple[GallerySample, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GalleryCell:
    """Cell of a panel that a gallery shows."""

    panel: PanelRows
    rows: Sequence[ScoreRow]
    """Rows of the cell, one per model."""
    records: Sequence[Record]
    """Record of each row."""
    dataset: Dataset

    @cached_property
    def broken(self) -> list[BrokenSample]:
        """All samples that are broken for at least one model."""
        return broken_samples(self.records)

    @property
    def title(self) -> str:
        """Title with task, scale and cell."""
        return f"{self.rows[0].task}, {self.rows[0].scale} scale: {self.rows[0].cell}"

    @property
    def shown(self) -> Sequence[BrokenSample]:
        """The first ``SHOWN`` broken samples."""
        return self.broken[:SHOWN]

    @property
    def wanted(self) -> list[SampleSelection]:
        """Samples to perturb again: each sample for the first model that it is broken for."""
        ids: dict[int, list[int]] = {}
        for one in self.shown:
            ids.setdefault(one.models[0], []).append(one.sample)
        return [
            SampleSelection(self.rows[at].slot, self.records[at], np.array(sorted(found), np.int32))
            for at, found in sorted(ids.items())
        ]


def gallery_cells(
    rows: Iterable[ScoreRow], records: Mapping[str, Record], load: Callable[[str], Dataset | str]
) -> list[GalleryCell | Gallery]:
    """Cell to show for every panel of images or texts with broken samples, or an empty gallery with the reason.

    Args:
        rows: rows of one table.
        records: records by key; rows without a record are ignored.
        load: function from the name of a task to its dataset, or to a sentence on why it cannot be loaded.
    """
    found: list[GalleryCell | Gallery] = []
    for panel in panel_rows(rows):
        members = _strongest([row for row in panel.rows if row.key in records])
        if not members:
            continue
        title, dataset = f"{members[0].task}: {members[0].cell}", load(members[0].task)
        if isinstance(dataset, str):
            found.append(Gallery(title, dataset))
        elif {row.data for row in members} - {dataset.digest}:
            found.append(Gallery(title, "the loaded samples differ from the measured samples"))
        elif members[0].side or dataset.test.texts:
            own = [records[row.key] for row in members]
            found.append(GalleryCell(panel=panel, rows=members, records=own, dataset=dataset))
    return found


def make_gallery(cell: GalleryCell, perturbed: PerturbedSamples) -> Gallery:
    """Gallery of the broken samples of a cell.

    Args:
        cell: the cell to show.
        perturbed: perturbed samples that could be made again, and the reasons for the others.
    """
    note = f"{len(cell.broken)} samples are broken for at least one of {len(cell.rows)} models"
    note += f"; {len(cell.shown)} are shown, those broken for the fewest models first"
    lacking = dict.fromkeys(perturbed.refused[one.slot] for one in cell.wanted if one.slot in perturbed.refused)
    note += "".join(f"; some perturbed samples are not available: {reason}" for reason in lacking)
    return Gallery(cell.title, note, tuple(_sample(cell, one, perturbed.samples) for one in cell.shown))


def _strongest(rows: Sequence[ScoreRow]) -> list[ScoreRow]:
    """Rows of the cell with the lowest mean accuracy, among the cells with broken samples."""
    cells: dict[str, list[ScoreRow]] = {}
    for row in rows:
        if not row.stressor.startswith(_VECTORS):
            cells.setdefault(row.cell, []).append(row)
    broken = [members for members in cells.values() if any(row.broken for row in members)]
    return min(broken, key=lambda members: sum(row.accuracy or 0.0 for row in members) / len(members), default=[])


def _sample(
    cell: GalleryCell, one: BrokenSample, samples: Mapping[Slot, Mapping[int, PerturbedSample]]
) -> GallerySample:
    names, dataset = [cell.panel.labels[row.subject] for row in cell.rows], cell.dataset
    first = cell.rows[one.models[0]]
    perturbed = samples.get(first.slot, {}).get(one.sample)
    models = "all models" if len(one.models) == len(names) else ", ".join(names[at] for at in one.models)
    broken = f"broken for {models}"
    if perturbed is not None:
        broken += f"; {names[one.models[0]]} {answer_text(dataset, one.sample, perturbed)}"
    name = sample_name(dataset, one.sample)
    images, pieces = sample_views(dataset, one.sample, perturbed, images=bool(first.side))
    return GallerySample(name=name, broken=broken, images=images, text=pieces)


def sample_name(dataset: Dataset, sample: int) -> str:
    """Number of a sample in its split, and its class; of segmentation the number alone."""
    label = dataset.test.labels[sample]
    return f"sample {sample}" if label.ndim else f"sample {sample}, class {dataset.classes[int(label)]}"


def answer_text(dataset: Dataset, sample: int, perturbed: PerturbedSample) -> str:
    """What a model makes of a perturbed sample, like ``predicts 3`` or ``has mean IoU 0.31``."""
    if perturbed.mask is not None:
        return f"has mean IoU {mask_iou(dataset.test.labels[sample], perturbed.mask):.2f}"
    return "" if perturbed.answer is None else f"predicts {dataset.classes[perturbed.answer]}"


def sample_views(
    dataset: Dataset, sample: int, perturbed: PerturbedSample | None, *, images: bool
) -> tuple[tuple[tuple[str, str], ...], tuple[TextPiece, ...]]:
    """Images of a sample with their captions, or the pieces of its text; the other is empty.

    Args:
        dataset: data of the task.
        sample: row number in the split.
        perturbed: the perturbed sample; None shows the clean sample alone.
        images: whether the samples are images.
    """
    if images:
        own = dataset.test.select_rows(slice(sample, sample + 1))
        return (*_images(own.inputs[0], perturbed), *_masks(own.labels[0], perturbed)), ()
    text = dataset.test.texts[sample]
    new = text if perturbed is None or perturbed.text is None else perturbed.text
    return (), tuple(text_pieces(text, new))


def _masks(label: NDArray[np.int64], perturbed: PerturbedSample | None) -> tuple[tuple[str, str], ...]:
    """Label of the pixels and, if it is known, the prediction; nothing for samples with one label."""
    if not label.ndim:
        return ()
    found = [(label, "label")]
    if perturbed is not None and perturbed.mask is not None:
        found.append((perturbed.mask, "prediction"))
    return tuple((png_data_url(mask_picture(mask)), caption) for mask, caption in found)


def _images(clean: NDArray[np.uint8], perturbed: PerturbedSample | None) -> tuple[tuple[str, str], ...]:
    """Clean image, perturbed image, and their difference around grey, scaled to the full range."""
    if perturbed is None:
        return ((png_data_url(clean), "clean"),)
    levels = perturbed.inputs * 255.0
    difference = levels - clean
    factor = 127.5 / max(float(np.abs(difference).max()), 1.0)
    around = np.rint(127.5 + factor * difference).clip(0, 255).astype(np.uint8)
    image = np.rint(levels).clip(0, 255).astype(np.uint8)
    return (
        (png_data_url(clean), "clean"),
        (png_data_url(image), "perturbed"),
        (png_data_url(around), f"difference x {factor:.3g}"),
    )


def text_pieces(old: str, new: str) -> list[TextPiece]:
    """Difference of two texts by words, punctuation marks and blanks."""
    before, after = (findall(r"\s+|\w+|[^\w\s]", text) for text in (old, new))
    found = []
    for kind, start, end, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        gone, come = "".join(before[start:end]), "".join(after[first:last])
        if kind == "equal":
            found.append(TextPiece("same", gone))
        else:
            found += [TextPiece("gone", gone)] * bool(gone) + [TextPiece("new", come)] * bool(come)
    return found


def png_data_url(image: NDArray[np.uint8]) -> str:
    """Image, uint8 (C, H, W) with one or three channels, as a PNG data URL."""
    pixels = np.asarray(image)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1).copy())
    if max(picture.size) > SIDE:
        picture.thumbnail((SIDE, SIDE))
    target = BytesIO()
    picture.save(target, "PNG")
    return f"data:image/png;base64,{b64encode(target.getvalue()).decode()}"
