"""Tests of claim sentences: against brute force, by duality of test and interval, and by their error rates."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, ttest_1samp

from robustbench_wb.analysis.claims.claims_result import ClaimsResult
from robustbench_wb.analysis.claims.decide_claims import decide_claims, records_for_claims
from robustbench_wb.analysis.claims.level_tests import accuracy_level, perplexity_level
from robustbench_wb.analysis.claims.one_sided_tests import one_sided_p
from robustbench_wb.analysis.claims.row_selection import select_rows
from robustbench_wb.analysis.claims.sentence import ClaimsFile, parse_sentence
from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.analysis.compare.overall import SubjectEvidence, cluster_by_sample, cross_seeds
from robustbench_wb.analysis.compare.paired_outcomes import PairedLosses
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.paired import p_drop_beyond
from tests.analysis.test_gate import brute
from tests.store.make import record, row, scored, states, text_row

Changes = NDArray[np.float64]


def levels(n: int, margin: float, gaining: float, alphas: tuple[float, ...]) -> list[float]:
    """Probability of "not worse by more than ``margin``" at a true drop of ``margin``, for each level in ``alphas``."""
    losing = gaining + margin
    changed = np.arange(int(binom.ppf(1e-8, n, losing + gaining)), int(binom.isf(1e-8, n, losing + gaining)) + 1)
    totals, lost = np.array([(int(t), lost) for t in changed for lost in range(int(t) + 1)]).T
    weight = binom.pmf(totals, n, losing + gaining) * binom.pmf(lost, totals, losing / (losing + gaining))
    likely = weight > 1e-9
    p = p_drop_beyond(np.full(np.count_nonzero(likely), n), (totals - lost)[likely], lost[likely], margin=-margin)
    return [float(weight[likely][p <= alpha].sum()) for alpha in alphas]


@pytest.mark.slow(1)
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("n", [50, 360, 1000])
def test_non_inferiority_is_said_no_more_often_than_stated(n: int, margin: float) -> None:
    """The level also holds far in the tail, at the first step of Holm's correction of 20 sentences."""
    alphas = (0.05, 0.01, 0.0025)
    for gaining in (0.0, 0.002, 0.01, 0.03):
        assert (np.array(levels(n, margin, gaining, alphas)) <= alphas).all()


@pytest.mark.parametrize(("n", "lost", "gained", "margin"), [(30, 1, 3, 0.05), (40, 2, 2, 0.1), (25, 0, 1, 0.1)])
def test_p_of_non_inferiority_is_the_tail_at_the_likeliest_boundary(
    n: int, lost: int, gained: int, margin: float
) -> None:
    """A margin on losses is a margin on gains with the sides exchanged."""
    grid = np.linspace(margin, (1 + margin) / 2, 200_001)[1:-1]
    rest = n - lost - gained
    fit = lost * np.log(grid) + gained * np.log(grid - margin) + rest * np.log(1 + margin - 2 * grid)
    losing = float(grid[np.argmax(fit)])
    # brute(): P(losses - gains >= lost - gained) with the roles exchanged.
    expected = brute(n, gained, lost, -margin, losing - margin)
    assert p_drop_beyond(n, gained, lost, margin=-margin)[0] == pytest.approx(expected, rel=1e-3)


def ledger(claims: list[str], cells: list[tuple[Record, ScoreRow]]) -> ClaimsResult:
    sentences = ClaimsFile(file="", claims=tuple(map(parse_sentence, claims)))
    chosen = select_rows(sentences, {None: [shown for _, shown in cells]})
    records = {made.key: made for made, _ in cells}
    assert records_for_claims(chosen) <= records.keys()
    return decide_claims(chosen, records)


def cells(variant: str, outcomes: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> list[tuple[Record, ScoreRow]]:
    found = []
    for number, held in enumerate(outcomes):
        made = record((1 - held).tolist(), weights=variant, signature=f"s{number}")
        found.append((made, row(made, variant=variant, stressor=f"s{number}", strength="")))
    return found


def drawn(
    rng: np.random.Generator, n: int, count: int, lost: float, gained: float, shared: float
) -> list[NDArray[np.float64]]:
    """Outcomes of n samples (-1 lost, 1 gained) per cell; with probability ``shared`` the sample's common outcome."""
    base, changes = rng.random(n), []
    for _ in range(count):
        u = np.where(rng.random(n) < shared, base, rng.random(n))
        changes.append(np.where(u < lost, -1.0, np.where(u < lost + gained, 1.0, 0.0)))
    return changes


SHOWN = row()
PAIR = CellDifference(verdict="undecided", metric="accuracy", old=SHOWN, new=SHOWN)


def evidence(changes: list[Changes]) -> SubjectEvidence:
    return cluster_by_sample(
        0, [PAIR] * len(changes), [PairedLosses(ids=np.arange(len(one)), differences=one) for one in changes]
    )


@pytest.mark.slow(1)
@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [100, 360])
def test_a_mean_at_its_limit_is_rarely_called(n: int, shared: float) -> None:
    """At a true drop equal to the limit each alternative is called in at most 5 % of the runs."""
    rng = np.random.default_rng(0)
    found = np.array([one_sided_p([evidence(drawn(rng, n, 4, 0.04, 0.02, shared))], -0.02) for _ in range(600)])
    # More than 45 of 600 runs at a rate of 5 % have a probability of 0.3 %.
    assert np.count_nonzero(found <= 0.05, axis=0).max() <= 45


def test_cells_that_agree_know_no_more_than_one() -> None:
    changes = drawn(np.random.default_rng(3), 360, 1, 0.05, 0.01, 0.0)
    alone, thrice = evidence(changes), evidence(changes * 3)
    for limit in (-0.05, -0.01, 0.02):
        assert one_sided_p([thrice], limit) == pytest.approx(one_sided_p([alone], limit))


def test_several_seeds_are_tested_where_their_interval_ends() -> None:
    rng = np.random.default_rng(4)
    members = [replace(evidence(drawn(rng, 300, 2, 0.04, 0.02 + 0.01 * seed, 0.3)), seed=seed) for seed in range(3)]
    cases = cross_seeds(members)
    assert cases is not None
    for limit in (-0.06, -0.03, 0.03):
        above, below = one_sided_p(members, limit)
        assert above + below == pytest.approx(1)
        low, high = cases[0].interval(2 * min(above, below))
        assert (low if above < below else high) == pytest.approx(limit, abs=1e-6)


@pytest.mark.slow(2)
def test_no_file_of_false_sentences_often_has_one_that_holds() -> None:
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(400):
        ps = [one_sided_p([evidence([one])], -0.02).above for one in drawn(rng, 360, 5, 0.04, 0.02, 0.0)]
        wrong += min(holm(ps)) <= 0.05
    assert wrong <= 32  # 0.3 % at a rate of 5 %


def test_true_sentences_are_found() -> None:
    changes = drawn(np.random.default_rng(2), 1000, 3, 0.03, 0.03, 0.3)
    one = cells("new", [(change >= 0).astype(np.int64) for change in changes])
    other = cells("old", [(change <= 0).astype(np.int64) for change in changes])
    text = ["new-nano is not worse than old-nano at all cells by more than 3 points"]
    assert ledger(text, [*one, *other]).claims[0].verdict == "holds"


def test_the_level_of_a_cell_is_the_exact_binomial_test() -> None:
    shown = row(record(states(70, 30)))
    found = accuracy_level([shown], {}, limit=0.6, alpha=0.05)
    assert found is not None
    assert found.p.above == pytest.approx(binomtest(70, 100, 0.6, alternative="greater").pvalue)
    assert found.p.below == pytest.approx(binomtest(70, 100, 0.6, alternative="less").pvalue)
    assert tuple(found.wide) == pytest.approx(tuple(binomtest(70, 100).proportion_ci(method="wilson")), abs=1e-12)


def test_the_level_of_cells_that_agree_is_that_of_one() -> None:
    """Two cells with equal outcomes count as one cell; independent cells count as twice the samples."""
    held = np.array([1] * 70 + [0] * 30)
    same = cells("vit", [held, held])
    found = accuracy_level([shown for _, shown in same], {made.key: made for made, _ in same}, limit=0.6, alpha=0.05)
    assert found is not None
    assert tuple(found.wide) == pytest.approx(tuple(binomtest(70, 100).proportion_ci(method="wilson")), abs=1e-9)
    rng = np.random.default_rng(0)
    many = cells("vit", [(rng.random(4000) < 0.7).astype(np.int64) for _ in range(2)])
    found = accuracy_level([shown for _, shown in many], {made.key: made for made, _ in many}, limit=0.6, alpha=0.05)
    assert found is not None
    assert found.wide.high - found.wide.low == pytest.approx(2 * 1.96 * (0.21 / 8000) ** 0.5, rel=0.05)


@pytest.mark.parametrize("name", ["crate-nano;test.lam=1.0", "crate;test.lam=1.0"])
def test_a_model_with_numbers_is_named_as_tables_print_it(name: str) -> None:
    other, plain = np.repeat([1, 0], [90, 10]), np.repeat([1, 0], [60, 40])
    table = [*cells("crate;test.lam=1.0", [other]), *cells("crate", [plain])]
    found = ledger([f"{name} is better than crate-nano at s0"], table)
    (claim,) = found.claims
    assert claim.verdict == "holds"
    assert claim.evidence is not None
    assert claim.evidence.worst == pytest.approx(0.3)


def test_the_level_of_a_perplexity_is_the_t_test() -> None:
    losses = np.random.default_rng(0).gamma(4.0, 0.25, 50)
    made = scored(losses.tolist())
    found = perplexity_level([text_row(made)], {made.key: made}, limit=2.5, alpha=0.05)
    assert found is not None
    kept = made.losses.astype(np.float64)
    assert found.p.above == pytest.approx(ttest_1samp(kept, log(2.5), alternative="greater").pvalue)
    assert found.p.below == pytest.approx(ttest_1samp(kept, log(2.5), alternative="less").pvalue)


@given(
    st.sampled_from(["vit-nano", "crate", "timm:vit_tiny", "model.py:make"]),
    st.sampled_from([None, "standard", "pgd-at"]),
    st.sampled_from([None, 0, 12]),
    st.sampled_from([None, "v1", "HEAD~1", "baselines/main.parquet", "../other:v3"]),
    st.sampled_from(["not worse", "better", "worse", "not better"]),
    st.lists(st.sampled_from(["clean", "pgd-linf@8/255", "pgd-linf eps=8/255 steps=40", "pgd-*"]), min_size=1),
    st.integers(0, 99),
)
def test_every_sentence_of_the_grammar_is_read_as_it_was_built(
    name: str, recipe: str | None, seed: int | None, side: str | None, relation: str, names: list[str], margin: int
) -> None:
    words = [name, recipe or "", f"seed {seed}" if seed is not None else "", f"of {side}" if side else ""]
    text = f"{' '.join(words)} is {relation} than {' '.join(words)} at {', '.join(names)} by more than {margin} points"
    found = parse_sentence(text)
    for named in (found.subject, found.than):
        assert named is not None
        assert (named.name, named.recipe, named.seed, named.side) == (name, recipe, seed, side)
    assert (found.relation, found.cells, found.limit) == (relation, tuple(names), margin / 100)


@pytest.mark.slow(3)
@given(st.text(max_size=60))
def test_anything_else_is_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sentence(text)
    assert "\n" not in str(caught.value)
