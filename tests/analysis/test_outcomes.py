"""Unjudged samples: the bounds hold for every possible outcome."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import CellDifference
from robustbench_wb.analysis.compare.paired_outcomes import accuracy_outcomes
from robustbench_wb.records.record import Record, State
from robustbench_wb.stats.paired import mcnemar, tango_interval
from tests.store.make import record, row, states

STATES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5)


def only(old: Record | None, new: Record | None, n: int) -> CellDifference:
    records = {made.key: made for made in (old, new) if made is not None}
    rows = [row(made, n, "" if made is not None and State.ERRORED not in made.states else "NaN") for made in (old, new)]
    (pair,) = compare_tables(rows[:1], rows[1:], records).pairs
    return pair


@pytest.mark.slow(3)
@settings(max_examples=40, deadline=None)
@given(STATES)
def test_every_completion_lies_between_the_worst_and_the_best_case(cells: list[tuple[int, int]]) -> None:
    n = len(cells)
    pair = only(record([a for a, _ in cells]), record([b for _, b in cells], weights="w"), n)
    choices = [
        (True, False) if state >= State.ERRORED else (state == State.ROBUST,) for both in cells for state in both
    ]
    ends, ps = [], []
    for outcome in product(*choices):
        was, now = np.array(outcome[::2]), np.array(outcome[1::2])
        lost, gained = int(np.sum(was & ~now)), int(np.sum(~was & now))
        (low,), (high,) = tango_interval([n], [lost], [gained])
        ends.append(((gained - lost) / n, low, high))
        ps.append(float(mcnemar(lost, gained)))
    differences, lows, highs = zip(*ends, strict=True)
    assert (pair.worst, pair.best) == (pytest.approx(min(differences)), pytest.approx(max(differences)))
    assert (pair.low, pair.high) == (pytest.approx(min(lows)), pytest.approx(max(highs)))
    # p is exact if all completions have one sign, and 1 otherwise.
    assert pair.p == pytest.approx(max(ps) if min(differences) * max(differences) > 0 else 1.0)
    assert pair.unjudged == sum(max(both) >= State.ERRORED for both in cells)
    assert (pair.difference is None) == (min(differences) != max(differences))
    known = [(a == 0, b == 0) for a, b in cells if max(a, b) < State.ERRORED]
    assert (pair.lost, pair.gained) == (known.count((True, False)), known.count((False, True)))
    assert (pair.both, pair.neither) == (known.count((True, True)), known.count((False, False)))


def test_errors_that_cannot_matter_leave_the_verdict() -> None:
    old = record(states(1000, 0))
    worse = only(old, record(states(900, 90, errored=10), weights="w"), 1000)
    assert (worse.verdict, worse.unjudged, worse.difference) == ("worse", 10, None)
    assert (worse.worst, worse.best) == (pytest.approx(-0.1), pytest.approx(-0.09))
    same = only(record(states(10_000, 0)), record(states(9_990, 0, errored=10), weights="w"), 10_000)
    assert (same.verdict, same.reason) == ("equivalent", "new: NaN")
    opened = only(old, record(states(970, 5, errored=25), weights="w"), 1000)
    assert opened.verdict == "incomplete"


def test_samples_that_no_record_names_were_not_judged() -> None:
    old, new = record([0, 0, 1]), record([0, 1], weights="w")
    found = accuracy_outcomes(old, new, 5)
    assert found is not None
    assert found.ids.tolist() == [-2, -1, 0, 1, 2]
    assert (found.worst.tolist(), found.best.tolist()) == ([-1, -1, 0, -1, 0], [1, 1, 0, -1, 1])
    assert accuracy_outcomes(old, new, 2) is None
    assert accuracy_outcomes(None, None, 0) is None


def test_of_different_samples_those_of_both_count() -> None:
    old, new = record([0, 0, 1, 0]), record([1, 0, 0], weights="w")
    found = accuracy_outcomes(old, new, None)
    assert found is not None
    assert (found.ids.tolist(), found.worst.tolist()) == ([0, 1, 2], [-1, 0, 1])
