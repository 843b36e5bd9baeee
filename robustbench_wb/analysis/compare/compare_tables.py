"""Two tables, aligned cell by cell and sample by sample: a verdict per cell, and claims about subjects."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from robustbench_wb.analysis.compare.align import CellMatch, align
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison
from robustbench_wb.analysis.compare.overall import ModelGroup, SubjectEvidence, cluster_by_sample, overall_differences
from robustbench_wb.analysis.compare.paired_outcomes import PairedOutcomes, accuracy_outcomes, loss_outcomes
from robustbench_wb.analysis.compare.verdicts import (
    NO_DIFFERENCE,
    DifferenceEstimate,
    DiscordantShares,
    decide_verdict,
    estimate_losses,
    estimate_shares,
)
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.multiplicity import CORRECTIONS, Correction
from robustbench_wb.stats.paired import mcnemar

Paired = tuple[CellDifference, PairedOutcomes | None]
"""A cell and its samples, if there are any to look at."""


def compare_tables(
    old_rows: Iterable[ScoreRow],
    new_rows: Iterable[ScoreRow],
    records: Mapping[str, Record],
    margin: float = 0.01,
    alpha: float = 0.05,
    allow: Collection[str] = (),
    correction: Correction = "holm",
) -> Comparison:
    """Align two tables and decide, cell by cell and subject by subject, whether the new one is worse.

    Verdicts, the first that holds: ``not comparable`` (a field of :data:`.align.MUST_AGREE`
    differs and is not allowed to), ``equivalent`` (the same record, or the 1 - 2 alpha interval of the difference lies
    inside the margin, significant or not), ``worse`` or ``better`` (p, adjusted for the family of cells, is at most
    alpha), ``incomplete`` (what was not judged could decide, or a record is missing), ``undecided``. A family is the
    cells of one subject in one suite, unless the suite declares smaller ones.

    Perplexities are compared by the paired differences of the samples' losses, whose mean is the logarithm of the
    ratio of the perplexities. The margin is a factor 1 + margin either way, so that it does not matter which of the
    two is called old.

    Args:
        old_rows: the earlier table.
        new_rows: the later table.
        records: the records of both by key; those of cells with one key in both tables are not needed, see
            :func:`needed`.
        margin: differences up to this share (0 to 1), or in perplexity this relative change, count as none.
        alpha: error rate of a family, of a claim, and of each one-sided test of equivalence; above 0, below one half.
        allow: fields that may differ.
        correction: of the cells of a family.

    Raises:
        ValueError: ``margin`` or ``alpha`` is out of its range.
    """
    if not 0 <= margin <= 1 or not 0 < alpha < 0.5:
        raise ValueError(f"margin {margin} must be in [0, 1] and alpha {alpha} in (0, 0.5)")
    alignment = align(old_rows, new_rows, allow)
    paired = _numbered([_pair(match, records) for match in alignment.matches], alpha)
    pairs = _decided([pair for pair, _ in paired], margin, alpha, correction)
    groups = _groups(pairs, [found for _, found in paired])
    return Comparison(
        margin=margin,
        alpha=alpha,
        correction=correction,
        allow=tuple(sorted(allow)),
        claims=tuple(overall_differences(groups, margin, alpha)),
        pairs=tuple(pairs),
        added=tuple(alignment.added),
        removed=tuple(alignment.removed),
    )


def records_for_comparison(
    old_rows: Iterable[ScoreRow], new_rows: Iterable[ScoreRow], allow: Collection[str] = ()
) -> list[str]:
    """Keys of the records without which :func:`compare` cannot decide."""
    matches = align(old_rows, new_rows, allow).matches
    different = [match for match in matches if not match.differing and match.old.key != match.new.key]
    return sorted({row.key for match in different for row in (match.old, match.new) if row.key})


def _pair(match: CellMatch, records: Mapping[str, Record]) -> Paired:
    """A cell and its samples; ``undecided`` means that it is to be tested."""
    old, new, differing, allowed = match
    fixed: dict[str, Any] = {"old": old, "new": new, "metric": new.metric, "allowed": allowed}
    if differing:
        reason = "; ".join(f"{item.field}: {item.old} and {item.new}" for item in differing)
        return CellDifference(**fixed, verdict="not comparable", reason=reason, differing=differing), None
    if old.key and old.key == new.key:
        counts = {"lost": 0, "gained": 0, "both": new.robust, "neither": new.broken + new.wrong}
        known = counts if new.metric == "accuracy" else {}
        numbers = {**NO_DIFFERENCE.fields(), **known, "n": new.n, "adjusted_p": 1.0}
        return CellDifference(**fixed, **numbers, verdict="equivalent", reason="the same record"), None
    troubles = _troubles(old, new)
    fixed["reason"] = "; ".join(troubles)
    if troubles and new.metric == "perplexity":
        return CellDifference(**fixed, verdict="incomplete"), None
    missing = [name for name, row in (("old", old), ("new", new)) if row.status != "error" and row.key not in records]
    if missing:
        reason = f"the {' and '.join(missing)} record is missing from the store; run the suite again"
        return CellDifference(**{**fixed, "reason": reason}, verdict="incomplete"), None
    n = None if any(item.field in ("samples", "n") for item in allowed) else new.n
    found = pair_outcomes(old, new, records, n)
    if found is None:
        reason = "the records have no sample in common" if n is None else "the records do not hold the same samples"
        return CellDifference(**{**fixed, "reason": reason}, verdict="incomplete"), None
    return CellDifference(**fixed, **_counts(found, new), verdict="undecided"), found


def pair_outcomes(old: ScoreRow, new: ScoreRow, records: Mapping[str, Record], n: int | None) -> PairedOutcomes | None:
    """What became of the samples of a cell; None when they cannot be paired. For ``n`` see
    :func:`robustbench_wb.analysis.compare.paired_outcomes.accuracy_outcomes`."""
    before, after = records.get(old.key), records.get(new.key)
    if new.metric == "accuracy":
        return accuracy_outcomes(before, after, n)
    return loss_outcomes(before, after, n) if before is not None and after is not None else None


def _troubles(old: ScoreRow, new: ScoreRow) -> list[str]:
    """What went wrong, one line for each side that has trouble."""
    found = [row.error or "not all samples were judged" if row.status != "ok" else "" for row in (old, new)]
    if found[0] and found[0] == found[1]:
        return [f"both: {found[0]}"]
    return [f"{name}: {trouble}" for name, trouble in zip(("old", "new"), found, strict=True) if trouble]


def _counts(found: PairedOutcomes, new: ScoreRow) -> dict[str, Any]:
    counts: dict[str, Any] = {"n": len(found.ids), "unjudged": found.unjudged}
    if new.metric == "accuracy":
        counts |= {"lost": len(found.lost_ids), "gained": len(found.gained_ids)}
        counts |= {"both": found.both, "neither": found.neither}
        counts |= {"lost_ids": found.lost_ids, "gained_ids": found.gained_ids}
    return counts


def _numbered(paired: Sequence[Paired], alpha: float) -> list[Paired]:
    """The pairs, those to be tested with their numbers."""
    tested = [index for index, (_, found) in enumerate(paired) if found is not None]
    shares = [index for index in tested if paired[index][0].metric == "accuracy"]
    losses = [index for index in tested if paired[index][0].metric == "perplexity"]
    cells = [found for index in shares if (found := paired[index][1]) is not None]
    worst = _shares([cell.worst for cell in cells])
    best = worst if not any(cell.unjudged for cell in cells) else _shares([cell.best for cell in cells])
    columns = [found.worst for index in losses if (found := paired[index][1]) is not None]
    done: dict[int, DifferenceEstimate] = dict(zip(shares, estimate_shares(worst, best, alpha), strict=True))
    done |= zip(losses, estimate_losses(columns, alpha), strict=True)
    return [
        (pair.model_copy(update=done[index].fields()) if index in done else pair, found)
        for index, (pair, found) in enumerate(paired)
    ]


def _shares(cells: Sequence[np.ndarray[Any, np.dtype[np.float64]]]) -> DiscordantShares:
    n = np.array([len(values) for values in cells], dtype=np.float64)
    lost, gained = (
        np.array([np.count_nonzero(values == side) for values in cells], dtype=np.int64) for side in (-1, 1)
    )
    return DiscordantShares(n, lost.astype(np.float64), gained.astype(np.float64), mcnemar(lost, gained))


def _decided(
    pairs: Sequence[CellDifference], margin: float, alpha: float, correction: Correction
) -> list[CellDifference]:
    """The pairs with adjusted p-values and verdicts."""
    families: dict[tuple[object, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        # Identical records are known without looking at outcomes; they do not dilute the others' correction.
        if pair.p is not None and pair.adjusted_p is None:
            row = pair.new
            families.setdefault((row.task, row.suite, row.scale, row.subject, row.family), []).append(index)
    found = list(pairs)
    for members in families.values():
        adjusted = CORRECTIONS[correction]([pairs[index].p or 0.0 for index in members])
        for index, p in zip(members, adjusted, strict=True):
            update = {"adjusted_p": p, "verdict": decide_verdict(pairs[index], p, margin, alpha)}
            found[index] = pairs[index].model_copy(update=update)
    return found


def _groups(
    pairs: Sequence[CellDifference], outcomes: Sequence[PairedOutcomes | None]
) -> dict[ModelGroup, list[SubjectEvidence]]:
    """The cells by subject, and the subjects by all but their seed."""
    subjects: dict[tuple[ModelGroup, int], list[int]] = {}
    for index, pair in enumerate(pairs):
        row = pair.new
        group = (row.task, row.suite, row.scale, row.variant, row.size, row.recipe)
        subjects.setdefault((group, row.seed), []).append(index)
    groups: dict[ModelGroup, list[SubjectEvidence]] = {}
    for (group, seed), members in subjects.items():
        evidence = cluster_by_sample(seed, [pairs[index] for index in members], [outcomes[index] for index in members])
        groups.setdefault(group, []).append(evidence)
    return groups
