"""How much of a robust accuracy is owed to the attack's budget: the accuracy at every cost, read from one record.

A record says for each sample how many forward passes were spent on it, and a broken sample leaves the search at its
first error: its count says when it fell. Every smaller budget has thus been measured along with the full one.
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
"""Shares of the budget at which a curve is read."""
RUN_SHARES: Final = (0.1, 0.2, 0.5, 1.0)
"""Shares of one run's passes."""
RUN_COUNTS: Final = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of runs, as far as there are so many; all of them come last."""
PLATEAU_SHARE: Final = 0.01
"""Largest share of samples that may fall in a second half (Carlini et al. 2019: more effort must not matter; ours)."""
NEVER_BROKEN: Final = np.iinfo(np.int64).max
"""The pass at which a sample fell that did not."""
FEW: Final = 1
"""One sample more is chance."""


class AttackRuns(Spec):
    """How an attack is built: runs of equal length, one after the other."""

    runs: int
    """Per sample, restarts and losses together."""
    steps: int
    """Of one run."""


class BudgetPoint(Spec):
    """Robust accuracy at one cost."""

    passes: int
    """Forward passes of the search per sample; the independent verdict is not among them."""
    accuracy: float
    """Share of all samples that are right when clean and have not fallen by then."""
    low: float
    high: float
    """Ends of the 95 % Wilson interval."""


class BudgetCurve(Spec):
    """One row against its cost."""

    budget: int
    """Forward passes of a sample that holds to the end; where none does, the most that were needed."""
    points: tuple[BudgetPoint, ...]
    """At :data:`SHARES` of the budget. The first is before any pass of this cell: what a lower strength broke has
    fallen by then."""
    first_run: tuple[BudgetPoint, ...] = ()
    """At :data:`RUN_SHARES` of the passes of the first run. Empty where runs are not known to be of equal length."""
    runs: tuple[int, ...] = ()
    """The numbers of runs that :attr:`by_run` stands for."""
    by_run: tuple[BudgetPoint, ...] = ()
    lost_by_steps: float | None = None
    """Share of samples that fell in the second half of the first run; None like an empty :attr:`first_run`."""
    lost_by_budget: float
    """Share of samples that fell in the second half of the whole budget: that of the runs, if there are several."""
    plateau: bool
    """Whether nothing is left, or both shares are at most :data:`FLAT`, give or take one sample."""


class AttackStrength(Spec):
    """A row of a table with its curve."""

    row: ScoreRow
    curve: BudgetCurve | None
    """None where the record is not in the store: outcomes with errors are not kept."""


def budget_curve(record: Record, lower: Record | None = None, built: AttackRuns | None = None) -> BudgetCurve:
    """The curve of one record of an adversary.

    Errored samples were never robust. A sample that fell at a lower strength and was not tried at this one has fallen
    before the first pass.

    Args:
        record: the row's own.
        lower: that of the next lower strength of its ladder: what fell there was not judged again, so that its passes
            hold no verdict. Without it such a sample is taken to have fallen one pass too early.
        built: the runs of the attack, where it has such.
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
    """The curves of graded rows, ladder by ladder and ascending.

    Args:
        rows: of any subjects and tables; those without a grade are left out.
        records: by key.
        built: the runs of the attack of a signature.
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
    """Rows that differ in strength alone, each group ascending; groups in the order of their first row."""
    groups: dict[tuple[object, ...], list[ScoreRow]] = {}
    for row in rows:
        groups.setdefault((row.panel, row.subject, without_strength(row)), []).append(row)
    return [sorted(group, key=lambda row: strength_sort_key(row.strength)) for group in groups.values()]


def without_strength(row: ScoreRow) -> str:
    """The signature without the radius."""
    return ";".join(part for part in row.signature.split(";") if part != f"eps={row.strength}")


def _lower(other: ScoreRow, row: ScoreRow) -> bool:
    """Whether the row has what fell at the other's strength from there."""
    return other.strength in row.ladder.split() and strength_sort_key(other.strength) < strength_sort_key(row.strength)


def _spent(record: Record, lower: Record | None) -> NDArray[np.int64]:
    """Forward passes of the search on each sample: all but the verdict, which those broken below did not get."""
    judged = record.forwards > 0
    if lower is not None and np.array_equal(lower.ids, record.ids):
        judged &= lower.states != State.BROKEN
    found: NDArray[np.int64] = record.forwards.astype(np.int64) - judged
    return found


def _falls(states: NDArray[np.int8], spent: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pass at which each sample fell: -1 for what was never robust, :data:`HELD` for what is to the end."""
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
    return share - FEW / max(n, 1) <= PLATEAU_SHARE


def _some(runs: int) -> tuple[int, ...]:
    return (*(number for number in RUN_COUNTS if number < runs), runs)
