"""Verdicts on the sentences of a claims file, tested on the per-sample outcomes of a table."""

from collections.abc import Mapping, Sequence
from math import inf, log1p
from typing import Final

from robustbench_wb.analysis.claims.claims_result import ALPHA, CheckedClaim, CitedCell, ClaimEvidence, ClaimsResult
from robustbench_wb.analysis.claims.layer_tests import (
    every_layer,
    has_measure,
    layer_change,
    layer_count,
    layer_values,
)
from robustbench_wb.analysis.claims.level_tests import LevelEstimate, accuracy_level, perplexity_level
from robustbench_wb.analysis.claims.one_sided_tests import OneSidedP, one_sided_p
from robustbench_wb.analysis.claims.row_selection import SelectedRows
from robustbench_wb.analysis.claims.sentence import Relation
from robustbench_wb.analysis.compare.compare_tables import (
    compare_tables,
    pair_outcomes,
    records_for_comparison,
)
from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.compare.overall import cluster_by_sample
from robustbench_wb.records.record import Record
from robustbench_wb.stats.intervals import detectable_distance
from robustbench_wb.stats.multiplicity import holm

_UNJUDGED: Final = "not all samples were judged"
_STOPPED: Final = "a decision has stopped one of its cells before its last sample"
_NO_LAYERS: Final = "the layers of its cells were not measured; run --layers measures those of variants"
_NO_DRIFT: Final = "clean inputs are not compared with themselves; name a cell with perturbed inputs"
_ONE_LAYER: Final = "the model has one layer, and nothing rises or falls from it to itself"
_ABOVE: Final[tuple[Relation, ...]] = ("not worse", "better", "at least", "above", "rising")
"""Relations that are supported by a value above the limit."""
_NEGATIVE: Final[tuple[Relation, ...]] = ("not worse", "worse")
"""Relations whose limit is minus the margin."""


def records_for_claims(selected: Sequence[SelectedRows]) -> set[str]:
    """Keys of the records that ``decide_claims`` needs."""
    return {key for one in selected for key in _needs(one)}


def _needs(one: SelectedRows) -> set[str]:
    if one.sentence.measure:
        return set()  # rows hold the measures of their layers
    if one.sentence.than is not None:
        return set(records_for_comparison(one.other, one.own))
    enough = len(one.own) == 1 and one.own[0].metric == "accuracy"  # the counts of the row suffice
    return set() if enough else {row.key for row in one.own if row.key}


def decide_claims(
    selected: Sequence[SelectedRows],
    records: Mapping[str, Record],
    *,
    strict: bool = False,
    file: str = "",
    version: str = "",
) -> ClaimsResult:
    """Test every sentence and decide its verdict.

    A sentence ``holds`` if the one-sided test rejects its opposite at alpha, and is ``refuted`` if the test rejects the
    sentence itself; see ``one_sided_tests`` and ``level_tests``. Holm's correction is applied to the p-values
    of all sentences, and separately to those of all opposites. The probability that any false sentence of the file is
    said to hold is therefore at most alpha, and so is the probability that any true sentence is refuted. All other
    sentences are ``undecided``, or ``incomplete`` if some samples are unjudged; unjudged samples count against both
    outcomes. If one cell of a sentence is not comparable, the whole sentence is ``not comparable``.

    Args:
        selected: rows of each sentence.
        records: records by key, see ``records_for_claims``.
        strict: whether undecided sentences fail.
        file: name of the claims file, for the result.
        version: name of the checked table, for the result.
    """
    checked = [_checked(one, records) for one in selected]
    tested = [index for index, one in enumerate(checked) if one.evidence is not None and not one.reason]
    evidence = [one.evidence for one in checked if one.evidence is not None and not one.reason]
    holds, refuted = holm([one.p_holds for one in evidence]), holm([one.p_refuted for one in evidence])
    for index, for_it, against_it in zip(tested, holds, refuted, strict=True):
        checked[index] = _decided(checked[index], for_it, against_it)
    return ClaimsResult(file=file, version=version, strict=strict, claims=tuple(checked))


def _checked(one: SelectedRows, records: Mapping[str, Record]) -> CheckedClaim:
    """Sentence with its evidence; ``undecided`` marks a sentence that is still to be tested."""
    claim = CheckedClaim(
        sentence=one.sentence,
        verdict="undecided",
        seeds=tuple(sorted({row.seed for row in one.own})),
        cited=_cited(one),
        cautions=(*one.cautions, *_cautions(one)),
        metric=one.sentence.measure or (one.own[0].metric if one.own else "accuracy"),
    )
    if one.reason:
        return _incomplete(claim, one.reason)
    absent = _needs(one) - records.keys()
    missing = {row.cell for row in (*one.own, *one.other) if row.key in absent and row.status != "error"}
    if missing:
        return _incomplete(claim, f"the outcomes of the samples are not in the store: {', '.join(sorted(missing))}")
    if one.sentence.measure:
        return _layers(claim, one)
    return _level(claim, one, records) if one.sentence.than is None else _difference(claim, one, records)


def _incomplete(claim: CheckedClaim, reason: str) -> CheckedClaim:
    return claim.model_copy(update={"verdict": "incomplete", "reason": reason})


def _not_comparable(claim: CheckedClaim, reason: str) -> CheckedClaim:
    return claim.model_copy(update={"verdict": "not comparable", "reason": reason})


def _layers(claim: CheckedClaim, one: SelectedRows) -> CheckedClaim:
    sentence = one.sentence
    gap = _gap_in_layers(one)
    if gap:
        return _incomplete(claim, gap)
    found: LevelEstimate | None
    if sentence.relation in ("rising", "falling"):
        found = layer_change(one.own, sentence.measure, limit=sentence.limit, alpha=ALPHA)
    else:
        values = layer_values(
            one.own, sentence.measure, limit=sentence.limit, alpha=ALPHA, layer=sentence.layer, drift=sentence.drift
        )
        found = None if values is None else every_layer(values, above=sentence.relation == "above")
    if found is None:
        return _incomplete(claim, f"{sentence.measure} has no value in some of its layers")
    return claim.model_copy(update={"evidence": _level_evidence(found, sentence.relation)})


def _gap_in_layers(one: SelectedRows) -> str:
    """What the rows of a sentence about layers lack; empty if they have all that it needs."""
    sentence = one.sentence
    if any(row.status == "error" for row in one.own):
        return _UNJUDGED
    if not all(row.layers for row in one.own):
        return _NO_LAYERS
    if not all(has_measure(row, sentence.measure) for row in one.own):
        return f"{sentence.measure} was not measured yet when its layers were; measure them again"
    if sentence.drift and any(row.stressor == "clean" for row in one.own):
        return _NO_DRIFT
    count = layer_count(one.own[0])
    if sentence.relation in ("rising", "falling") and count == 1:
        return _ONE_LAYER
    return f"the model has no layer {sentence.layer}" if (sentence.layer or 1) > count else ""


def _level(claim: CheckedClaim, one: SelectedRows, records: Mapping[str, Record]) -> CheckedClaim:
    if any(row.status == "error" or (row.status != "ok" and row.metric == "perplexity") for row in one.own):
        return _incomplete(claim, _UNJUDGED)
    if any(row.is_stopped for row in one.own):
        return _not_comparable(claim, _STOPPED)
    estimate = accuracy_level if one.own[0].metric == "accuracy" else perplexity_level
    level = estimate(one.own, records, limit=one.sentence.limit, alpha=ALPHA)
    if level is None:
        return _not_comparable(claim, "its cells were measured on different samples")
    return claim.model_copy(update={"evidence": _level_evidence(level, one.sentence.relation)})


def _level_evidence(level: LevelEstimate, relation: Relation) -> ClaimEvidence:
    p = level.p if relation in _ABOVE else level.p.exchanged
    low, high, narrow_low, narrow_high = (None if abs(end) == inf else end for end in (*level.wide, *level.narrow))
    return ClaimEvidence(
        worst=level.worst, best=level.best, low=low, high=high, narrow_low=narrow_low, narrow_high=narrow_high,
        n=level.n, layer=level.layer, p_holds=p.above, p_refuted=p.below,
    )  # fmt: skip


def _difference(claim: CheckedClaim, one: SelectedRows, records: Mapping[str, Record]) -> CheckedClaim:
    comparison = compare_tables(one.other, one.own, records, alpha=ALPHA)
    if any(pair.is_stopped for pair in comparison.pairs):
        return _not_comparable(claim, _STOPPED)
    if not comparison.pairs:
        seeds = " and ".join(", ".join(sorted({str(row.seed) for row in rows})) for rows in (one.own, one.other))
        return _not_comparable(claim, f"the two models have no seed in common: {seeds}")
    refused = next((pair for pair in comparison.pairs if pair.differing), None)
    if refused is not None:
        claim = _not_comparable(claim, f"{refused.new.cell}: {refused.reason}")
        return claim.model_copy(update={"differing": refused.differing})
    overall = comparison.claims[0]  # with several seeds, the difference of the architecture
    unpaired = next((pair for pair in comparison.pairs if pair.worst is None), None)
    if unpaired is not None or overall.worst is None:
        judged = unpaired is not None and {unpaired.old.status, unpaired.new.status} == {"ok"}
        reason = f"{unpaired.new.cell}: {unpaired.reason}" if unpaired is not None and judged else _UNJUDGED
        return _incomplete(claim, reason)
    n = overall.samples or comparison.pairs[0].new.n
    if all(pair.old.key and pair.old.key == pair.new.key for pair in comparison.pairs):
        true = one.sentence.relation in ("not worse", "not better", "equivalent")
        evidence = _difference_evidence(overall, n, OneSidedP(float(not true), float(true)))
        verdict, reason = "holds" if true else "refuted", "the same records on both sides"
        return claim.model_copy(update={"verdict": verdict, "reason": reason, "evidence": evidence})
    evidence = _difference_evidence(overall, n, _p_values(one, comparison.pairs, records))
    return claim.model_copy(update={"evidence": evidence})


def _p_values(one: SelectedRows, pairs: Sequence[CellDifference], records: Mapping[str, Record]) -> OneSidedP:
    """p-values of a sentence (``above``) and of its opposite (``below``).

    A better model has a positive difference of accuracies and a negative difference of log perplexities."""
    seeds = dict.fromkeys(pair.new.seed for pair in pairs)
    members = []
    for seed in seeds:
        own = [pair for pair in pairs if pair.new.seed == seed]
        outcomes = [pair_outcomes(pair, records) for pair in own]
        members.append(cluster_by_sample(seed, own, outcomes))

    def better_by(margin: float) -> OneSidedP:
        if pairs[0].metric == "accuracy":
            return one_sided_p(members, margin)
        return one_sided_p(members, -margin).exchanged

    relation, limit = one.sentence.relation, one.sentence.limit
    margin = log1p(limit) if pairs[0].metric == "perplexity" else limit
    if relation == "equivalent":
        low, high = better_by(-margin), better_by(margin)
        return OneSidedP(max(low.above, high.below), min(1.0, 2 * min(low.below, high.above)))
    found = better_by(-margin if relation in _NEGATIVE else margin)
    return found if relation in _ABOVE else found.exchanged


def _difference_evidence(overall: OverallDifference, n: int, p: OneSidedP) -> ClaimEvidence:
    return ClaimEvidence(
        worst=overall.worst or 0.0, best=overall.best or 0.0, low=overall.low, high=overall.high,
        narrow_low=overall.narrow_low, narrow_high=overall.narrow_high, n=n, p_holds=p.above, p_refuted=p.below,
    )  # fmt: skip


def _decided(claim: CheckedClaim, holds: float, refuted: float) -> CheckedClaim:
    """Sentence with its adjusted p-values and its verdict."""
    claim = claim.model_copy(update={"adjusted_holds": holds, "adjusted_refuted": refuted})
    evidence = claim.evidence
    if holds <= ALPHA or refuted <= ALPHA or evidence is None:
        return claim.model_copy(update={"verdict": "holds" if holds <= ALPHA else "refuted"})
    if evidence.worst != evidence.best:
        return _incomplete(claim, _UNJUDGED)
    return claim.model_copy(update={"reach": _reach(evidence)})


def _reach(evidence: ClaimEvidence) -> float | None:
    """Minimum detectable distance from the limit; None if the interval is open."""
    if evidence.narrow_low is None or evidence.narrow_high is None:
        return None
    return detectable_distance(evidence.narrow_low, evidence.narrow_high, ALPHA)


def _cited(one: SelectedRows) -> tuple[CitedCell, ...]:
    keys = {(row.cell, row.seed): row.key for row in one.other}
    return tuple(
        CitedCell(cell=row.cell, seed=row.seed, signature=row.signature, key=row.key,
              than_key=keys.get((row.cell, row.seed), ""))
        for row in one.own
    )  # fmt: skip


def _cautions(one: SelectedRows) -> list[str]:
    """Warnings about cells of either model that failed, have unjudged samples, or have a grade of C or F."""
    names = [one.sentence.subject.name, one.sentence.than.name if one.sentence.than else ""]
    found: dict[str, list[str]] = {}
    for name, rows in zip(names, (one.own, one.other), strict=True):
        for row in rows:
            if row.status != "ok":
                found.setdefault(f"{name}: {row.error or _UNJUDGED}", []).append(row.cell)
            if row.grade in ("C", "F"):
                found.setdefault(f"{name} has grade {row.grade}, an upper bound", []).append(row.cell)
    return [f"{what}: {', '.join(dict.fromkeys(cells))}" for what, cells in found.items()]
