"""Gallery of samples that flipped: robust in one of two versions of a table only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np

from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison
from robustbench_wb.records.perturbed_sample import PerturbedSamples, SampleSelection
from robustbench_wb.records.record import Record, State
from robustbench_wb.report.html.gallery import Gallery, GallerySample, answer_text, sample_name, sample_views
from robustbench_wb.report.panel import PanelRows
from robustbench_wb.tasks.task import Dataset

SHOWN: Final = 12
"""Maximal number of lost samples, and of gained samples, in one gallery."""


class Flip(NamedTuple):
    """Sample whose outcome differs between two versions for one model."""

    pair: CellDifference
    sample: int
    """Row number in the split."""
    lost: bool
    """Whether the sample was robust before and is not now; else it was not and is now."""


@dataclass(frozen=True, kw_only=True)
class FlipCell:
    """Evaluation whose flipped samples a gallery shows."""

    panel: PanelRows
    dataset: Dataset
    records: Mapping[str, Record]
    flips: Sequence[Flip]
    """Shown samples, lost ones first."""
    lost: int
    """Number of all lost samples of all models."""
    gained: int

    def wanted(self, *, lost: bool) -> list[SampleSelection]:
        """Samples to perturb again: lost ones by the newer models that they are broken for, gained ones by the older.

        Samples that are misclassified when clean were not perturbed."""
        found = []
        for _, members in groupby((flip for flip in self.flips if flip.lost == lost), lambda flip: flip.pair.new.slot):
            flips = list(members)
            row = flips[0].pair.new if lost else flips[0].pair.old
            record = self.records[row.key]
            ids = [flip.sample for flip in flips if _state(record, flip.sample) == State.BROKEN]
            if ids:
                found.append(SampleSelection(row.slot, record, np.array(sorted(ids), np.int32)))
        return found


def flip_cells(
    panels: Iterable[PanelRows],
    comparison: Comparison,
    *,
    records: Mapping[str, Record],
    load: Callable[[str], Dataset | str],
) -> list[FlipCell | Gallery]:
    """Evaluation of each panel in which most samples flipped, or an empty gallery with the reason; none if none did.

    Args:
        panels: panels of the newer table.
        comparison: comparison of the two tables.
        records: records of both tables by key; evaluations without both records are left out.
        load: function from the name of a task to its dataset, or to a sentence on why it cannot be loaded.
    """
    found: list[FlipCell | Gallery] = []
    for panel in panels:
        cells: dict[str, list[CellDifference]] = {}
        for pair in comparison.pairs:
            known = pair.old.key in records and pair.new.key in records
            if pair.new.panel == panel.rows[0].panel and known and (pair.lost_ids or pair.gained_ids):
                cells.setdefault(pair.new.cell, []).append(pair)
        if not cells:
            continue
        cell, pairs = max(cells.items(), key=lambda entry: sum((one.lost or 0) + (one.gained or 0) for one in entry[1]))
        task = pairs[0].new.task
        title, dataset = f"Flipped samples of {task}: {cell}", load(task)
        if isinstance(dataset, str):
            found.append(Gallery(title, dataset))
        elif {pair.new.data for pair in pairs} - {dataset.digest}:
            found.append(Gallery(title, "the loaded samples differ from the measured samples"))
        elif pairs[0].new.side or dataset.test.texts:
            found.append(_flip_cell(panel, pairs, records, dataset=dataset))
    return found


def _flip_cell(
    panel: PanelRows, pairs: Sequence[CellDifference], records: Mapping[str, Record], *, dataset: Dataset
) -> FlipCell:
    lost = [Flip(pair, sample, True) for pair in pairs for sample in pair.lost_ids]
    gained = [Flip(pair, sample, False) for pair in pairs for sample in pair.gained_ids]
    return FlipCell(
        panel=panel,
        dataset=dataset,
        records=records,
        flips=[*lost[:SHOWN], *gained[:SHOWN]],
        lost=len(lost),
        gained=len(gained),
    )


def make_flip_gallery(
    cell: FlipCell, comparison: Comparison, *, lost: PerturbedSamples, gained: PerturbedSamples
) -> Gallery:
    """Gallery of the flipped samples of an evaluation.

    Args:
        cell: the evaluation.
        comparison: comparison that names the two versions.
        lost: lost samples as the newer models were attacked.
        gained: gained samples as the older models were attacked.
    """
    first = cell.flips[0].pair.new
    note = f"{comparison.old} -> {comparison.new}: {cell.lost} lost, {cell.gained} gained; {len(cell.flips)} are shown"
    reasons = dict.fromkeys([*lost.refused.values(), *gained.refused.values()])
    note += "".join(f"; some perturbed samples are not available: {reason}" for reason in reasons)
    samples = tuple(_sample(cell, comparison, flip, made=lost if flip.lost else gained) for flip in cell.flips)
    return Gallery(f"Flipped samples of {first.task}, {first.scale} scale: {first.cell}", note, samples)


def _sample(cell: FlipCell, comparison: Comparison, flip: Flip, *, made: PerturbedSamples) -> GallerySample:
    row = flip.pair.new if flip.lost else flip.pair.old
    perturbed = made.samples.get(row.slot, {}).get(flip.sample)
    dataset = cell.dataset
    if _state(cell.records[row.key], flip.sample) == State.WRONG:
        failure = "wrong already when clean"
    else:
        failure = "broken" if perturbed is None else answer_text(dataset, flip.sample, perturbed)
    sides = ("right", failure) if flip.lost else (failure, "right")
    outcome = f"{comparison.old or 'old'} {sides[0]}, {comparison.new or 'new'} {sides[1]}"
    images, text = sample_views(dataset, flip.sample, perturbed, images=bool(row.side))
    return GallerySample(
        name=f"{'lost' if flip.lost else 'gained'}: {sample_name(dataset, flip.sample)}",
        broken=f"{cell.panel.labels[flip.pair.new.subject]}: {outcome}",
        images=images,
        text=text,
    )


def _state(record: Record, sample: int) -> int:
    """Outcome of a sample of a record; not run if the record lacks it."""
    found = np.flatnonzero(record.ids == sample)
    return int(record.states[found[0]]) if len(found) else int(State.NOT_RUN)
