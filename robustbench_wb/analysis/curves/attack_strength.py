"""Robust accuracy as a function of the attack's budget, read from one record.

A record holds the number of forward passes of each sample. The search stops at the first misclassification, so the
count of a broken sample says after how many passes it broke. One record therefore contains every smaller budget.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.row_order import strength_sort_key
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import wilson

SHARES: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of the budget at which a curve is evaluated."""
RUN_SHARES: Final = (0.1, 0.2, 0.5, 1.0)
"""Shares of the passes of the first run at which a curve is evaluated."""
RUN_COUNTS: Final = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of runs at which a curve is evaluated, up to the number of the attack, which is added at the end."""
PLATEAU_SHARE: Final = 0.01
"""Largest share of samples that may break in the second half of the effort on a plateau.

Carlini et al. (2019) ask that more effort must not matter; the threshold is ours."""
NEVER_BROKEN: Final = np.iinfo(np.int64).max
"""Stands for the breaking pass of a sample that stays robust."""
TOLERATED_SAMPLES: Final = 1
"""Samples beyond ``PLATEAU_SHARE`` that are attributed to chance."""


class AttackRuns(Spec):
    """Structure of an attack: consecutive runs of equal length."""

    runs: int
    """Runs per sample: restarts times losses."""
    steps: int
    """Steps of one run."""


class BudgetPoint(Spec):
    """Robust accuracy after some number of forward passes."""

    passes: int
    """Forward passes of the search per sample, without the final verification pass."""
    accuracy: float
    """Share of all samples that are correct when clean and not broken after these passes."""
    low: float
    """Low end of the 95 % Wilson interval."""
    high: float
    """High end of the 95 % Wilson interval."""


class BudgetCurve(Spec):
    """Robust accuracy of one row as a function of the attack's cost."""

    budget: int
    """Forward passes of a sample that stays robust; if there is none, the largest number of passes of any sample."""
    points: tuple[BudgetPoint, ...]
    """Accuracies at ``SHARES`` of the budget. The first point is before any pass of this cell; samples that a lower
    strength broke count as broken there."""
    first_run: tuple[BudgetPoint, ...] = ()
    """Accuracies at ``RUN_SHARES`` of the first run. Empty if the attack is not known to have runs of equal
    length."""
    runs: tuple[int, ...] = ()
    """Numbers of runs of the points in ``by_run``."""
    by_run: tuple[BudgetPoint, ...] = ()
    """Accuracies after the numbers of runs in ``runs``."""
    lost_by_steps: float | None = None
    """Share of samples that broke in the second half of the first run; None if ``first_run`` is empty."""
    lost_by_budget: float
    """Share of samples that broke in the second half of the whole budget."""
    plateau: bool
    """Whether no sample stays robust, or both shares are at most ``PLATEAU_SHARE`` plus one sample."""


class AttackStrength(Spec):
    """Row of a table with its budget curve."""

    row: ScoreRow
    curve: BudgetCurve | None
    """Budget curve; None if the record is not in the store, because records with errored samples are not kept."""


def budget_curve(record: Record, lower: Record | None = None, built: AttackRuns | None = None) -> BudgetCurve:
    """Budget curve of one record of an attack.

    Errored samples count as never robust. Samples that a lower strength broke, and that were not attacked at this
    strength, count as broken before the first pass.

    Args:
        record: record of the row.
        lower: record of the next lower strength of the ladder. Samples broken there get no verification pass at this
            strength. Without this record such a sample is taken to have broken one pass too early.
        built: structure of the attack, if it consists of runs.
    """
    spent = _spent(record, lower)
    fell = _falls(record.states, spent)
    budget = int(spent.max(initial=0))
    whole = built is not None and budget % built.runs == 0 and budget // built.runs >= built.steps
    one = budget // built.runs if built is not None and whole else 0
    runs = _some(built.runs) if built is not None and one else ()
    lost = _lost(fell, budget // 2, budget)
    by_steps = _lost(fell, one // 2, one) if one else None
    return BudgetCurve(
        budget=budget,
        points=tuple(_point(fell, share * budget) for share in SHARES),
        first_run=tuple(_point(fell, share * one) for share in RUN_SHARES) if one else (),
        runs=runs,
        by_run=tuple(_point(fell, number * one) for number in runs),
        lost_by_steps=by_steps,
        lost_by_budget=lost,
        plateau=not (fell == NEVER_BROKEN).any() or all(_flat(share, len(fell)) for share in (lost, by_steps or 0.0)),
    )


def attack_strengths(
    rows: Iterable[ScoreRow], records: Mapping[str, Record], built: Callable[[str], AttackRuns | None]
) -> list[AttackStrength]:
    """Budget curves of graded rows, ladder by ladder, strengths ascending.

    Args:
        rows: rows of any models and tables; rows without a grade are left out.
        records: records by key.
        built: function from a signature to the structure of the attack; None if it does not consist of runs.
    """
    found = []
    for members in strength_ladders(row for row in rows if row.grade):
        for row in members:
            record = records.get(row.key)
            below = [other for other in members if _lower(other, row)]
            lower = records.get(below[-1].key) if below else None
            curve = None if record is None else budget_curve(record, lower, built(row.signature))
            found.append(AttackStrength(row=row, curve=curve))
    return found


def strength_ladders(rows: Iterable[ScoreRow]) -> list[list[ScoreRow]]:
    """Rows grouped by everything but strength, strengths ascending, groups in the order of their first row."""
    groups: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        groups.setdefault((row.panel, row.subject, without_strength(row)), []).append(row)
    return [sorted(group, key=lambda row: strength_sort_key(row.strength)) for group in groups.values()]


def without_strength(row: ScoreRow) -> str:
    """Signature of a row without its perturbation radius ``eps``."""
    return ";".join(part for part in row.signature.split(";") if part != f"eps={row.strength}")


def _lower(other: ScoreRow, row: ScoreRow) -> bool:
    """Whether ``other`` is a lower strength whose broken samples the row has taken over."""
    return other.strength in row.ladder.split() and strength_sort_key(other.strength) < strength_sort_key(row.strength)


def _spent(record: Record, lower: Record | None) -> NDArray[np.int64]:
    """Forward passes of the search on each sample, (n,): all passes but the verification pass.

    Samples broken at the lower strength have no verification pass."""
    judged = record.forwards > 0
    if lower is not None and np.array_equal(lower.ids, record.ids):
        judged &= lower.states != State.BROKEN
    found: NDArray[np.int64] = record.forwards.astype(np.int64) - judged
    return found


def _falls(states: NDArray[np.int8], spent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pass at which each sample broke, (n,): -1 if it was never robust, ``NEVER_BROKEN`` if it stays robust."""
    never = np.isin(states, (State.WRONG, State.ERRORED, State.NOT_RUN))
    found: NDArray[np.int64] = np.where(states == State.BROKEN, spent, np.where(never, -1, NEVER_BROKEN))
    return found


def _point(fell: NDArray[np.int64], passes: float) -> BudgetPoint:
    holding, n = int((fell > passes).sum()), len(fell)
    low, high = wilson(holding, n)
    return BudgetPoint(passes=int(passes), accuracy=holding / n if n else 0.0, low=low, high=high)


def _lost(fell: NDArray[np.int64], first: int, last: int) -> float:
    return int(((fell > first) & (fell <= last)).sum()) / max(len(fell), 1)


def _flat(share: float, n: int) -> bool:
    return share - TOLERATED_SAMPLES / max(n, 1) <= PLATEAU_SHARE


def _some(runs: int) -> tuple[int, ...]:
    return (*(number for number in RUN_COUNTS if number < runs), runs)
