"""Error rates of verdicts in simulated runs, with the rules of ``compare_tables``."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.compare_tables import compare_tables
from robustbench_wb.analysis.compare.comparison import PairedDifference
from robustbench_wb.analysis.compare.verdicts import DiscordantShares, decide_verdict, estimate_shares
from robustbench_wb.records.record import Record
from robustbench_wb.stats.multiplicity import holm
from robustbench_wb.stats.paired import mcnemar
from tests.store.make import record, row

ALPHA, MARGIN = 0.05, 0.01


class Counts(NamedTuple):
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]


def drawn(rng: np.random.Generator, n: int, lost: float, gained: float, size: tuple[int, ...]) -> Counts:
    counts = rng.multinomial(n, [lost, gained, 1 - lost - gained], size)
    return Counts(counts[..., 0], counts[..., 1])


def verdicts(n: int, counts: Counts) -> NDArray[np.str_]:
    """Verdicts (runs, cells), with every run as one family."""
    lost, gained = (side.ravel().astype(np.float64) for side in counts)
    shares = DiscordantShares(n=np.full(len(lost), float(n)), lost=lost, gained=gained, p=mcnemar(*counts).ravel())
    numbers = estimate_shares(shares, shares, ALPHA)
    adjusted = np.concatenate([holm(family) for family in mcnemar(*counts)])
    findings = [found.added_to(PairedDifference(verdict="undecided", metric="accuracy")) for found in numbers]
    found = [decide_verdict(one, p, margin=MARGIN, alpha=ALPHA) for one, p in zip(findings, adjusted, strict=True)]
    return np.array(found).reshape(counts.lost.shape)


def test_the_simulation_judges_as_the_comparison_does() -> None:
    counts = drawn(np.random.default_rng(0), 300, 0.06, 0.02, (6, 3))
    found = verdicts(300, counts)
    for run in range(6):
        olds, news = [], []
        records: dict[str, Record] = {}
        for cell in range(3):
            lost, gained = int(counts.lost[run, cell]), int(counts.gained[run, cell])
            rest = [0] * (300 - lost - gained)
            old = record([0] * lost + [1] * gained + rest, signature=str(cell))
            new = record([1] * lost + [0] * gained + rest, signature=str(cell), weights="w")
            records |= {old.key: old, new.key: new}
            olds.append(row(old, stressor=str(cell)))
            news.append(row(new, stressor=str(cell)))
        assert [pair.verdict for pair in compare_tables(olds, news, records).pairs] == found[run].tolist()


@pytest.mark.slow(1)
@pytest.mark.parametrize(("n", "changed"), [(360, 0.05), (1000, 0.04), (1000, 0.2)])
def test_two_thousand_comparisons_of_equals_raise_fewer_than_one_alarm_in_twenty(n: int, changed: float) -> None:
    counts = drawn(np.random.default_rng(n), n, changed / 2, changed / 2, (2000, 6))
    alarms = np.isin(verdicts(n, counts), ["worse", "better"]).any(axis=1)
    assert alarms.mean() <= ALPHA


@pytest.mark.slow(2)
def test_a_drop_of_three_points_is_found_in_ninety_nine_of_a_hundred_runs() -> None:
    found = verdicts(1000, drawn(np.random.default_rng(1), 1000, 0.04, 0.01, (20_000, 1)))
    assert (found == "worse").mean() >= 0.99
    assert not (found == "better").any()


def test_fifty_samples_say_undecided() -> None:
    counts = drawn(np.random.default_rng(2), 50, 0.04, 0.01, (2000, 1))
    found = verdicts(50, counts)
    assert (found == "undecided").mean() >= 0.99
    # So few samples can never show equivalence either.
    none = Counts(np.zeros((1, 1), dtype=np.int64), np.zeros((1, 1), dtype=np.int64))
    assert verdicts(50, none).item() == "undecided"


@pytest.mark.slow(1)
@pytest.mark.parametrize("changed", [0.01, 0.02, 0.05])
def test_a_true_drop_of_the_margin_is_called_equivalent_at_most_once_in_twenty(changed: float) -> None:
    counts = drawn(np.random.default_rng(3), 2000, (changed + MARGIN) / 2, (changed - MARGIN) / 2, (12_000, 1))
    assert (verdicts(2000, counts) == "equivalent").mean() <= ALPHA + 0.004
