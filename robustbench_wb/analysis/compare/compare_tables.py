"""Comparison of two score tables: a verdict per cell from paired samples, and an overall difference per model."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from robustbench_wb.analysis.compare.align import CellMatch, FieldDifference, align, samples_may_differ
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, Verdict
from robustbench_wb.analysis.compare.overall import ModelGroup, SubjectEvidence, cluster_by_sample, overall_differences
from robustbench_wb.analysis.compare.paired_outcomes import (
    Differences,
    PairedOutcomes,
    PairedStates,
    accuracy_outcomes,
    loss_outcomes,
)
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

CellWithOutcomes = tuple[CellDifference, PairedOutcomes | None]
"""Difference of a cell and its paired samples; None if no samples were paired."""


def compare_tables(
    old_rows: Iterable[ScoreRow],
    new_rows: Iterable[ScoreRow],
    records: Mapping[str, Record],
    *,
    margin: float = 0.01,
    alpha: float = 0.05,
    allow: Collection[str] = (),
    correction: Correction = "holm",
) -> Comparison:
    """Align two tables and decide, cell by cell and model by model, whether the new one is worse.

    The verdict is the first of these that applies. ``not comparable``: a field of ``align.MUST_AGREE`` differs and
    is not allowed to. ``equivalent``: both sides have the same record, or the 1 - 2 alpha interval of the difference
    lies inside the margin, even if the difference is significant. ``worse`` or ``better``: the p-value, adjusted for
    the family of cells, is at most alpha. ``incomplete``: unjudged samples could decide, or a record is missing.
    ``undecided``: all other cells, and those that a decision has stopped, because tests of a fixed number of samples do
    not hold for them; they are no part of an overall difference. A family is the cells of one model in one suite,
    unless the suite declares smaller families.

    Perplexities are compared by the paired differences of the samples' losses, whose mean is the logarithm of the ratio
    of the perplexities. The margin is a factor of 1 + margin in either direction, so that exchanging the tables
    exchanges ``worse`` and ``better``.

    Args:
        old_rows: the earlier table.
        new_rows: the later table.
        records: records of both tables by key, see ``records_for_comparison``.
        margin: equivalence margin, a share in [0, 1]; for perplexity, a relative change.
        alpha: error rate of a family, of an overall difference and of each one-sided equivalence test; above 0 and
            below 1/2.
        allow: fields that may differ.
        correction: multiple-testing correction within a family.

    Raises:
        ValueError: ``margin`` or ``alpha`` is out of its range.
    """
    if not 0 <= margin <= 1 or not 0 < alpha < 0.5:
        raise ValueError(f"margin {margin} must be in [0, 1] and alpha {alpha} in (0, 0.5)")
    alignment = align(old_rows, new_rows, allow)
    paired = _estimated([_pair(match, records) for match in alignment.matches], alpha)
    pairs = _decided([pair for pair, _ in paired], margin=margin, alpha=alpha, correction=correction)
    groups = _groups(pairs, [outcomes for _, outcomes in paired])
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
    """Keys of the records that ``compare_tables`` needs; cells with one key in both tables need none."""
    matches = align(old_rows, new_rows, allow).matches
    different = [match for match in matches if not match.differing and match.old.key != match.new.key]
    return sorted({row.key for match in different for row in (match.old, match.new) if row.key})


def _pair(match: CellMatch, records: Mapping[str, Record]) -> CellWithOutcomes:
    """Difference of a cell with its paired samples; ``undecided`` marks a cell that is still to be tested."""
    old, new, differing, allowed = match

    def difference(verdict: Verdict, reason: str, differing: tuple[FieldDifference, ...] = ()) -> CellDifference:
        return CellDifference(
            old=old, new=new, metric=new.metric, allowed=allowed, verdict=verdict, reason=reason, differing=differing
        )

    if differing:
        reason = "; ".join(f"{item.field}: {item.old} and {item.new}" for item in differing)
        return difference("not comparable", reason, differing), None
    if old.key and old.key == new.key:
        return _of_same_record(difference("equivalent", "the same record")), None
    troubles = _troubles(old, new)
    if troubles and new.metric == "perplexity":
        return difference("incomplete", "; ".join(troubles)), None
    missing = [name for name, row in (("old", old), ("new", new)) if row.status != "error" and row.key not in records]
    if missing:
        reason = f"the {' and '.join(missing)} record is missing from the store; run the suite again"
        return difference("incomplete", reason), None
    outcomes = pair_outcomes(match, records)
    if outcomes is None:
        differ = samples_may_differ(allowed)
        reason = "the records have no sample in common" if differ else "the records do not hold the same samples"
        return difference("incomplete", reason), None
    if (old.is_stopped or new.is_stopped) and len(outcomes.ids) < min(old.n, new.n):
        return difference("incomplete", "the samples of the stopped cell are not among those of the other side"), None
    return _with_counts(difference("undecided", "; ".join(troubles)), outcomes), outcomes


def pair_outcomes(cell: CellMatch | CellDifference, records: Mapping[str, Record]) -> PairedOutcomes | None:
    """Paired samples of a cell: the requested ones, or the common ones if both sides may have different samples.

    Args:
        cell: rows of the cell in both tables.
        records: records of both rows by key.

    Returns:
        The pairs; None if the samples cannot be paired.
    """
    new = cell.new
    n = None if samples_may_differ(cell.allowed) else new.n
    before, after = records.get(cell.old.key), records.get(new.key)
    if new.metric == "accuracy":
        return accuracy_outcomes(before, after, n)
    return loss_outcomes(before, after, n) if before is not None and after is not None else None


def _troubles(old: ScoreRow, new: ScoreRow) -> list[str]:
    """Errors and unjudged samples, one line for each side that has some."""
    found = [row.error or "not all samples were judged" if row.status != "ok" else "" for row in (old, new)]
    if found[0] and found[0] == found[1]:
        return [f"both: {found[0]}"]
    return [f"{name}: {trouble}" for name, trouble in zip(("old", "new"), found, strict=True) if trouble]


def _of_same_record(cell: CellDifference) -> CellDifference:
    """Difference of 0 with the counts of the row, since both sides are one measurement."""
    row = cell.new
    counts = {"lost": 0, "gained": 0, "both": row.robust, "neither": row.broken + row.wrong}
    known = counts if row.metric == "accuracy" else {}
    return NO_DIFFERENCE.added_to(cell).model_copy(update={**known, "n": row.n, "adjusted_p": 1.0})


def _with_counts(cell: CellDifference, outcomes: PairedOutcomes) -> CellDifference:
    cell = cell.model_copy(update={"n": len(outcomes.ids), "unjudged": outcomes.unjudged})
    if not isinstance(outcomes, PairedStates):
        return cell
    lost, gained = outcomes.lost_ids, outcomes.gained_ids
    counts = {
        "lost": len(lost),
        "gained": len(gained),
        "both": outcomes.both,
        "neither": outcomes.neither,
        "lost_ids": lost,
        "gained_ids": gained,
    }
    return cell.model_copy(update=counts)


def _estimated(paired: Sequence[CellWithOutcomes], alpha: float) -> list[CellWithOutcomes]:
    """The cells, with estimates for those that have paired samples."""
    tested = [index for index, (_, found) in enumerate(paired) if found is not None]
    shares = [index for index in tested if paired[index][0].metric == "accuracy"]
    losses = [index for index in tested if paired[index][0].metric == "perplexity"]
    cells = [found for index in shares if (found := paired[index][1]) is not None]
    worst = _shares(cell.worst for cell in cells)
    best = worst if not any(cell.unjudged for cell in cells) else _shares(cell.best for cell in cells)
    columns = [found.worst.astype(np.float64) for index in losses if (found := paired[index][1]) is not None]
    done: dict[int, DifferenceEstimate] = dict(zip(shares, estimate_shares(worst, best, alpha), strict=True))
    done |= zip(losses, estimate_losses(columns, alpha), strict=True)
    return [
        (done[index].added_to(pair) if index in done else pair, found) for index, (pair, found) in enumerate(paired)
    ]


def _shares(cells: Iterable[Differences]) -> DiscordantShares:
    counts = [(len(cell), np.count_nonzero(cell < 0), np.count_nonzero(cell > 0)) for cell in cells]
    n, lost, gained = np.array(counts, dtype=np.int64).reshape(-1, 3).T
    return DiscordantShares(
        n=n.astype(np.float64), lost=lost.astype(np.float64), gained=gained.astype(np.float64), p=mcnemar(lost, gained)
    )


def _decided(
    pairs: Sequence[CellDifference], *, margin: float, alpha: float, correction: Correction
) -> list[CellDifference]:
    """The cells with adjusted p-values and verdicts."""
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
            verdict = decide_verdict(pairs[index], p, margin=margin, alpha=alpha)
            if pairs[index].is_stopped and verdict != "incomplete":
                verdict = "undecided"
            found[index] = pairs[index].model_copy(update={"adjusted_p": p, "verdict": verdict})
    return found


def _groups(
    pairs: Sequence[CellDifference], outcomes: Sequence[PairedOutcomes | None]
) -> dict[ModelGroup, list[SubjectEvidence]]:
    """Evidence of each model, grouped by everything but the seed."""
    models: dict[tuple[ModelGroup, int], list[int]] = {}
    for index, pair in enumerate(pairs):
        if pair.is_stopped:
            continue
        row = pair.new
        group = ModelGroup(
            task=row.task, suite=row.suite, scale=row.scale, variant=row.variant, size=row.size, recipe=row.recipe
        )
        models.setdefault((group, row.seed), []).append(index)
    groups: dict[ModelGroup, list[SubjectEvidence]] = {}
    for (group, seed), members in models.items():
        evidence = cluster_by_sample(seed, [pairs[index] for index in members], [outcomes[index] for index in members])
        groups.setdefault(group, []).append(evidence)
    return groups
