"""Gate decisions: every cell and model of a version is compared with a baseline and tested against a margin."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf, log1p
from typing import Final

import numpy as np

from robustbench_wb.analysis.compare.compare_tables import (
    compare_tables,
    pair_outcomes,
    records_for_comparison,
)
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference, PairedDifference
from robustbench_wb.analysis.gate.gate_result import ALPHA, Against, GateDecision, GateOutcome, GateResult
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.gate.noise_floor import NoiseFloor, mean_floor
from robustbench_wb.analysis.gate.sequential import STOPPED, SequentialDecision, SequentialLook, SequentialRule
from robustbench_wb.records.credibility import GRADES, read_checks, worst_check
from robustbench_wb.records.names import suite_family
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.intervals import detectable_distance
from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.paired import detectable_drop_beyond, p_drop_beyond
from robustbench_wb.stats.resampling import sign_flip_p

_POWER: Final = 0.8
_STALE: Final = "measured before the model changed; run its suite again"


def records_for_gate(old: Sequence[ScoreRow], pinned: Sequence[ScoreRow], new: Sequence[ScoreRow]) -> set[str]:
    """Keys of the records that ``decide_gate`` needs."""
    return {*records_for_comparison(old, new), *records_for_comparison(pinned, new)}


def decide_gate(
    old: Sequence[ScoreRow],
    pinned: Sequence[ScoreRow],
    new: Sequence[ScoreRow],
    *,
    records: Mapping[str, Record],
    margins: Margins,
    strict: bool = False,
    baseline: str = "",
    version: str = "",
    noise: NoiseFloor | None = None,
    sequential: SequentialRule | None = None,
) -> GateResult:
    """Decide on a version against a baseline and, to catch slow drift, against the baseline's pinned ancestor.

    A cell has ``regressed`` if its drop is significantly larger than the margin: the one-sided p-value is at most alpha
    after Holm's correction for the family (the cells of one model in one suite, or as the suite declares). The test is
    ``robustbench_wb.stats.paired.p_drop_beyond``, or for losses the sign-flip test of the differences minus the
    margin. A cell has ``passed`` if a drop as large as the margin is excluded: no value of the 1 - 2 alpha interval is
    a larger drop, a non-inferiority test at alpha. All other cells are ``undecided``. Unjudged samples count in favour
    of the version in the first test and against it in the second; a cell that they leave open is ``incomplete``.
    The mean over the cells of a model is decided by both ends of the 1 - 2 alpha interval of its overall difference,
    without correction. With ``noise``, a regression must exceed the sum of the margin and the noise floor of the cell
    (for a model, the mean of its cells' floors). The noise floor does not change which cells pass. With ``sequential``,
    cells and checkpoints are decided by ``decide_sequentially``; perplexities and means over several seeds are not.

    Args:
        old: rows of the baseline.
        pinned: rows of the baseline's pinned ancestor; empty if the baseline is pinned itself.
        new: rows of the version.
        records: records of all rows by key, see ``records_for_gate``.
        margins: accepted drops.
        strict: whether undecided cells close the gate.
        baseline: name of the baseline, for the result.
        version: name of the version, for the result.
        noise: noise floors of the cells.
        sequential: how to look at the samples one after the other; None: at all samples once, if no cell was stopped.

    Raises:
        UsageError: a margin is given for an unknown suite.
    """
    margins.require_known_suites(row.suite for row in (*old, *new))
    sequential = sequential or _rule_for((*old, *pinned, *new))
    found, drifted = (
        _against(against, before, new, records=records, margins=margins, noise=noise, sequential=sequential)
        for against, before in _sides(old, pinned)
    )
    decisions = [*found, *drifted, *_doubtful(old, new, margins)]
    slots = {row.slot for row in old} | {
        item.found.new.slot for item in found if isinstance(item.found, CellDifference)
    }
    return GateResult(
        baseline=baseline,
        version=version,
        margins=margins,
        strict=strict,
        sequential=sequential,
        judgements=tuple(decisions),
        added=tuple(row for row in new if row.slot not in slots),
    )


def _rule_for(rows: Iterable[ScoreRow]) -> SequentialRule | None:
    """Rule for tables with a stopped cell, for which a test of all samples at once has no declared error rate."""
    return SequentialRule() if any(row.is_stopped for row in rows) else None


def _sides(old: Sequence[ScoreRow], pinned: Sequence[ScoreRow]) -> tuple[tuple[Against, Sequence[ScoreRow]], ...]:
    return ("baseline", old), ("pinned ancestor", pinned)


def _against(
    against: Against,
    old: Sequence[ScoreRow],
    new: Sequence[ScoreRow],
    *,
    records: Mapping[str, Record],
    margins: Margins,
    noise: NoiseFloor | None,
    sequential: SequentialRule | None,
) -> list[GateDecision]:
    """Decisions on models, then on cells, suite by suite, because each suite has its own margin."""
    found, changed = [], _changed_models(old, new)
    for suite in dict.fromkeys(row.suite for row in old):
        before = [row for row in old if row.suite == suite]
        after = [row for row in new if suite_family(row.suite) == suite_family(suite)]
        margin = margins.share(suite)
        comparison = compare_tables(before, after, records, margin=margin, alpha=ALPHA)
        looked = None if sequential is None else SequentialLook(comparison, records, rule=sequential, alpha=ALPHA)
        found += _models(against, comparison, noise=noise, looked=looked)
        found += _cells(against, comparison, records=records, changed=changed, noise=noise, looked=looked)
        reason = "the version lacks this cell of the baseline"
        found += [
            GateDecision(against=against, outcome="missing", reason=reason, row=row, margin=margin)
            for row in comparison.removed
        ]
    return found


def _changed_models(old: Iterable[ScoreRow], new: Iterable[ScoreRow]) -> set[tuple[str, ...]]:
    """Models whose weights or code differ in at least one cell.

    A version keeps the rows of suites that its run left out. If such a row of a changed model still has the old record,
    that record is about the old model.
    """
    before = {row.slot: row for row in old}
    both = [(before[row.slot], row) for row in new if row.slot in before]
    return {
        _model_key(row)
        for was, row in both
        if was.key and row.key and (was.weights, was.model_code) != (row.weights, row.model_code)
    }


def _model_key(row: ScoreRow) -> tuple[str, ...]:
    return (row.task, row.scale, *row.subject)


def _models(
    against: Against, comparison: Comparison, *, noise: NoiseFloor | None, looked: SequentialLook | None
) -> list[GateDecision]:
    """Decisions on models with several compared cells, none of which was stopped; a single cell has its own."""
    decisions = []
    for overall in comparison.claims:
        members = _pairs_of(overall, comparison)
        if overall.worst is None or overall.cells < 2 or any(pair.is_stopped for pair in members):
            continue
        limit, above, below = _drop_interval(overall, comparison.margin)
        floor = mean_floor(noise, [pair.new for pair in members])
        outcome: GateOutcome = "passed" if above <= limit else "regressed" if below > limit + floor else "undecided"
        decided = None if looked is None else looked.model(overall, floor)
        outcome = outcome if decided is None else decided.outcome
        if overall.unjudged and outcome == "undecided":
            continue  # the decisions on its cells name the reason
        decision = _decision(against, outcome, overall, margin=comparison.margin, floor=floor, decided=decided)
        decisions.append(decision)
    return decisions


def _pairs_of(overall: OverallDifference, comparison: Comparison) -> list[CellDifference]:
    """Compared cells of the model of an overall difference."""
    return [pair for pair in comparison.pairs if not pair.differing and overall.covers(pair.new)]


def _cells(
    against: Against,
    comparison: Comparison,
    *,
    records: Mapping[str, Record],
    changed: Collection[tuple[str, ...]],
    noise: NoiseFloor | None,
    looked: SequentialLook | None,
) -> list[GateDecision]:
    pairs = comparison.pairs
    tested = [index for index, pair in enumerate(pairs) if pair.p is not None and pair.old.key != pair.new.key]
    floors = [mean_floor(noise, (pair.new,)) for pair in pairs]
    ps = {index: _p_value(pairs[index], records, margin=comparison.margin, floor=floors[index]) for index in tested}
    families: dict[tuple[object, ...], list[int]] = {}
    for index in tested:
        row = pairs[index].new
        families.setdefault((row.task, row.scale, row.subject, row.family), []).append(index)
    adjusted: dict[int, float] = {}
    decided: dict[int, SequentialDecision] = {}
    for members in families.values():
        adjusted |= zip(members, holm([ps[index] for index in members]), strict=True)
        decided |= {} if looked is None else looked.family(members, floors)
    decisions = []
    for index, pair in enumerate(pairs):
        outcome = _outcome(pair, comparison.margin, adjusted.get(index), decided=decided.get(index))
        if pair.old.key == pair.new.key and _model_key(pair.new) in changed:
            outcome, pair = "incomplete", pair.model_copy(update={"reason": _STALE})
        decision = _decision(
            against,
            outcome,
            pair,
            margin=comparison.margin,
            floor=floors[index],
            p=ps.get(index),
            adjusted_p=adjusted.get(index),
            decided=decided.get(index),
        )
        decisions.append(decision)
    return decisions


def _outcome(
    pair: CellDifference, margin: float, adjusted_p: float | None, *, decided: SequentialDecision | None
) -> GateOutcome:
    if pair.differing:
        return "not comparable"
    shown = adjusted_p is not None and adjusted_p <= ALPHA if decided is None else decided.outcome == "regressed"
    if shown:
        return "regressed"
    if pair.verdict == "incomplete" or {pair.old.status, pair.new.status} != {"ok"}:
        return "incomplete"
    if decided is not None:
        return decided.outcome
    limit, above, _ = _drop_interval(pair, margin)
    return "passed" if above <= limit else "undecided"


def _p_value(pair: CellDifference, records: Mapping[str, Record], *, margin: float, floor: float) -> float:
    """One-sided p-value of a drop beyond margin and floor, with every unjudged sample in favour of the version."""
    outcomes = pair_outcomes(pair, records)
    if outcomes is None or (pair.metric == "accuracy" and margin + floor >= 1):
        return 1.0
    if pair.metric == "accuracy":
        lost, gained = (int(np.count_nonzero(outcomes.best == side)) for side in (-1, 1))
        return float(p_drop_beyond(len(outcomes.ids), lost, gained, margin=margin + floor)[0])
    excess = outcomes.best.astype(np.float64) - log1p(margin) - floor
    half = sign_flip_p([excess])[0] / 2
    return half if excess.sum() > 0 else 1 - half


def _drop_interval(found: PairedDifference, margin: float) -> tuple[float, float, float]:
    """Limit of a drop, then the largest and the smallest drop in the 1 - 2 alpha interval."""
    low = -inf if found.narrow_low is None else found.narrow_low
    high = inf if found.narrow_high is None else found.narrow_high
    return (margin, -low, -high) if found.metric == "accuracy" else (log1p(margin), high, low)


def _decision(
    against: Against,
    outcome: GateOutcome,
    found: CellDifference | OverallDifference,
    *,
    margin: float,
    floor: float,
    p: float | None = None,
    adjusted_p: float | None = None,
    decided: SequentialDecision | None = None,
) -> GateDecision:
    reason = "" if outcome == "passed" else found.reason or _why(outcome, found)
    return GateDecision(
        against=against,
        outcome=outcome,
        reason=reason,
        row=found.new if isinstance(found, CellDifference) else None,
        margin=margin,
        found=found,
        p=p if decided is None else decided.p,
        adjusted_p=adjusted_p if decided is None else decided.adjusted_p,
        floor=floor,
        smallest=_smallest(found, margin, floor) if outcome == "undecided" and decided is None else None,
        used=None if decided is None else decided.used,
        stopped="" if decided is None else STOPPED[decided.outcome],
    )


def _why(outcome: GateOutcome, found: PairedDifference) -> str:
    if outcome == "regressed":
        return "the drop is significantly larger than the margin"
    return "not all samples were judged" if outcome == "incomplete" else "a drop beyond the margin is not excluded"


def _smallest(found: CellDifference | OverallDifference, margin: float, floor: float) -> float | None:
    """Minimum detectable drop beyond margin and floor: a share of accuracy, or a relative rise of perplexity.

    A cell of accuracies uses ``robustbench_wb.stats.paired.detectable_drop_beyond``. Means over cells and
    perplexities use the limit plus ``robustbench_wb.stats.intervals.detectable_distance``.
    """
    if isinstance(found, CellDifference) and found.n and found.gained is not None:
        return detectable_drop_beyond(found.n, found.gained, min(margin + floor, 1.0), alpha=ALPHA, wanted=_POWER)
    limit, largest, smallest = _drop_interval(found, margin)
    if largest - smallest == inf:
        return None
    limit = limit + floor + detectable_distance(smallest, largest, ALPHA, power=_POWER)
    return limit if found.metric == "accuracy" else float(np.expm1(limit))


def _doubtful(old: Iterable[ScoreRow], new: Iterable[ScoreRow], margins: Margins) -> list[GateDecision]:
    """Decisions on cells with credibility grade F, or with a lower grade than in the baseline.

    Grades of a cell and of its first samples, after which it was stopped, are not compared.
    """
    before = {row.slot: row for row in old}
    found = []
    for row in new:
        was = before[row.slot].grade if row.slot in before else ""
        if row.status == "error" or (not row.grade and not was):
            continue
        whole = not row.is_stopped and not (row.slot in before and before[row.slot].is_stopped)
        fell = bool(was) and whole and (not row.grade or GRADES.index(row.grade) > GRADES.index(was))
        if fell or row.grade == "F":
            worst = worst_check(read_checks(row.checks))
            step = f"grade {row.grade or 'none'}" + (f", was {was}" if fell else "")
            reason = step + (f": {worst.reason}" if worst is not None else "")
            margin = margins.share(row.suite)
            found.append(GateDecision(against="baseline", outcome="doubtful", reason=reason, row=row, margin=margin))
    return found
