"""Does a subject beat the best shortcut of its task, on the same samples?"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from robustbench_wb.records.names import SHORTCUT
from robustbench_wb.records.record import Cell, Measurement, Record, State
from robustbench_wb.spec import Spec

SHORTCUT_ALPHA = 0.05
"""A subject beats a shortcut when it would be so much better by chance less often than this."""


class ShortcutComparison(Spec):
    """The best shortcut beside a score."""

    shortcut: str
    """Its name."""
    shortcut_accuracy: float
    """Its accuracy in the same cell."""
    shortcut_p: float
    """One-sided exact p-value of McNemar's test: how often chance alone would make the subject so much better."""


def compare_with_shortcuts(measured: Sequence[Measurement]) -> list[ShortcutComparison | None]:
    """For each cell the best shortcut of the same cell; None for shortcuts themselves and where there is none."""
    best: dict[tuple[object, ...], tuple[str, Record]] = {}
    for one in measured:
        if one.cell.variant.startswith(SHORTCUT) and one.record is not None:
            name, place = one.cell.variant.removeprefix(SHORTCUT), _place(one.cell)
            if place not in best or one.record.count(State.ROBUST) > best[place][1].count(State.ROBUST):
                best[place] = (name, one.record)
    return [_beside(one, best) for one in measured]


def _place(cell: Cell) -> tuple[object, ...]:
    return (cell.suite, cell.scale, cell.task, cell.stressor, cell.strength, cell.seed)


def _beside(one: Measurement, best: dict[tuple[object, ...], tuple[str, Record]]) -> ShortcutComparison | None:
    found = best.get(_place(one.cell))
    if found is None or one.record is None or one.cell.variant.startswith(SHORTCUT):
        return None
    name, other = found
    if not np.array_equal(other.ids, one.record.ids):
        return None
    right, theirs = one.record.states == State.ROBUST, other.states == State.ROBUST
    gained, lost = int((right & ~theirs).sum()), int((~right & theirs).sum())
    p = float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0
    return ShortcutComparison(shortcut=name, shortcut_accuracy=float(theirs.mean()), shortcut_p=p)
