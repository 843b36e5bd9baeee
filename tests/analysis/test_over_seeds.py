"""Headline numbers over seeds, by hand."""

import re
from collections.abc import Mapping, Sequence
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest

from robustbench_wb.analysis.over_seeds.average_seeds import average_seeds
from robustbench_wb.analysis.over_seeds.seed_letters import seed_letters
from robustbench_wb.analysis.over_seeds.seed_means import Architecture, SeedPanel
from robustbench_wb.analysis.row_order import cell_key
from robustbench_wb.analysis.sample_scores import SampleOrigin, SampleScores
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.csv import seed_means_csv
from robustbench_wb.report.forecast import seeds_text
from robustbench_wb.report.over_seeds import over_seeds_blocks
from robustbench_wb.report.over_seeds_latex import seed_means_latex
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.stats.crossed_effects import crossed_reach
from robustbench_wb.stats.intervals import wilson
from tests.known import known
from tests.store.make import record, row, scored, text_row

N = 40
Scores = dict[int, SampleScores]


def seed_of(
    variant: str, seed: int, clean: Sequence[int], attacks: Mapping[str, Sequence[int]]
) -> list[tuple[ScoreRow, Record]]:
    """Rows and records of one model; an attack breaks the given samples, those of ``clean`` are wrong."""
    made = []
    for stressor, lost in {"clean": clean, **attacks}.items():
        states = [2 if at in clean else 1 if at in lost else 0 for at in range(N)]
        strength = "" if stressor == "clean" else "8/255"
        signature = stressor if stressor == "clean" else f"{stressor};eps=8/255"
        kept = record(states, signature=signature, weights=f"{variant}{seed}", seed=seed)
        shown = row(kept, variant=variant, seed=seed, stressor=stressor, strength=strength)
        made.append((shown.model_copy(update={"grade": "" if stressor == "clean" else "A"}), kept))
    return made


def panel(cells: Sequence[tuple[ScoreRow, Record]], stored: bool = True) -> SeedPanel:
    records = {kept.key: kept for _, kept in cells} if stored else {}
    (found,) = average_seeds([one for one, _ in cells], records).panels
    return found


VIT = [
    *seed_of("vit", 0, [0], {"pgd-linf": range(1, 5), "square-linf": [5]}),
    *seed_of("vit", 1, [0, 1], {"pgd-linf": range(2, 9), "square-linf": []}),
    *seed_of("vit", 2, [], {"pgd-linf": range(6), "square-linf": range(5, 8)}),
]
CRATE = [*seed_of("crate", 0, [0], {"pgd-linf": range(1, 30), "square-linf": []})]


def main(found: SeedPanel, line: Architecture) -> tuple[float | None, ...]:
    number = line.numbers[found.main]
    return number.mean, number.deviation, number.low, number.high


def test_mean_deviation_and_interval_by_hand() -> None:
    found = panel([*CRATE, *VIT])
    vit, crate = found.lines
    assert (vit.variant, vit.seeds, crate.seeds) == ("vit", (0, 1, 2), (0,))
    assert found.columns[found.main].name == "Linf 8/255"
    lost = [{*range(6)}, {*range(9)}, {*range(8)}]
    robust = [(N - len(one)) / N for one in lost]
    right = np.array([[sample not in one for sample in range(N)] for one in lost], dtype=float)
    together, share = right.mean(axis=0), mean(robust)
    trials = min(share * (1 - share) / (float(together.var()) / N), 3.0 * N)
    low, high = wilson(share * trials, trials)
    down, up = (
        crossed_reach(reach, seed_error=stdev(robust) / 3**0.5, seeds=3) for reach in (share - low, high - share)
    )
    assert main(found, vit) == pytest.approx((share, stdev(robust), share - down, share + up), abs=1e-12)
    assert main(found, crate) == (10 / N, None, None, None)
    assert "one seed" in crate.numbers[found.main].note


def test_samples_robust_under_every_seed_are_counted() -> None:
    found = panel([*CRATE, *VIT])
    vit, crate = (line.numbers[found.main] for line in found.lines)
    lost = {*range(6)} | {*range(9)} | {*range(8)}
    interval = wilson(N - len(lost), N)
    assert (vit.consistent, vit.consistent_low, vit.consistent_high) == (
        (N - len(lost)) / N,
        interval.low,
        interval.high,
    )
    assert crate.consistent is None  # one seed
    other = seed_of("vit", 3, [], {"pgd-linf": range(30, 33), "square-linf": []})
    assert panel([*VIT, *other]).lines[0].numbers[found.main].consistent == (N - len(lost) - 3) / N
    assert panel(VIT, stored=False).lines[0].numbers[found.main].consistent is None


def test_errors_and_missing_records_leave_no_interval() -> None:
    found = panel(VIT, stored=False)
    number = found.lines[0].numbers[found.main]
    assert number.low is None
    assert "records are not in the store" in number.note
    broken = [(one.model_copy(update={"grade": "F"}), kept) if one.seed == 2 else (one, kept) for one, kept in VIT]
    found = panel([*broken, *seed_of("crate", 0, [], {"pgd-linf": range(39), "square-linf": []})])
    assert [line.variant for line in found.lines] == ["crate", "vit"]  # F counts as 0
    assert found.lines[1].numbers[found.main].grade == "F"


def test_perplexities_are_averaged_as_losses() -> None:
    losses = np.random.default_rng(0).normal(3, 0.5, (3, 50)).astype(np.float32)
    kept = [scored(one.tolist(), seed=seed, weights=str(seed)) for seed, one in enumerate(losses)]
    rows = [text_row(one, seed=seed) for seed, one in enumerate(kept)]
    (found,) = average_seeds(rows, {one.key: one for one in kept}).panels
    number = found.lines[0].numbers[0]
    assert number.mean == pytest.approx(np.exp(losses.mean()), rel=1e-6)
    assert number.deviation == pytest.approx(np.exp(losses.mean(axis=1)).std(ddof=1), rel=1e-5)
    assert known(number.low) < known(number.mean) < known(number.high)
    assert "Perplexity (lower is better) on text · n = 50 · seed means" in plain_text(
        over_seeds_blocks(average_seeds(rows, {}))
    )


def test_text_and_csv_show_every_architecture() -> None:
    means = average_seeds([one for one, _ in [*VIT, *CRATE]], {kept.key: kept for _, kept in [*VIT, *CRATE]})
    text = plain_text(over_seeds_blocks(means, 100))
    assert "vit-nano    0-2" in text
    assert "80.8 ± 3.8 [64.1, 93.8] B" in text
    assert "crate-nano: one seed" in text
    assert "all seeds" in plain_text(over_seeds_blocks(means))
    assert "77.5 [62.5, 87.7]" in plain_text(over_seeds_blocks(means))
    latex = seed_means_latex(means)
    assert (
        r"vit-nano & 97.5 $\pm$ 2.5 {\scriptsize [88.5, 100.0]} & \textbf{80.8} $\pm$ 3.8 {\scriptsize [64.1, 93.8]} \\"
        in latex
    )
    assert r"crate-nano & 97.5 & 25.0 \\" in latex
    assert "Bold: best mean by $\\ell_\\infty$ 8/255, which is no test." in latex
    assert seed_means_csv(means).count("\r\n") == 1 + 2 * len(means.panels[0].columns)
    assert len(means.to_pandas()) == 2 * len(means.panels[0].columns)


def test_labels_of_latex_tables_differ() -> None:
    """Models that lack an evaluation have a table of their own, of the same task and suite."""
    rows = [one for one, _ in VIT] + [one for one, _ in CRATE if one.stressor != "pgd-linf"]
    latex = seed_means_latex(average_seeds(rows, {}))
    assert (
        latex.count(r"\label{tab:digits-adversarial-seeds}")
        == latex.count(r"\label{tab:digits-adversarial-seeds-2}")
        == 1
    )


def test_means_without_records_are_marked_as_bounds() -> None:
    """The lowest accuracy of the attacks is above the joint one, so its mean is no robust accuracy."""
    rows = [one.model_copy(update={"variant": name}) for one, _ in VIT for name in "abcdefgh"]
    means = average_seeds(rows, {})
    text = plain_text(over_seeds_blocks(means, 80))
    assert re.search(r"^a-nano +0-2 +9\d\.\d ± 2\.5 +<= \d", text, flags=re.M)
    assert "<=: upper bound" in text
    assert "8 models: " in text
    assert max(map(len, text.splitlines())) <= 80
    latex = seed_means_latex(means)
    assert r"$\le$ \textbf{" in latex
    assert r"$\le$ marks the lowest accuracy of the attacks" in latex


def test_seeds_are_written_as_ranges() -> None:
    assert [seeds_text(given) for given in ([0, 1, 2], [2, 0], [5], [0, 1, 3, 4, 9])] == [
        "0-2",
        "0,2",
        "5",
        "0-1,3-4,9",
    ]


def outcomes(shares: Sequence[float], seeds: int, *, between: float = 0.0, draw: int = 0, n: int = 100) -> list[Scores]:
    """Outcomes of models with these shares of right samples: samples differ in difficulty, seeds by ``between``."""
    random = np.random.default_rng([draw, seeds])
    hard, origin = random.standard_normal(n), SampleOrigin(data="d", samples="s", n=n)
    cell = cell_key(VIT[0][0])
    lines = []
    for share in shares:
        shift = NormalDist().inv_cdf(share) + between * random.standard_normal((seeds, 1))
        right = (hard + random.standard_normal((seeds, n)) < 2**0.5 * shift).astype(float)
        made = [SampleScores(values=one, origin=origin, counted=frozenset({cell})) for one in right]
        lines.append(dict(enumerate(made)))
    return lines


def test_letters_tell_architectures_apart_and_equal_ones_not() -> None:
    letters, tests = seed_letters(outcomes([0.9, 0.5, 0.5], 5), cells=1, accuracy=True)
    assert (letters, tests) == (["a", "b", "b"], 3)
    losses, _ = seed_letters(outcomes([0.1, 0.5], 5), cells=1, accuracy=False)
    assert losses == ["a", "b"]  # the smaller loss is better


def test_letters_need_two_common_seeds_with_known_outcomes() -> None:
    best, other, third = outcomes([0.9, 0.5, 0.1], 4)
    alone = {7: best[0]}
    unknown = {seed: SampleScores(reason="graded F", counted=one.counted) for seed, one in other.items()}
    assert seed_letters([alone, other, third], cells=1, accuracy=True)[0] == ["", "a", "b"]
    assert seed_letters([best, unknown], cells=1, accuracy=True) == (["", ""], 0)
    few = dict(list(other.items())[:2])
    assert seed_letters([best, few], cells=1, accuracy=True)[1] == 1  # on the two seeds that both have


def test_text_and_latex_show_the_letters() -> None:
    weak = [
        cell for seed in range(3) for cell in seed_of("crate", seed, [], {"pgd-linf": range(39), "square-linf": []})
    ]
    twin = [(one.model_copy(update={"variant": "bert"}), kept) for one, kept in VIT]
    cells = [*VIT, *weak, *twin]
    means = average_seeds([one for one, _ in cells], {kept.key: kept for _, kept in cells})
    assert [(line.variant, line.group) for line in means.panels[0].lines] == [
        ("bert", "a"),
        ("vit", "a"),
        ("crate", "b"),
    ]
    text = plain_text(over_seeds_blocks(means, 80))
    assert re.search(r"vit-nano +0-2 +a +80\.8|vit-nano +0-2 +a +97\.5", text)
    said = " ".join(text.split())  # notes are wrapped
    assert "do not differ significantly (two-sided, paired by seed and sample, Holm over 3 pairs)" in said
    latex = seed_means_latex(means)
    assert latex.count(r"\textbf") == 2
    assert "Bold: not significantly different from the best mean" in latex


@pytest.mark.slow(5)
@pytest.mark.parametrize(("seeds", "between"), [(3, 0.0), (3, 0.3), (5, 0.3)])
def test_equal_architectures_rarely_get_different_letters(seeds: int, between: float) -> None:
    draws = 100
    found = [
        seed_letters(outcomes([0.7] * 4, seeds, between=between, draw=draw), cells=1, accuracy=True)[0]
        for draw in range(draws)
    ]
    assert sum(len(set(letters)) > 1 for letters in found) / draws <= 0.05 + 1.65 * (0.05 * 0.95 / draws) ** 0.5
