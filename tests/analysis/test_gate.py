"""Rules of the gate: error rates, power, and invariance to direction and order."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from robustbench_wb.analysis.gate.decide_gate import decide_gate
from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.paired import detectable_drop_beyond, mcnemar, p_drop_beyond
from tests.store.make import record, row, scored, states, text_row


def brute(n: int, lost: int, gained: int, margin: float, losing: float) -> float:
    """Tail probability by loops, for a given probability of a loss under a drop equal to the margin."""
    gaining, p = losing - margin, 0.0
    for x in range(n + 1):
        for y in range(n + 1 - x):
            if x - y >= lost - gained:
                p += comb(n, x) * comb(n - x, y) * losing**x * gaining**y * (1 - losing - gaining) ** (n - x - y)
    return p


def likeliest(n: int, lost: int, gained: int, margin: float) -> float:
    """Maximum-likelihood probability of a loss under a drop equal to the margin, from a fine grid."""
    grid = np.linspace(margin, (1 + margin) / 2, 200_001)[1:-1]
    rest = n - lost - gained
    fit = lost * np.log(grid) + gained * np.log(grid - margin) + rest * np.log(1 + margin - 2 * grid)
    return float(grid[np.argmax(fit)])


@pytest.mark.parametrize(
    ("n", "lost", "gained", "margin"), [(30, 5, 1, 0.05), (40, 9, 3, 0.02), (25, 2, 4, 0.1), (20, 8, 1, 0.1)]
)
def test_p_is_the_tail_at_the_likeliest_boundary(n: int, lost: int, gained: int, margin: float) -> None:
    expected = brute(n, lost, gained, margin, likeliest(n, lost, gained, margin=margin))
    assert p_drop_beyond(n, lost, gained, margin=margin)[0] == pytest.approx(expected, rel=1e-4)


def test_a_margin_of_nothing_is_mcnemars_test_of_one_side() -> None:
    lost, gained = np.array([9, 12, 3]), np.array([1, 12, 8])
    assert p_drop_beyond(50, [9], [1], margin=0.0)[0] == pytest.approx(mcnemar(9, 1) / 2)
    found = p_drop_beyond(np.full(3, 50), lost, gained, margin=0.0)
    np.testing.assert_allclose(found, binom.sf(lost - 1, lost + gained, 0.5))
    # Without changes, or with losses within the margin, there is no evidence of a larger drop.
    assert p_drop_beyond([100, 100], [0, 1], [0, 0], margin=0.01)[1] == pytest.approx(1 - 0.99**100)
    assert p_drop_beyond(100, 0, 0, margin=0.01)[0] == pytest.approx(1)


@pytest.mark.parametrize("arguments", [(10, -1, 0, 0.1), (10, 6, 5, 0.1), (10, 1, 1, 1.0), (10, 1, 1, -1.0)])
def test_nonsense_is_refused(arguments: tuple[int, int, int, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        p_drop_beyond(*arguments[:3], margin=arguments[3])


def level(n: int, margin: float, gaining: float, alpha: float) -> float:
    """Probability of a false alarm at a drop equal to the margin, summed over all likely outcomes."""
    losing = gaining + margin
    changed = np.arange(int(binom.ppf(1e-8, n, losing + gaining)), int(binom.isf(1e-8, n, losing + gaining)) + 1)
    outcomes = [(int(t), lost) for t in changed for lost in range(int(t) + 1)]
    totals, lost = np.array(outcomes).T
    weight = binom.pmf(totals, n, losing + gaining) * binom.pmf(lost, totals, losing / (losing + gaining))
    likely = weight > 1e-9
    p = p_drop_beyond(np.full(np.count_nonzero(likely), n), lost[likely], (totals - lost)[likely], margin=margin)
    return float(weight[likely][p <= alpha].sum())


@pytest.mark.slow(1)
@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("n", [50, 360, 1000])
def test_false_alarms_are_no_more_frequent_than_stated(n: int, margin: float) -> None:
    """The level also holds far in the tail, at the first step of Holm's correction of 20 cells."""
    for gaining in (0.0, 0.002, 0.01, 0.03):
        for alpha in (0.05, 0.01, 0.0025):
            assert level(n, margin, gaining, alpha) <= alpha


def gate_of(
    changes: list[tuple[int, int]], n: int = 1000, margin: float = 1.0, strict: bool = False, seed: int = 0
) -> GateResult:
    """Gate result for cells of one model, each with the given numbers of lost and gained samples."""
    olds, news, records = [], [], dict[str, Record]()
    rng = np.random.default_rng(seed)
    for number, (lost, gained) in enumerate(changes):
        order = rng.permutation(n)
        before, after = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
        after[order[:lost]], before[order[lost : lost + gained]] = 1, 1
        name = f"stressor{number}"
        old, new = record(before.tolist(), signature=name), record(after.tolist(), signature=name, weights="new")
        records |= {old.key: old, new.key: new}
        olds.append(row(old, stressor=name))
        news.append(row(new, stressor=name))
    return decide_gate(olds, [], news, records=records, margins=Margins(default=margin), strict=strict)


def cells(gate: GateResult) -> list[str]:
    return [judgement.outcome for judgement in gate.judgements if judgement.row is not None]


def test_every_outcome_of_a_tested_cell() -> None:
    gate = gate_of([(40, 10), (2, 2), (15, 9), (0, 50)])
    assert cells(gate) == ["regressed", "passed", "undecided", "passed"]
    assert gate.exit_code == ExitCode.REGRESSION
    assert gate_of([(15, 9)]).exit_code == ExitCode.OK
    assert gate_of([(15, 9)], strict=True).exit_code == ExitCode.REGRESSION
    assert gate_of([(15, 9)], margin=2).exit_code == ExitCode.OK
    assert cells(gate_of([(0, 0), (0, 0)], n=100)) == ["undecided", "undecided"]
    assert cells(gate_of([(0, 0)], n=100, margin=5)) == ["passed"]


def test_a_certain_drop_that_the_margin_allows_passes() -> None:
    """``diff`` calls such a drop worse; the gate accepts it, because it is below the margin."""
    gate = gate_of([(120, 20)], n=10_000, margin=1.5)
    (judgement,) = gate.judgements
    assert (judgement.outcome, judgement.found.verdict if judgement.found else "") == ("passed", "equivalent")


def test_small_drops_everywhere_are_seen_in_the_subject() -> None:
    gate = gate_of([(24, 6)] * 12)
    (subject,) = [judgement for judgement in gate.judgements if judgement.row is None]
    assert subject.outcome == "regressed"
    assert "regressed" not in cells(gate)
    assert gate.exit_code == ExitCode.REGRESSION


def test_holm_corrects_within_the_family() -> None:
    (lone,) = gate_of([(22, 1)]).judgements
    assert lone.p == lone.adjusted_p
    together = [judgement for judgement in gate_of([(22, 1), (0, 0), (3, 1)]).judgements if judgement.row]
    assert together[0].adjusted_p == pytest.approx(3 * (lone.p or 0))


def test_gates_at_the_margin_stay_open() -> None:
    """Six cells with a drop equal to the margin: at most one family in twenty raises an alarm."""
    rng = np.random.default_rng(3)
    changes = rng.multinomial(1000, [0.03, 0.02, 0.95], size=(2000, 6))
    p = p_drop_beyond(np.full(12_000, 1000), changes[..., 0].ravel(), changes[..., 1].ravel(), margin=0.01).reshape(
        2000, 6
    )
    alarms = sum(min(holm(family)) <= 0.05 for family in p.tolist())
    assert alarms <= binom.isf(0.001, 2000, 0.05)


@pytest.mark.parametrize("gaining", [0.0, 0.01, 0.05])
@pytest.mark.parametrize(("n", "margin"), [(1000, 0.01), (360, 0.02), (5000, 0.01), (360, 0.0)])
def test_what_would_be_seen_is_seen(n: int, margin: float, gaining: float) -> None:
    """The power at the minimum detectable drop is about 80 %."""
    drop = detectable_drop_beyond(n, n * gaining, margin)
    assert drop is not None
    draws = np.random.default_rng(0).multinomial(n, [drop + gaining, gaining, 1 - drop - 2 * gaining], size=4000)
    found = p_drop_beyond(np.full(4000, n), draws[:, 0], draws[:, 1], margin=margin) <= 0.05
    assert 0.74 < found.mean() < 0.86


def test_what_is_undecided_names_the_smallest_drop() -> None:
    (judgement,) = gate_of([(15, 9)]).judgements
    assert judgement.smallest == detectable_drop_beyond(1000, 9, 0.01)
    assert detectable_drop_beyond(2, 0, 0.5) is None
    (alone,) = gate_of([(0, 0)], n=2, margin=50).judgements
    assert (alone.outcome, alone.smallest) == ("undecided", None)


def losses(drift: float, n: int = 200) -> tuple[list[ScoreRow], list[ScoreRow], dict[str, Record]]:
    rng = np.random.default_rng(1)
    base = 3 + 0.3 * rng.standard_normal(n)
    later = base + drift + 0.05 * rng.standard_normal(n)
    old, new = scored(base.tolist()), scored(later.tolist(), weights="new")
    return [text_row(old)], [text_row(new)], {old.key: old, new.key: new}


@pytest.mark.parametrize(
    ("drift", "margin", "outcome"),
    [(0.05, 1.0, "regressed"), (0.05, 10.0, "passed"), (0.010, 1.0, "undecided"), (-0.05, 1.0, "passed")],
)
def test_perplexities(drift: float, margin: float, outcome: str) -> None:
    old, new, records = losses(drift)
    (judgement,) = decide_gate(old, [], new, records=records, margins=Margins(default=margin)).judgements
    assert judgement.outcome == outcome
    if outcome == "undecided":
        error = 0.05 / np.sqrt(200)
        reach = np.expm1(np.log1p(0.01) + (norm.isf(0.05) + norm.ppf(0.8)) * error)
        assert judgement.smallest == pytest.approx(reach, rel=0.1)


def test_a_perplexity_that_lacks_a_sample_is_incomplete() -> None:
    old, new = scored([3.0, 3.1, 3.2]), scored([3.0, float("nan"), 3.2], weights="new")
    records = {old.key: old, new.key: new}
    gate = decide_gate([text_row(old)], [], [text_row(new, error="NaN")], records=records, margins=Margins())
    assert cells(gate) == ["incomplete"]
    assert gate.exit_code == ExitCode.INCOMPLETE


def test_margins_are_the_suites_own() -> None:
    old, new = record(states(1000, 0)), record(states(960, 40), weights="new")
    records = {old.key: old, new.key: new}
    olds = [row(old), row(old, suite="clean")]
    news = [row(new), row(new, suite="clean")]
    gate = decide_gate(olds, [], news, records=records, margins=Margins(default=1.0, suites={"adversarial": 6.0}))
    assert cells(gate) == ["passed", "regressed"]
    assert [judgement.margin for judgement in gate.judgements] == [0.06, 0.01]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.floats(0, 0.2))
def test_more_losses_and_smaller_margins_are_never_better(lost: int, gained: int, margin: float) -> None:
    p = p_drop_beyond(200, lost, gained, margin=margin)[0]
    assert 0 <= p <= 1
    assert p_drop_beyond(200, lost + 1, gained, margin=margin)[0] <= p + 1e-9
    # Monotone up to a small slack, because the maximum-likelihood boundary moves with the margin.
    assert p_drop_beyond(200, lost, gained, margin=min(margin + 0.01, 0.3))[0] >= p - 0.02
