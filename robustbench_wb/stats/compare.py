"""Two tables, aligned slot by slot and sample by sample: a verdict per cell. Data only, no rendering."""

from collections.abc import Iterable, Mapping
from math import inf, isinf, log1p
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from robustbench_wb.engine.record import Metric, Record, State
from robustbench_wb.errors import ExitCode
from robustbench_wb.spec import Spec
from robustbench_wb.stats.intervals import mean_interval, paired_difference
from robustbench_wb.stats.paired import detectable_drop, detectable_shift, holm, mcnemar, paired_t
from robustbench_wb.store.rows import ScoreRow

Verdict = Literal["worse", "better", "equivalent", "undecided", "incomplete", "not comparable"]

_ALWAYS_KNOWN: Final = ("metric", "protocol", "suite_version", "n")
"""The ones that a row whose subject could not be built has, too."""

MUST_AGREE: Final = (*_ALWAYS_KNOWN, "data", "samples", "signature", "stressor_code", "ladder")
"""Fields that say what was measured. A stronger attack lowers accuracy without any change in the subject:
when one of these differs, two numbers are not comparable, and that is never called a regression."""


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
    metric: Metric = "accuracy"
    """What ``difference``, ``low``, ``high`` and ``detectable_drop`` are in: that of the new row."""
    lost: int | None = None
    """Samples that were robust in the old table and are not in the new one. None for perplexity; so are the next."""
    gained: int | None = None
    both: int | None = None
    neither: int | None = None
    difference: float | None = None
    """New minus old: of accuracies, as a share; of mean losses in nats per token, which is the logarithm of the
    ratio of the perplexities. Better is above 0 for accuracy and below 0 for perplexity."""
    low: float | None = None
    """Ends of the 95 % interval of the difference. With a difference, None is an open end: one sample alone."""
    high: float | None = None
    p: float | None = None
    """Two-sided p-value of this cell alone: exact McNemar for accuracy, paired t for perplexity."""
    adjusted_p: float | None = None
    """After Holm's correction for all cells that were tested together."""
    detectable_drop: float | None = None
    """Smallest change for the worse, without its sign, found with 80 % power, given n and the observed share of
    changed samples or scatter of the differences."""
    lost_ids: tuple[int, ...] = ()
    gained_ids: tuple[int, ...] = ()


class Comparison(Spec):
    """All pairs in the order of the new table, and what stands in one table only."""

    margin: float
    """Differences up to this count as none: a share for accuracy, relative for perplexity (0.01: a factor of 1.01)."""
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

    Perplexities are compared by the paired differences of the samples' losses, whose mean is the logarithm of the
    ratio of the perplexities. The margin is a factor 1 + margin either way, so that it does not matter which of the
    two is called old.

    Args:
        old_rows: the earlier table.
        new_rows: the later table.
        records: the records of both by key; those of cells with one key in both tables are not needed.
        margin: differences up to this share (0 to 1), or in perplexity this relative change, count as none.
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
    rows: dict[str, Any] = {"old": old, "new": new, "metric": new.metric}
    known = MUST_AGREE if old.key and new.key else _ALWAYS_KNOWN
    differing = tuple(
        Difference(field=name, old=getattr(old, name), new=getattr(new, name))
        for name in known
        if getattr(old, name) != getattr(new, name)
    )
    if differing:
        reason = "; ".join(f"{item.field}: {item.old} and {item.new}" for item in differing)
        return Pair(**rows, verdict="not comparable", reason=reason, differing=differing)
    for name, row in (("old", old), ("new", new)):
        if row.status != "ok":
            reason = f"{name}: {row.error or 'not all samples were judged'}"
            return Pair(**rows, verdict="incomplete", reason=reason)
    if old.key == new.key:
        counts = {"lost": 0, "gained": 0, "both": new.robust, "neither": new.n - new.robust}
        none = {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "adjusted_p": 1.0}
        known_counts = counts if new.metric == "accuracy" else {}
        return Pair(**rows, verdict="equivalent", reason="the same record", **known_counts, **none)
    missing = " and ".join(name for name, row in (("old", old), ("new", new)) if row.key not in records)
    if missing:
        reason = f"the {missing} record is missing from the store; run the suite again"
        return Pair(**rows, verdict="incomplete", reason=reason)
    before, after = records[old.key], records[new.key]
    ids, old_at, new_at = np.intersect1d(before.ids, after.ids, assume_unique=True, return_indices=True)
    if len(ids) != new.n:
        return Pair(**rows, verdict="incomplete", reason="the records do not hold the same samples")
    if new.metric == "perplexity":
        numbers = _losses(before.token_losses[old_at], after.token_losses[new_at], alpha)
    else:
        robust = (before.states[old_at] == State.ROBUST, after.states[new_at] == State.ROBUST)
        numbers = _outcomes(ids, *robust, alpha)
    return Pair(**rows, verdict="undecided", **numbers)


def _losses(old: NDArray[np.float64], new: NDArray[np.float64], alpha: float) -> dict[str, Any]:
    """What follows from the losses of the same samples, (n,) each."""
    differences = new - old
    difference, interval = mean_interval(differences)
    return {
        "difference": difference,
        "low": None if isinf(interval.low) else interval.low,
        "high": None if isinf(interval.high) else interval.high,
        "p": paired_t(differences),
        "detectable_drop": detectable_shift(differences, alpha),
    }


def _outcomes(ids: NDArray[np.int32], was: NDArray[np.bool_], now: NDArray[np.bool_], alpha: float) -> dict[str, Any]:
    """The paired counts of who was and is robust, (n,) each, and what follows from them."""
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
    low = -inf if pair.low is None else pair.low
    high = inf if pair.high is None else pair.high
    better, limit = pair.difference or 0.0, margin
    if pair.metric == "perplexity":
        better, limit = -better, log1p(margin)
    verdict: Verdict = "undecided"
    if -limit <= low and high <= limit:
        # First: with enough samples every difference is significant, even one that matters to nobody.
        verdict = "equivalent"
    elif adjusted_p <= alpha:
        verdict = "worse" if better < 0 else "better"
    return pair.model_copy(update={"adjusted_p": adjusted_p, "verdict": verdict})
