"""Comparison of a model with the best shortcut baseline of its task, on the same samples."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from robustbench_wb.records.names import SHORTCUT
from robustbench_wb.records.record import Cell, Measurement, Record, State
from robustbench_wb.spec import Spec

SHORTCUT_ALPHA = 0.05
"""Level of the one-sided test that a model beats a shortcut."""


class ShortcutComparison(Spec):
    """Best shortcut in the cell of a model."""

    shortcut: str
    """Name of the shortcut."""
    shortcut_accuracy: float
    """Accuracy of the shortcut in the cell."""
    shortcut_p: float
    """One-sided exact p-value of McNemar's test that the model is better than the shortcut."""


class _CellOfTask(NamedTuple):
    suite: str
    scale: str
    task: str
    stressor: str
    strength: str
    seed: int


def compare_with_shortcuts(measured: Sequence[Measurement]) -> list[ShortcutComparison | None]:
    """Best shortcut in the cell of each measurement; None for shortcuts themselves and for cells without one."""
    best: dict[_CellOfTask, tuple[str, Record]] = {}
    for one in measured:
        if one.cell.variant.startswith(SHORTCUT) and one.record is not None:
            name, place = one.cell.variant.removeprefix(SHORTCUT), _place(one.cell)
            if place not in best or one.record.count(State.ROBUST) > best[place][1].count(State.ROBUST):
                best[place] = (name, one.record)
    return [_compare(one, best) for one in measured]


def _place(cell: Cell) -> _CellOfTask:
    return _CellOfTask(
        suite=cell.suite,
        scale=cell.scale,
        task=cell.task,
        stressor=cell.stressor,
        strength=cell.strength,
        seed=cell.seed,
    )


def _compare(one: Measurement, best: Mapping[_CellOfTask, tuple[str, Record]]) -> ShortcutComparison | None:
    found = best.get(_place(one.cell))
    if found is None or one.record is None or one.cell.variant.startswith(SHORTCUT):
        return None
    name, other = found
    if not np.array_equal(other.ids, one.record.ids):
        return None
    from scipy.stats import binomtest  # takes a second; few tasks have shortcuts

    right, theirs = one.record.states == State.ROBUST, other.states == State.ROBUST
    gained, lost = int((right & ~theirs).sum()), int((~right & theirs).sum())
    p = float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0
    return ShortcutComparison(shortcut=name, shortcut_accuracy=float(theirs.mean()), shortcut_p=p)
