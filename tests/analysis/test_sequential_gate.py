"""Sequential gates: where they stop, Holm's correction while they look, error rates, and what is decided at once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from robustbench_wb.analysis.gate.decide_gate import decide_gate
from robustbench_wb.analysis.gate.gate_result import GateDecision, GateResult
from robustbench_wb.analysis.gate.margins import Margins
from robustbench_wb.analysis.gate.sequential import Drops, Scope, SequentialRule, decide_sequentially
from robustbench_wb.records.record import Record, State
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.gate import decision_text, gate_blocks, gate_screen
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.stats.sequential import anytime_p, log_evidence, sample_order
from tests.analysis.test_gate import losses
from tests.known import known
from tests.store.make import record, row

N = 400
RULE = SequentialRule(seed=5)


def drops(lost: int, gained: int = 0, *, seed: int = 0, margin: float = 0.02, floor: float = 0.0) -> Drops:
    values = np.repeat([1.0, -1.0, 0.0], [lost, gained, N - lost - gained])
    mixed = np.random.default_rng(seed).permutation(values)
    return Drops(ids=np.arange(N), least=mixed, most=mixed, margin=margin, floor=floor)


def path(one: Drops, side: int = 1) -> NDArray[np.float64]:
    values = one.least[sample_order(one.ids, RULE.seed)]
    return anytime_p(log_evidence(side * values, side * one.margin))


def test_a_lone_cell_stops_at_the_first_sample_that_decides() -> None:
    (worse,), (same,), (unclear,) = (decide_sequentially([one], RULE, 0.05) for one in (drops(60), drops(0), drops(8)))
    assert (worse.outcome, worse.used) == ("regressed", np.argmax(path(drops(60)) <= 0.05) + 1)
    assert (same.outcome, same.used) == ("passed", np.argmax(path(drops(0), -1) <= 0.05) + 1)
    assert (unclear.outcome, unclear.used) == ("undecided", N)
    assert worse.p == worse.adjusted_p <= 0.05
    assert decide_sequentially([], RULE, 0.05) == []


def test_a_family_stops_later_and_one_regression_helps_the_next() -> None:
    clear, weak = drops(120, seed=1), drops(45, seed=2)
    (alone,), (also,) = decide_sequentially([clear], RULE, 0.05), decide_sequentially([weak], RULE, 0.05)
    first, second, *_ = decide_sequentially([clear, weak, drops(8), drops(8)], RULE, 0.05)
    assert first.outcome == second.outcome == "regressed"
    assert first.used == np.argmax(path(clear) <= 0.05 / 4) + 1 > alone.used
    assert second.used == np.argmax(path(weak) <= 0.05 / 3) + 1 > also.used  # the second step of Holm's correction
    assert second.adjusted_p <= 0.05


def test_a_noise_floor_raises_the_limit_of_a_regression_only() -> None:
    (without,), (beyond,) = (decide_sequentially([drops(60, floor=one)], RULE, 0.05) for one in (0.0, 0.05))
    assert (without.outcome, beyond.outcome) == ("regressed", "regressed")
    assert beyond.used > without.used
    held = [decide_sequentially([drops(0, floor=one)], RULE, 0.05)[0].used for one in (0.0, 0.9)]
    assert held[0] == held[1]


def test_the_samples_themselves_are_decided_in_the_end() -> None:
    rule = SequentialRule(scope="samples")
    (above,) = decide_sequentially([drops(9)], rule, 0.05)  # 2.25 points, above the margin of 2
    (below,) = decide_sequentially([drops(7)], rule, 0.05)
    assert (above.outcome, below.outcome) == ("regressed", "passed")
    assert max(above.used, below.used) <= N


@pytest.mark.parametrize("scope", ["population", "samples"])
def test_a_family_at_the_margin_is_seldom_an_alarm(scope: Scope) -> None:
    """Three cells with drops equal to the margin, one that regressed; benchmarks/sequential.py has 2,000 gates."""
    random, gates, alarms = np.random.default_rng(3), 120, 0
    for gate in range(gates):
        family = [drops(28, 20, seed=int(random.integers(1 << 30))) for _ in range(3)]
        if scope == "population":
            draws = random.choice([1.0, -1.0, 0.0], p=[0.07, 0.05, 0.88], size=(3, N))
            family = [Drops(ids=np.arange(N), least=one, most=one, margin=0.02) for one in draws]
        rule = SequentialRule(seed=gate, scope=scope)
        *found, worse = decide_sequentially([*family, drops(150, seed=gate)], rule, 0.05)
        assert worse.outcome == "regressed"
        alarms += any(one.outcome == "regressed" for one in found)
    assert alarms <= binom.isf(0.001, gates, 0.05)


def gate_of(*changes: tuple[int, int], unjudged: int = 0, seeds: int = 1, **options: Any) -> GateResult:
    """Sequential gate of one model per seed, with a cell for each number of lost and gained samples."""
    olds, news, records = list[ScoreRow](), list[ScoreRow](), dict[str, Record]()
    for seed in range(seeds):
        for number, (lost, gained) in enumerate(changes):
            order = np.random.default_rng(number).permutation(N)
            before, after = np.zeros(N, dtype=int), np.zeros(N, dtype=int)
            after[order[:lost]], before[order[lost : lost + gained]] = 1, 1
            after[order[N - unjudged :]] = State.ERRORED
            name = f"stressor{number}"
            old = record(before.tolist(), signature=name, seed=seed)
            new = record(after.tolist(), signature=name, seed=seed, weights="new")
            records |= {old.key: old, new.key: new}
            olds.append(row(old, stressor=name, seed=seed))
            news.append(row(new, stressor=name, seed=seed))
    margins, rule = Margins(default=options.pop("margin", 2)), SequentialRule()
    return decide_gate(olds, [], news, records=records, margins=margins, sequential=rule, **options)


def cells(gate: GateResult) -> list[GateDecision]:
    return [one for one in gate.judgements if one.row is not None]


def test_a_gate_says_how_many_samples_it_took_and_why_it_stopped() -> None:
    gate = gate_of((80, 0), (0, 0), (9, 2))
    mean, *_ = gate.judgements
    worse, same, unclear = cells(gate)
    assert [one.outcome for one in (mean, worse, same, unclear)] == ["regressed", "regressed", "passed", "undecided"]
    assert 0 < known(worse.used) < known(same.used) < known(unclear.used) == N
    assert worse.stopped == "the drop exceeds the margin"
    assert unclear.stopped == "no samples are left"
    assert unclear.smallest is None
    assert f"stopped after {worse.used} of 400 samples: the drop exceeds the margin" in decision_text(worse)
    first = plain_text(gate_screen(gate_of((9, 2))))
    assert "all samples were looked at" in first
    assert "MDE" not in first
    shown = plain_text(gate_blocks(gate))
    assert f"{same.used} of 400" in shown
    assert "2 of 3 changed cells decided with" in shown
    assert "likewise" in shown


def test_unjudged_samples_count_for_and_against() -> None:
    (worse,), (open_one,) = cells(gate_of((100, 0), unjudged=20)), cells(gate_of((0, 0), unjudged=30))
    assert (worse.outcome, open_one.outcome) == ("regressed", "incomplete")
    (complete,) = cells(gate_of((100, 0)))
    assert known(worse.used) >= known(complete.used)


def test_perplexities_and_seeds_are_decided_on_all_samples() -> None:
    old, new, records = losses(0.05)
    (judged,) = decide_gate(old, [], new, records=records, margins=Margins(), sequential=RULE).judgements
    assert (judged.outcome, judged.used) == ("regressed", None)
    gate = gate_of((60, 0), (60, 0), seeds=2)
    architecture, *checkpoints = (one for one in gate.judgements if one.row is None)
    assert architecture.used is None
    assert all(known(one.used) < N for one in checkpoints)


def test_a_mean_over_cells_of_different_samples_is_decided_at_once() -> None:
    wide, narrow = [
        (record([0] * n, signature=f"s{n}"), record([1] * n, signature=f"s{n}", weights="new")) for n in (9, 5)
    ]
    records = {one.key: one for one in (*wide, *narrow)}
    old, new = ([row(pair[side], stressor=pair[0].identity.signature) for pair in (wide, narrow)] for side in (0, 1))
    mean, *single = decide_gate(old, [], new, records=records, margins=Margins(), sequential=RULE).judgements
    assert (mean.row, mean.used) == (None, None)
    assert all(one.used for one in single)


def test_equal_records_take_no_samples() -> None:
    kept = record([0] * N)
    gate = decide_gate(
        [row(kept)], [], [row(kept)], records={kept.key: kept}, margins=Margins(), sequential=SequentialRule()
    )
    assert [(one.outcome, one.used) for one in gate.judgements] == [("passed", None)]
    assert "no cell was measured anew and compared" in plain_text(gate_blocks(gate))
