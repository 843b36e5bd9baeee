"""Is a version good enough to go on with? Every cell and subject of a baseline is judged against a margin."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf, log1p
from typing import Final

import numpy as np

from robustbench_wb.analysis.compare.compare_tables import compare_tables, pair_outcomes, records_for_comparison
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference, PairedDifference
from robustbench_wb.analysis.gate.gate_result import ALPHA, Against, GateDecision, GateOutcome, GateResult
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.gate.noise_floor import NoiseFloor, mean_floor
from robustbench_wb.records.credibility import GRADES, read_checks, worst_check
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import detectable_distance
from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.paired import detectable_drop_beyond, p_drop_beyond
from robustbench_wb.stats.resampling import sign_flip_p

_POWER: Final = 0.8
_STALE: Final = "measured before the subject changed; run its suite again"


def records_for_gate(old: Sequence[ScoreRow], pinned: Sequence[ScoreRow], new: Sequence[ScoreRow]) -> set[str]:
    """Keys of the records without which :func:`judge` cannot decide."""
    return {*records_for_comparison(old, new), *records_for_comparison(pinned, new)}


def decide_gate(
    old: Sequence[ScoreRow],
    pinned: Sequence[ScoreRow],
    new: Sequence[ScoreRow],
    records: Mapping[str, Record],
    margins: Margins,
    *,
    strict: bool = False,
    baseline: str = "",
    version: str = "",
    noise: NoiseFloor | None = None,
) -> GateResult:
    """Judge a version against a baseline and, for slow drift, against the ancestor that the baseline descends from.

    A cell is ``regressed`` when its drop is certainly larger than the margin: one-sided p at most alpha, by
    :func:`robustbench_wb.stats.paired.p_drop_beyond` or the sign-flip test of the losses less the margin, corrected by
    Holm for its family (the cells of one subject in one suite, or as the suite declares). It is ``passed`` when a
    drop as large as the margin is excluded: the 1 - 2 alpha interval lies above it, a test of non-inferiority at
    alpha. Neither is ``undecided``. What was not judged counts in its favour for the first and against it for the
    second; what stays open is ``incomplete``. A subject's mean over its cells is judged alike, by both ends of
    that interval of its claim, uncorrected. With ``noise``, "certainly larger than the margin" is "than the margin and
    the floor of the cell" (for a subject the mean of its cells' floors); what passes is not changed.

    Args:
        old: the rows of the baseline.
        pinned: those of its pinned ancestor; empty when it is that itself.
        new: the rows of the version.
        records: of all; see :func:`records_of`.
        margins: how large a drop is accepted.
        strict: whether what is undecided closes the gate.
        baseline: what was compared, as it was named.
        version: likewise.
        noise: how far cells move by themselves.

    Raises:
        UsageError: a margin is given for a suite that there is not.
    """
    margins.check(row.suite for row in (*old, *new))
    found = _against("baseline", old, new, records, margins, noise)
    drifted = _against("pinned ancestor", pinned, new, records, margins, noise)
    judgements = [*found, *drifted, *_doubts(old, new, margins)]
    slots = {row.slot for row in old} | {
        item.found.new.slot for item in found if isinstance(item.found, CellDifference)
    }
    return GateResult(
        baseline=baseline,
        version=version,
        margins=margins,
        strict=strict,
        judgements=tuple(judgements),
        added=tuple(row for row in new if row.slot not in slots),
    )


def _against(
    against: Against,
    old: Sequence[ScoreRow],
    new: Sequence[ScoreRow],
    records: Mapping[str, Record],
    margins: Margins,
    noise: NoiseFloor | None,
) -> list[GateDecision]:
    """Subjects, then cells, suite by suite: each has its own margin."""
    found, moved = [], _moved(old, new)
    for suite in dict.fromkeys(row.suite for row in old):
        before, after = ([row for row in rows if row.suite == suite] for rows in (old, new))
        margin = margins.share(suite)
        comparison = compare_tables(before, after, records, margin, ALPHA)
        found += _subjects(against, comparison, noise) + _cells(against, comparison, records, moved, noise)
        reason = "the version lacks this cell of the baseline"
        found += [
            GateDecision(against=against, outcome="missing", reason=reason, row=row, margin=margin)
            for row in comparison.removed
        ]
    return found


def _moved(old: Iterable[ScoreRow], new: Iterable[ScoreRow]) -> set[tuple[str, ...]]:
    """Subjects that are other ones in at least one cell: where they still have the same record, it is of the old one.

    A version keeps the rows of suites that its run left out.
    """
    before = {row.slot: row for row in old}
    both = [(before[row.slot], row) for row in new if row.slot in before]
    return {
        _tested(row)
        for was, row in both
        if was.key and row.key and (was.weights, was.model_code) != (row.weights, row.model_code)
    }


def _tested(row: ScoreRow) -> tuple[str, ...]:
    return (row.task, row.scale, *row.subject)


def _subjects(against: Against, comparison: Comparison, noise: NoiseFloor | None) -> list[GateDecision]:
    """Of those of which several cells were compared: one cell speaks for itself."""
    judged = []
    for claim in comparison.claims:
        if claim.worst is None or claim.cells < 2:
            continue
        limit, above, below = _ends(claim, comparison.margin)
        floor = mean_floor(noise, _rows_of(claim, comparison))
        outcome: GateOutcome = "passed" if above <= limit else "regressed" if below > limit + floor else "undecided"
        if claim.unjudged and outcome == "undecided":
            continue  # its cells say why
        judged.append(_judgement(against, outcome, claim, comparison.margin, floor=floor))
    return judged


def _rows_of(claim: OverallDifference, comparison: Comparison) -> list[ScoreRow]:
    """The cells that a claim is the mean of."""
    names = ("task", "suite", "scale", "variant", "size", "recipe")
    rows = [pair.new for pair in comparison.pairs if not pair.differing and pair.new.seed in claim.seeds]
    return [row for row in rows if all(getattr(row, name) == getattr(claim, name) for name in names)]


def _cells(
    against: Against,
    comparison: Comparison,
    records: Mapping[str, Record],
    moved: Collection[tuple[str, ...]],
    noise: NoiseFloor | None,
) -> list[GateDecision]:
    pairs = comparison.pairs
    tested = [index for index, pair in enumerate(pairs) if pair.p is not None and pair.old.key != pair.new.key]
    floors = [mean_floor(noise, (pair.new,)) for pair in pairs]
    ps = {index: _p_value(pairs[index], comparison.margin, floors[index], records) for index in tested}
    families: dict[tuple[object, ...], list[int]] = {}
    for index in tested:
        row = pairs[index].new
        families.setdefault((row.task, row.scale, row.subject, row.family), []).append(index)
    adjusted: dict[int, float] = {}
    for members in families.values():
        adjusted |= zip(members, holm([ps[index] for index in members]), strict=True)
    judged = []
    for index, pair in enumerate(pairs):
        outcome = _cell(pair, comparison.margin, adjusted.get(index))
        if pair.old.key == pair.new.key and _tested(pair.new) in moved:
            outcome, pair = "incomplete", pair.model_copy(update={"reason": _STALE})
        tests = ps.get(index), adjusted.get(index), floors[index]
        judged.append(_judgement(against, outcome, pair, comparison.margin, *tests))
    return judged


def _cell(pair: CellDifference, margin: float, adjusted_p: float | None) -> GateOutcome:
    if pair.differing:
        return "not comparable"
    if adjusted_p is not None and adjusted_p <= ALPHA:
        return "regressed"
    if pair.verdict == "incomplete" or {pair.old.status, pair.new.status} != {"ok"}:
        return "incomplete"
    limit, above, _ = _ends(pair, margin)
    return "passed" if above <= limit else "undecided"


def _p_value(pair: CellDifference, margin: float, floor: float, records: Mapping[str, Record]) -> float:
    """One-sided p of a drop beyond the margin and the floor, if what was not judged had come out well."""
    outcomes = pair_outcomes(pair.old, pair.new, records, pair.new.n)
    if outcomes is None or (pair.metric == "accuracy" and margin + floor >= 1):
        return 1.0
    if pair.metric == "accuracy":
        lost, gained = (int(np.count_nonzero(outcomes.best == side)) for side in (-1, 1))
        return float(p_drop_beyond(len(outcomes.ids), lost, gained, margin + floor)[0])
    excess = outcomes.best - log1p(margin) - floor
    half = sign_flip_p([excess])[0] / 2
    return half if excess.sum() > 0 else 1 - half


def _ends(found: PairedDifference, margin: float) -> tuple[float, float, float]:
    """The limit of a drop, then the ends of the 1 - 2 alpha interval of the drop: the largest, the smallest."""
    low = -inf if found.narrow_low is None else found.narrow_low
    high = inf if found.narrow_high is None else found.narrow_high
    return (margin, -low, -high) if found.metric == "accuracy" else (log1p(margin), high, low)


def _judgement(
    against: Against,
    outcome: GateOutcome,
    found: CellDifference | OverallDifference,
    margin: float,
    p: float | None = None,
    adjusted_p: float | None = None,
    floor: float = 0.0,
) -> GateDecision:
    reason = "" if outcome == "passed" else found.reason or _why(outcome, found)
    return GateDecision(
        against=against,
        outcome=outcome,
        reason=reason,
        row=found.new if isinstance(found, CellDifference) else None,
        margin=margin,
        found=found,
        p=p,
        adjusted_p=adjusted_p,
        floor=floor,
        smallest=_smallest(found, margin, floor) if outcome == "undecided" else None,
    )


def _why(outcome: GateOutcome, found: PairedDifference) -> str:
    if outcome == "regressed":
        return "the drop is certainly larger than the margin"
    return "not all samples were judged" if outcome == "incomplete" else "a drop beyond the margin is not excluded"


def _smallest(found: CellDifference | OverallDifference, margin: float, floor: float) -> float | None:
    """Of a perplexity, as a relative rise.

    But for a cell of accuracies it is the limit and :func:`robustbench_wb.stats.intervals.detectable_distance`.
    """
    if isinstance(found, CellDifference) and found.n and found.lost is not None and found.gained is not None:
        return detectable_drop_beyond(found.n, found.lost, found.gained, min(margin + floor, 1.0), ALPHA, _POWER)
    limit, largest, smallest = _ends(found, margin)
    if largest - smallest == inf:
        return None
    limit = limit + floor + detectable_distance(smallest, largest, ALPHA, _POWER)
    return limit if found.metric == "accuracy" else float(np.expm1(limit))


def _doubts(old: Iterable[ScoreRow], new: Iterable[ScoreRow], margins: Margins) -> list[GateDecision]:
    """Cells whose number may not be believed, or less than before."""
    before = {row.slot: row for row in old}
    found = []
    for row in new:
        was = before[row.slot].grade if row.slot in before else ""
        if row.status == "error" or (not row.grade and not was):
            continue
        fell = bool(was) and (not row.grade or GRADES.index(row.grade) > GRADES.index(was))
        if fell or row.grade == "F":
            worst = worst_check(read_checks(row.checks))
            step = f"grade {row.grade or 'none'}" + (f", was {was}" if fell else "")
            reason = step + (f": {worst.reason}" if worst is not None else "")
            margin = margins.share(row.suite)
            found.append(GateDecision(against="baseline", outcome="doubtful", reason=reason, row=row, margin=margin))
    return found
