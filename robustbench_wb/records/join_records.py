"""Joining the parts of a cell whose samples were measured apart."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.layers.table import join_tables
from robustbench_wb.records.record import Measurement, Record


def join_records(parts: Sequence[Record]) -> Record:
    """The record of all samples of some records of one cell, by ascending id.

    Counts and seconds add up. The record of a whole cell is the same however its samples were split.

    Raises:
        ValueError: there are no parts, or they are of different cells or perturbed samples.
    """
    if len({(part.identity, part.perturbed) for part in parts}) != 1:
        raise ValueError("only parts of one cell can be joined")
    evidence: Counter[str] = Counter()
    for part in parts:
        evidence.update(part.evidence)
    optional: dict[str, Any] = {
        name: np.concatenate([part.optional[name] for part in parts]) for name in parts[0].optional
    }
    whole = replace(
        parts[0],
        ids=np.concatenate([part.ids for part in parts]),
        states=np.concatenate([part.states for part in parts]),
        losses=np.concatenate([part.losses for part in parts]),
        forwards=np.concatenate([part.forwards for part in parts]),
        backwards=np.concatenate([part.backwards for part in parts]),
        **optional,
        wobble=sum(part.wobble for part in parts),
        seconds=sum(part.seconds for part in parts),
        evidence=dict(evidence),
    )
    return whole.select(np.argsort(whole.ids, kind="stable"))


def join_measurements(parts: Sequence[Measurement]) -> Measurement:
    """The cell that some parts of its samples make, in order. If a part failed, the whole cell failed with its error.

    Raises:
        ValueError: there are no parts, or they are of different cells.
    """
    if len({part.cell for part in parts}) != 1:
        raise ValueError("only parts of one cell can be joined")
    whole = replace(
        next((part for part in parts if part.record is None), parts[0]),
        samples=sum(part.samples for part in parts),
        reused=all(part.reused for part in parts),
        layers=_join_layers([part.layers for part in parts]),
    )
    records = [part.record for part in parts if part.record is not None]
    if len(records) < len(parts):
        return whole
    record = join_records(records)
    return replace(whole, record=record, error=record.problem)


def _join_layers(pairs: Sequence[LayerPair | None]) -> LayerPair | None:
    """Layers of all samples; None if they are unknown for a part."""
    known = [pair for pair in pairs if pair is not None]
    if len(known) < len(pairs):
        return None
    stressed = join_tables([pair.stressed for pair in known])
    # The clean cell is the one whose tables are the same object: it has no drift.
    is_clean = all(pair.clean is pair.stressed for pair in known)
    return LayerPair(clean=stressed if is_clean else join_tables([pair.clean for pair in known]), stressed=stressed)
