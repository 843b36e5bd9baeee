"""Two tables, aligned slot by slot and sample by sample: a verdict per cell. Data only, no rendering."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import numpy as np
from pydantic import ConfigDict

from robustbench_wb.engine.record import Record, State
from robustbench_wb.errors import ExitCode
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import paired_difference
from robustbench_wb.stats.paired import detectable_drop, holm, mcnemar
from robustbench_wb.store.rows import ScoreRow

Verdict = Literal["worse", "better", "equivalent", "undecided", "incomplete", "not comparable"]

MUST_AGREE: Final = ("suite_version", "data", "samples", "signature", "stressor_code", "ladder", "n")
"""Fields that say what was measured. A stronger attack lowers accuracy without any change in the subject:
when one of these differs, two numbers are not comparable, and that is never called a regression."""

_ALWAYS_KNOWN: Final = ("suite_version", "n")
"""The only ones that a row whose subject could not be built still has."""


class Difference(Spec):
    """A field that makes two rows not comparable."""

    field: str
    old: str | int
    new: str | int


class Pair(Spec):
    """One cell in two tables. The numbers are None when the samples were not compared."""

    model_config = ConfigDict(allow_inf_nan=False)

    old: ScoreRow
    new: ScoreRow
    verdict: Verdict
    reason: str = ""
    """One line on a verdict that the numbers do not explain."""
    differing: tuple[Difference, ...] = ()
    lost: int | None = None
    """Samples that were robust in the old table and are not in the new one."""
    gained: int | None = None
    both: int | None = None
    neither: int | None = None
    difference: float | None = None
    """New minus old accuracy, as a share."""
    low: float | None = None
    """Ends of the 95 % interval of the difference."""
    high: float | None = None
    p: float | None = None
    """Exact two-sided McNemar p-value of this cell alone."""
    adjusted_p: float | None = None
    """After Holm's correction for all cells that were tested together."""
    detectable_drop: float | None = None
    """Smallest drop found with 80 % power, given n and the observed share of changed samples."""
    lost_ids: tuple[int, ...] = ()
    gained_ids: tuple[int, ...] = ()


class Comparison(Spec):
    """All pairs in the order of the new table, and what stands in one table only."""

    margin: float
    """Differences up to this share count as none."""
    alpha: float
    """Family-wise error rate over all tested cells."""
    pairs: tuple[Pair, ...]
    added: tuple[ScoreRow, ...]
    removed: tuple[ScoreRow, ...]

    @property
    def exit_code(self) -> ExitCode:
        """NOT_COMPARABLE when any pair is not, or nothing aligns; INCOMPLETE when any pair is; else OK."""
        verdicts = {pair.verdict for pair in self.pairs}
        if not verdicts or "not comparable" in verdicts:
            return ExitCode.NOT_COMPARABLE
        return ExitCode.INCOMPLETE if "incomplete" in verdicts else ExitCode.OK


def compare(
    old_rows: Iterable[ScoreRow],
    new_rows: Iterable[ScoreRow],
    records: Mapping[str, Record],
    margin: float = 0.01,
    alpha: float = 0.05,
) -> Comparison:
    """Align two tables and decide, cell by cell, whether the subject became worse.

    Verdicts, the first that holds: ``not comparable`` (a field of :data:`MUST_AGREE` differs), ``incomplete``
    (a row has errors, or a record is missing), ``equivalent`` (the same record, or the 95 % interval of the
    difference lies inside the margin, significant or not), ``worse`` or ``better`` (Holm-adjusted p at most
    alpha), ``undecided``.

    Args:
        old_rows: the earlier table.
        new_rows: the later table.
        records: the records of both by key; those of cells with one key in both tables are not needed.
        margin: differences up to this share (0 to 1) count as none.
        alpha: family-wise error rate, above 0 and below 1.

    Raises:
        ValueError: ``margin`` or ``alpha`` is out of its range.
    """
    if not 0 <= margin <= 1 or not 0 < alpha < 1:
        raise ValueError(f"margin {margin} must be in [0, 1] and alpha {alpha} in (0, 1)")
    old = {row.slot: row for row in old_rows}
    new = {row.slot: row for row in new_rows}
    pairs = [_pair(old[slot], row, records, alpha) for slot, row in new.items() if slot in old]
    # Identical records are known without looking at outcomes; they do not dilute the others' correction.
    tested = [index for index, pair in enumerate(pairs) if pair.verdict == "undecided"]
    adjusted = holm([pairs[index].p or 0.0 for index in tested])
    for index, p in zip(tested, adjusted, strict=True):
        pairs[index] = _decide(pairs[index], p, margin, alpha)
    return Comparison(
        margin=margin,
        alpha=alpha,
        pairs=tuple(pairs),
        added=tuple(row for slot, row in new.items() if slot not in old),
        removed=tuple(row for slot, row in old.items() if slot not in new),
    )


def _pair(old: ScoreRow, new: ScoreRow, records: Mapping[str, Record], alpha: float) -> Pair:
    """A pair with its numbers; ``undecided`` means that the decision is still open."""
    known = MUST_AGREE if old.key and new.key else _ALWAYS_KNOWN
    differing = tuple(
        Difference(field=name, old=getattr(old, name), new=getattr(new, name))
        for name in known
        if getattr(old, name) != getattr(new, name)
    )
    if differing:
        reason = "; ".join(f"{item.field}: {item.old} and {item.new}" for item in differing)
        return Pair(old=old, new=new, verdict="not comparable", reason=reason, differing=differing)
    for name, row in (("old", old), ("new", new)):
        if row.status != "ok":
            reason = f"{name}: {row.error or 'not all samples were judged'}"
            return Pair(old=old, new=new, verdict="incomplete", reason=reason)
    if old.key == new.key:
        counts = {"lost": 0, "gained": 0, "both": new.robust, "neither": new.n - new.robust}
        none = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "adjusted_p": 1.0}
        return Pair(old=old, new=new, verdict="equivalent", reason="the same record", **counts, **none)
    missing = " and ".join(name for name, row in (("old", old), ("new", new)) if row.key not in records)
    if missing:
        reason = f"the {missing} record is missing from the store; run the suite again"
        return Pair(old=old, new=new, verdict="incomplete", reason=reason)
    numbers = _numbers(records[old.key], records[new.key], alpha)
    if numbers["both"] + numbers["lost"] + numbers["gained"] + numbers["neither"] != new.n:
        return Pair(old=old, new=new, verdict="incomplete", reason="the records do not hold the same samples")
    return Pair(old=old, new=new, verdict="undecided", **numbers)


def _numbers(old: Record, new: Record, alpha: float) -> dict[str, Any]:
    """The paired counts of two records over the same samples, and what follows from them."""
    ids, old_at, new_at = np.intersect1d(old.ids, new.ids, assume_unique=True, return_indices=True)
    was, now = old.states[old_at] == State.ROBUST, new.states[new_at] == State.ROBUST
    lost, gained = ids[was & ~now], ids[~was & now]
    counts = {
        "both": int(np.count_nonzero(was & now)),
        "lost": len(lost),
        "gained": len(gained),
        "neither": int(np.count_nonzero(~was & ~now)),
    }
    difference, interval = paired_difference(**counts)
    share = (len(lost) + len(gained)) / max(len(ids), 1)
    return {
        **counts,
        "difference": difference,
        "low": interval.low,
        "high": interval.high,
        "p": mcnemar(len(lost), len(gained)),
        "detectable_drop": detectable_drop(len(ids), share, alpha),
        "lost_ids": tuple(lost.tolist()),
        "gained_ids": tuple(gained.tolist()),
    }


def _decide(pair: Pair, adjusted_p: float, margin: float, alpha: float) -> Pair:
    low, high, difference = pair.low or 0.0, pair.high or 0.0, pair.difference or 0.0
    verdict: Verdict = "undecided"
    if -margin <= low and high <= margin:
        # First: with enough samples every difference is significant, even one that matters to nobody.
        verdict = "equivalent"
    elif adjusted_p <= alpha:
        verdict = "worse" if difference < 0 else "better"
    return pair.model_copy(update={"adjusted_p": adjusted_p, "verdict": verdict})
