"""Joint robust accuracy: samples that are classified correctly under every attack of one threat model."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.headline.headline import HeadlineNumber, OptionalGrade
from robustbench_wb.analysis.row_order import CellKey, cell_key
from robustbench_wb.analysis.sample_scores import SampleOrigin, SampleScores
from robustbench_wb.records.credibility import GRADES, Grade, read_checks, worst_check
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import wilson

GAP_B: Final = 0.01
"""Largest share of samples that only other attacks than the most credible one break, for an A (ours)."""
GAP_C: Final = 0.05
"""Largest such share for a B (ours). Both limits are those of the check ``strongest`` of single attacks."""
TOLERATED_SAMPLES: Final = 1
"""Samples beyond a limit that are taken for chance, as in the checks of single attacks."""


class JointAccuracy(NamedTuple):
    """Joint robust accuracy of one model, and the outcome of every sample."""

    number: HeadlineNumber
    scores: SampleScores
    """Per-sample outcomes, 1 if robust; unknown if a record is missing or the grade is F."""


class _Outcomes(NamedTuple):
    ids: NDArray[np.int32]
    """Distinct sample ids, ascending."""
    robust: NDArray[np.bool_]
    """Whether the sample is correct in every record."""
    wrong: NDArray[np.bool_]
    """Whether the sample is wrong when clean."""
    broken: Mapping[str, NDArray[np.bool_]]
    """Whether the sample is broken in a record, by its key."""

    @property
    def broken_by_any(self) -> NDArray[np.bool_]:
        """Whether the sample is broken in at least one record."""
        found: NDArray[np.bool_] = np.any([np.zeros(len(self.ids), np.bool_), *self.broken.values()], axis=0)
        return found


def joint_accuracy(
    rows: Sequence[ScoreRow], attacks: Sequence[ScoreRow], records: Mapping[str, Record]
) -> JointAccuracy:
    """Share of the samples that are correct when clean and under every attack of one threat model and radius.

    A sample that errored or was not run in any evaluation is not robust. The interval is Wilson's at 95 %; with such
    samples it reaches up to the high end of "all of them are robust".

    Args:
        rows: rows of one model: all attacks and controls in the same ball, and the clean row if there is one.
        attacks: those of ``rows`` that decide the grade.
        records: records by key. If one is missing, the value is the lowest accuracy of the rows, an upper bound.
    """
    failed = [row for row in rows if row.status == "error"]
    measured = [row for row in rows if row.status != "error"]
    lacking = [row for row in measured if row.key not in records]
    origins = {SampleOrigin(data=row.data, samples=row.samples, n=row.n) for row in measured}
    if lacking or len(origins) > 1:
        missing = f"{len(lacking)} of {len(measured)} records are not in the store"
        return _bound(rows, attacks, missing if lacking else "its cells were measured on different samples")
    outcomes = _combine([records[row.key] for row in measured])
    n = max(rows[0].n, len(outcomes.ids))  # samples that no record names were not run
    values = np.pad(outcomes.robust & (not failed), (0, n - len(outcomes.ids))).astype(np.float64)
    robust, lost = int(values.sum()), int((outcomes.broken_by_any | outcomes.wrong).sum())
    grade, doubt = _grade(attacks, outcomes, proven_zero=lost == n)
    number = HeadlineNumber(
        value=None if failed else robust / n if n else 0.0,
        low=None if failed else wilson(robust, n).low,
        high=None if failed else wilson(n - lost, n).high,
        robust=None if failed else robust,
        grade=grade,
        failed=len(failed),
        unjudged=n - robust - lost if not failed else 0,
        note=f"{failed[0].cell} failed: {failed[0].error or 'no sample was judged'}" if failed else doubt,
    )
    if grade == "F" or failed:
        return JointAccuracy(number, SampleScores(counted=frozenset(), reason=number.note))
    counted = frozenset(map(cell_key, measured))
    return JointAccuracy(number, SampleScores(values=values, origin=origins.pop(), counted=counted))


def _bound(rows: Sequence[ScoreRow], attacks: Sequence[ScoreRow], reason: str) -> JointAccuracy:
    """Joint accuracy without all records: no larger than the lowest accuracy."""
    best = _best_attack(attacks)
    grade = best.grade if best is not None else ""
    failed = sum(row.status == "error" for row in rows)
    number = HeadlineNumber(
        value=None if failed else min(row.accuracy or 0.0 for row in rows),
        grade=grade,
        failed=failed,
        note=reason,
    )
    counted = frozenset(map(cell_key, rows)) if grade != "F" else frozenset[CellKey]()
    return JointAccuracy(number, SampleScores(counted=counted, reason=reason))


def _combine(records: Sequence[Record]) -> _Outcomes:
    ids = np.unique(np.concatenate([np.empty(0, np.int32), *(record.ids for record in records)]))
    correct, wrong = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
    broken = {}
    for record in records:
        places = np.searchsorted(ids, record.ids)
        correct[places] += record.states == State.ROBUST
        wrong[places] |= record.states == State.WRONG
        broken[record.key] = np.zeros(len(ids), np.bool_)
        broken[record.key][places] = record.states == State.BROKEN
    return _Outcomes(ids=ids, robust=correct == len(records), wrong=wrong, broken=broken)


def _best_attack(attacks: Sequence[ScoreRow]) -> ScoreRow | None:
    """Attack with the best grade; of several, the one with the lowest accuracy. None if no attack has a grade."""
    graded = [row for row in attacks if row.grade and row.status != "error"]
    return min(graded, key=lambda row: (GRADES.index(row.grade or "F"), row.accuracy or 0.0), default=None)


def _grade(attacks: Sequence[ScoreRow], outcomes: _Outcomes, *, proven_zero: bool) -> tuple[OptionalGrade, str]:
    """Grade of the joint accuracy, and the reason for a C or F.

    The joint accuracy is at most that of the most credible attack, and so has its grade. The grade is lower if the
    other attacks and controls break many samples that this attack does not: the attacks contradict each other, and
    another one may break still more. A joint accuracy of 0 is proven by adversarial examples and graded B at worst.
    """
    best = _best_attack(attacks)
    if best is None:
        return "", ""
    grade: Grade = best.grade or "F"
    worst = worst_check(read_checks(best.checks))
    reason = worst.reason if worst is not None else ""
    tried = int((~outcomes.wrong).sum())
    missed = int((outcomes.broken_by_any & ~outcomes.broken[best.key]).sum())
    share = max(0, missed - TOLERATED_SAMPLES) / max(tried, 1)
    allowed: Grade = "A" if share <= GAP_B else "B" if share <= GAP_C else "C"
    if GRADES.index(allowed) > GRADES.index(grade):
        grade, reason = allowed, f"other attacks break {missed} of {tried} samples that {best.cell} does not"
    if proven_zero and grade in ("C", "F"):
        grade = "B"
    return grade, reason if grade in ("C", "F") else ""
