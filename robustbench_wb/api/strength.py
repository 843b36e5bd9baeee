"""``strength``: what the budgets of attacks bought."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robustbench_wb.analysis.curves.attack_strength import AttackRuns, AttackStrength, attack_strengths
from robustbench_wb.errors import UsageError
from robustbench_wb.frames import columns, names, to_frame
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.stressors.attacks.attack import Attack
from robustbench_wb.stressors.catalogue import parse_stressor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class StrengthResult:
    """Accuracy against cost, for graded rows of one version."""

    version: int
    rows: tuple[AttackStrength, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with one row per point of each curve."""
        return to_frame(
            {**names(found.row), **columns(point)}
            for found in self.rows
            if found.curve is not None
            for point in found.curve.points
        )


def strength(
    subject: str, stressor: str | None = None, version: str | None = None, results: str = "results"
) -> StrengthResult:
    """Read what the budgets of a model's attacks bought from stored records.

    Args:
        subject: a variant as the table names it, with or without its size.
        stressor: rows of one name, with these numbers; None: all.
        version: like ``v3``; None is the latest.
        results: folder or Delta URL where results live.

    Raises:
        StoreError: there is no such version.
        UsageError: the version has no such row.
    """
    table = ScoreTable(results)
    number = table.version(version)
    graded = [row for row in table.rows(number) if row.grade]
    own = [row for row in graded if subject in (row.variant, f"{row.variant}-{row.size}")]
    wanted = [part.strip() for part in (stressor or "").split(";") if part.strip()]
    rows = [row for row in own if set(wanted) <= set(row.signature.split(";"))]
    if not rows:
        known = dict.fromkeys(row.stressor if own else row.variant for row in own or graded)
        what = f"graded row of {subject!r}" + (f" under {stressor!r}" if own else "")
        raise UsageError(f"v{number} has no {what}; it has: {', '.join(known) or 'none, a new run grades them'}")
    records = RecordStore(results).find([row.key for row in rows])
    return StrengthResult(version=number, rows=tuple(attack_strengths(rows, records, _runs)))


def _runs(signature: str) -> AttackRuns | None:
    """Number of runs of an attack, and of steps in each; None if it is not one search of equal runs."""
    attack = parse_stressor(signature)
    return AttackRuns(runs=attack.runs, steps=attack.iterations) if isinstance(attack, Attack) else None
