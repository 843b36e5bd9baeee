"""Are the sentences of a claims file true of a table? Each is tested on the outcomes of its samples."""

from collections.abc import Mapping, Sequence
from math import inf, log1p
from typing import Any, Final

from robustbench_wb.analysis.claims.claims_result import ALPHA, CheckedClaim, CitedCell, ClaimEvidence, ClaimsResult
from robustbench_wb.analysis.claims.level_tests import LevelEstimate, accuracy_level, perplexity_level
from robustbench_wb.analysis.claims.one_sided_tests import OneSidedP, one_sided_p
from robustbench_wb.analysis.claims.row_selection import SelectedRows
from robustbench_wb.analysis.claims.sentence import Relation
from robustbench_wb.analysis.compare.compare_tables import compare_tables, pair_outcomes, records_for_comparison
from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.compare.overall import cluster_by_sample
from robustbench_wb.records.record import Record
from robustbench_wb.stats.intervals import detectable_distance
from robustbench_wb.stats.multiplicity import holm

_UNJUDGED: Final = "not all samples were judged"
_ABOVE: Final[tuple[Relation, ...]] = ("not worse", "better", "at least")
_NEGATIVE: Final[tuple[Relation, ...]] = ("not worse", "worse")
"""Their margin is a loss."""


def records_for_claims(chosen: Sequence[SelectedRows]) -> set[str]:
    """Keys of the records that :func:`check` looks at."""
    return {key for one in chosen for key in _needs(one)}


def _needs(one: SelectedRows) -> set[str]:
    if one.sentence.than is not None:
        return set(records_for_comparison(one.other, one.own))
    enough = len(one.own) == 1 and one.own[0].metric == "accuracy"  # its row has all there is to know
    return set() if enough else {row.key for row in one.own if row.key}


def decide_claims(
    chosen: Sequence[SelectedRows],
    records: Mapping[str, Record],
    *,
    strict: bool = False,
    file: str = "",
    version: str = "",
) -> ClaimsResult:
    """Judge every sentence.

    It ``holds`` when its opposite is rejected at alpha, and is ``refuted`` when it is rejected itself, by one-sided
    tests; see :mod:`.tails` and :mod:`.level_tests`.
    All p-values of the first kind are corrected together by Holm, and all of the second: the chance that any false
    sentence of the file is said to hold is at most alpha, and so is the chance that any true one is refuted. Neither
    is ``undecided``, or ``incomplete`` when samples were not judged, which count against both. One cell that may not
    be compared makes the whole sentence ``not comparable``: what it says of all its cells cannot be known.

    Args:
        chosen: the rows of each sentence.
        records: see :func:`records_of`.
        strict: whether what is undecided fails.
        file: of the sentences, as it was named.
        version: of what they are about, likewise.
    """
    found = [_checked(one, records) for one in chosen]
    tested = [index for index, one in enumerate(found) if one.evidence is not None and not one.reason]
    evidence = [one.evidence for one in found if one.evidence is not None and not one.reason]
    holds, refuted = (holm([getattr(one, name) for one in evidence]) for name in ("p_holds", "p_refuted"))
    for index, for_it, against_it in zip(tested, holds, refuted, strict=True):
        found[index] = _decided(found[index], for_it, against_it)
    return ClaimsResult(file=file, version=version, strict=strict, claims=tuple(found))


def _checked(one: SelectedRows, records: Mapping[str, Record]) -> CheckedClaim:
    """A sentence with its evidence; ``undecided`` means that it is to be tested."""
    fields: dict[str, Any] = {
        "sentence": one.sentence, "seeds": tuple(sorted({row.seed for row in one.own})), "cited": _cited(one),
        "cautions": (*one.cautions, *_doubts(one)), "metric": one.own[0].metric if one.own else "accuracy",
    }  # fmt: skip
    if one.reason:
        return CheckedClaim(**fields, verdict="incomplete", reason=one.reason)
    absent = _needs(one) - records.keys()
    missing = {row.cell for row in (*one.own, *one.other) if row.key in absent and row.status != "error"}
    if missing:
        reason = f"the outcomes of the samples are not in the store: {', '.join(sorted(missing))}"
        return CheckedClaim(**fields, verdict="incomplete", reason=reason)
    return _level(one, records, fields) if one.sentence.than is None else _difference(one, records, fields)


def _level(one: SelectedRows, records: Mapping[str, Record], fields: dict[str, Any]) -> CheckedClaim:
    if any(row.status == "error" or (row.status != "ok" and row.metric == "perplexity") for row in one.own):
        return CheckedClaim(**fields, verdict="incomplete", reason=_UNJUDGED)
    judged = accuracy_level if one.own[0].metric == "accuracy" else perplexity_level
    level = judged(one.own, records, one.sentence.limit, ALPHA)
    if level is None:
        return CheckedClaim(**fields, verdict="not comparable", reason="its cells are of different samples")
    above, below = level.tails
    if one.sentence.relation == "at most":
        above, below = below, above
    return CheckedClaim(**fields, verdict="undecided", evidence=_of_level(level, above, below))


def _of_level(level: LevelEstimate, p_holds: float, p_refuted: float) -> ClaimEvidence:
    ends = [None if abs(end) == inf else end for end in (*level.wide, *level.narrow)]
    low, high, narrow_low, narrow_high = ends
    return ClaimEvidence(
        worst=level.worst, best=level.best, low=low, high=high, narrow_low=narrow_low, narrow_high=narrow_high,
        n=level.n, p_holds=p_holds, p_refuted=p_refuted,
    )  # fmt: skip


def _difference(one: SelectedRows, records: Mapping[str, Record], fields: dict[str, Any]) -> CheckedClaim:
    comparison = compare_tables(one.other, one.own, records, alpha=ALPHA)
    if not comparison.pairs:
        seeds = " and ".join(", ".join(sorted({str(row.seed) for row in rows})) for rows in (one.own, one.other))
        return CheckedClaim(**fields, verdict="not comparable", reason=f"they have no seed in common: {seeds}")
    refused = next((pair for pair in comparison.pairs if pair.differing), None)
    if refused is not None:
        reason = f"{refused.new.cell}: {refused.reason}"
        return CheckedClaim(**fields, verdict="not comparable", reason=reason, differing=refused.differing)
    claim = comparison.claims[0]  # of several seeds, that about the architecture
    unpaired = next((pair for pair in comparison.pairs if pair.worst is None), None)
    if unpaired is not None or claim.worst is None:
        judged = unpaired is not None and {unpaired.old.status, unpaired.new.status} == {"ok"}
        reason = f"{unpaired.new.cell}: {unpaired.reason}" if unpaired is not None and judged else _UNJUDGED
        return CheckedClaim(**fields, verdict="incomplete", reason=reason)
    n = claim.samples or comparison.pairs[0].new.n
    if all(pair.old.key and pair.old.key == pair.new.key for pair in comparison.pairs):
        true = one.sentence.relation in ("not worse", "not better", "equivalent")
        evidence = _of_claim(claim, n, OneSidedP(float(not true), float(true)))
        verdict = "holds" if true else "refuted"
        return CheckedClaim(**fields, verdict=verdict, reason="the same records on both sides", evidence=evidence)
    evidence = _of_claim(claim, n, _tails(one, comparison.pairs, records))
    return CheckedClaim(**fields, verdict="undecided", evidence=evidence)


def _tails(one: SelectedRows, pairs: Sequence[CellDifference], records: Mapping[str, Record]) -> OneSidedP:
    """p-values of a sentence and of its opposite. Better is above 0 for accuracies and below 0 for perplexities."""
    seeds = dict.fromkeys(pair.new.seed for pair in pairs)
    members = []
    for seed in seeds:
        own = [pair for pair in pairs if pair.new.seed == seed]
        members.append(
            cluster_by_sample(seed, own, [pair_outcomes(pair.old, pair.new, records, pair.new.n) for pair in own])
        )

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


def _of_claim(claim: OverallDifference, n: int, found: OneSidedP) -> ClaimEvidence:
    return ClaimEvidence(
        worst=claim.worst or 0.0, best=claim.best or 0.0, low=claim.low, high=claim.high,
        narrow_low=claim.narrow_low, narrow_high=claim.narrow_high, n=n,
        p_holds=found.above, p_refuted=found.below,
    )  # fmt: skip


def _decided(checked: CheckedClaim, holds: float, refuted: float) -> CheckedClaim:
    update: dict[str, Any] = {"adjusted_holds": holds, "adjusted_refuted": refuted}
    evidence = checked.evidence
    if holds <= ALPHA or refuted <= ALPHA or evidence is None:
        return checked.model_copy(update={**update, "verdict": "holds" if holds <= ALPHA else "refuted"})
    if evidence.worst != evidence.best:
        return checked.model_copy(update={**update, "verdict": "incomplete", "reason": _UNJUDGED})
    return checked.model_copy(update={**update, "reach": _reach(evidence)})


def _reach(evidence: ClaimEvidence) -> float | None:
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


def _doubts(one: SelectedRows) -> list[str]:
    """Cells of either side that failed, at least in part, and numbers that are upper bounds."""
    names = [one.sentence.subject.name, one.sentence.than.name if one.sentence.than else ""]
    found: dict[str, list[str]] = {}
    for name, rows in zip(names, (one.own, one.other), strict=True):
        for row in rows:
            if row.status != "ok":
                found.setdefault(f"{name}: {row.error or _UNJUDGED}", []).append(row.cell)
            if row.grade in ("C", "F"):
                found.setdefault(f"{name} has grade {row.grade}, an upper bound", []).append(row.cell)
    return [f"{what}: {', '.join(dict.fromkeys(cells))}" for what, cells in found.items()]
