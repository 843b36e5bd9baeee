"""Error rates of sequential gates by simulation, and the samples that they take on stored outcomes.

    python benchmarks/sequential.py [--gates 2000] [--orders 20] [--table TABLE]

Error rates: gates of six cells whose true drops equal the margin, the hardest case, looked at after every sample,
beside the fixed test of a gate looked at as often. Samples: every model of the table against every other, cell by cell,
as if one were a new version of the other, and every cell of a model against its clean one.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.paired_outcomes import accuracy_outcomes
from robustbench_wb.analysis.gate.discordance import MeasuredPair, measurement_pairs
from robustbench_wb.analysis.gate.sequential import Drops, Scope, SequentialRule, decide_sequentially
from robustbench_wb.stats.paired import p_drop_beyond
from robustbench_wb.store.loaded_table import LoadedTable, find_records, load_table

PUBLISHED = Path(__file__).parents[1] / "results" / "published" / "adversarial-digits-smoke.parquet"
ALPHA = 0.05
CELLS = 6
SAMPLES = 360
SCOPES: tuple[Scope, ...] = ("population", "samples")


class Case(NamedTuple):
    """Shares of a simulated cell; the difference of both is its true drop."""

    lost: float
    gained: float
    margin: float


CASES = (Case(0.03, 0.02, 0.01), Case(0.11, 0.1, 0.01), Case(0.06, 0.01, 0.05), Case(0.1, 0.05, 0.05))


def simulated(case: Case, scope: Scope, rng: np.random.Generator) -> NDArray[np.float64]:
    """Drops of one cell: drawn from the shares, or in exactly these shares in a random order."""
    shares = [case.lost, case.gained, 1 - case.lost - case.gained]
    if scope == "population":
        return rng.choice([1.0, -1.0, 0.0], p=shares, size=SAMPLES)
    gained = round(case.gained * SAMPLES)
    lost = gained + int(case.margin * SAMPLES + 1e-9)
    return rng.permutation(np.repeat([1.0, -1.0, 0.0], [lost, gained, SAMPLES - lost - gained]))


def cell(values: NDArray[np.float64], margin: float) -> Drops:
    return Drops(ids=np.arange(len(values)), least=values, most=values, margin=margin)


def error_rates(gates: int) -> None:
    """Print the share of gates with a false alarm, and of cells that pass, at drops equal to the margin."""
    print(f"{gates} gates of {CELLS} cells, n = {SAMPLES}, true drops equal to the margin, a look after every sample")
    print("lost  gained  margin  scope       false alarm, gates  false pass, cells  fixed test, cells")
    for case in CASES:
        for scope in SCOPES:
            rng, alarms, passes = np.random.default_rng(0), 0, 0
            for gate in range(gates):
                # The set of all samples must have exactly the margin, from which whole numbers can be a little off.
                family = [simulated(case, scope, rng) for _ in range(CELLS)]
                margin = case.margin if scope == "population" else float(family[0].sum()) / SAMPLES
                rule = SequentialRule(seed=gate, scope=scope)
                found = decide_sequentially([cell(values, margin) for values in family], rule, ALPHA)
                alarms += any(one.outcome == "regressed" for one in found)
                passes += sum(one.outcome == "passed" for one in found)
            peeked = f"{100 * peeking(case, min(gates, 300)):.1f} %" if scope == "population" else ""
            rates = f"{100 * alarms / gates:17.1f} %  {100 * passes / gates / CELLS:15.1f} %  {peeked:>17}"
            print(f"{case.lost:4g}  {case.gained:6g}  {case.margin:6g}  {scope:10}  {rates}")


def peeking(case: Case, cells: int) -> float:
    """Share of cells in which the fixed test of a gate is significant after some sample from the tenth on."""
    rng, found, counts = np.random.default_rng(1), 0, np.arange(10, SAMPLES + 1)
    for _ in range(cells):
        values = simulated(case, "population", rng)
        lost, gained = (np.cumsum(values == side)[9:] for side in (1, -1))
        found += bool((p_drop_beyond(counts, lost, gained, margin=case.margin) <= ALPHA).any())
    return found / cells


def stored(table: LoadedTable) -> Iterator[NDArray[np.float64]]:
    """Drops of all samples of every cell, for every ordered pair of models of a table."""
    for drops in paired(table, measurement_pairs(table.rows)):
        yield from (drops, -drops)


def perturbed(table: LoadedTable) -> Iterator[NDArray[np.float64]]:
    """Drops of all samples from the clean cell of each model to each of its other cells."""
    clean = {(row.task, row.subject): row for row in table.rows if row.cell == "clean"}
    rows = [row for row in table.rows if row.cell != "clean" and (row.task, row.subject) in clean]
    yield from paired(table, [MeasuredPair(clean[row.task, row.subject], row) for row in rows])


def paired(table: LoadedTable, pairs: Sequence[MeasuredPair]) -> Iterator[NDArray[np.float64]]:
    """Drops of all samples of each pair of rows; pairs with unjudged samples are left out."""
    records = find_records([table], [row.key for pair in pairs for row in pair], table.location)
    for pair in pairs:
        outcomes = accuracy_outcomes(records[pair.old.key], records[pair.new.key], pair.new.n)
        if outcomes is not None and not outcomes.unjudged:
            yield -outcomes.worst.astype(np.float64)


def samples_taken(table: LoadedTable, orders: int) -> None:
    """Print how many samples of a table decide, in several orders."""
    drops = list(stored(table))
    shown = ("regressed", 1, [one for one in drops if 0.08 <= one.mean() <= 0.12])
    fell = ("regressed", 1, [one for one in perturbed(table) if 0.08 <= one.mean() <= 0.12])
    held = ("passed", 5, [one for one in drops if abs(one.mean()) <= 0.01 and one.any()])
    print(f"\n{table.name}: {len(drops)} pairs of models in a cell, n = {len(drops[0])}, {orders} orders")
    print("drop                         margin  pairs  scope       decided  mean share  median samples")
    groups = {"8 to 12 points, models": shown, "8 to 12 points, clean cell": fell, "-1 to 1 points, models": held}
    for name, (outcome, points, chosen) in groups.items():
        for scope in SCOPES if chosen else ():
            found = [
                decide_sequentially([cell(one, points / 100)], SequentialRule(seed=seed, scope=scope), ALPHA)[0]
                for one in chosen
                for seed in range(orders)
            ]
            decided = fmean(one.outcome == outcome for one in found)
            used = [one.used for one in found]
            numbers = f"{100 * decided:5.1f} %  {100 * fmean(used) / len(chosen[0]):8.1f} %  {median(used):14g}"
            print(f"{name:27}  {points:6}  {len(chosen):5}  {scope:10}  {numbers}")


def main() -> None:
    """Read the options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", type=int, default=2000)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--table", default=str(PUBLISHED))
    options = parser.parse_args()
    error_rates(options.gates)
    samples_taken(load_table(options.table, "results"), options.orders)


if __name__ == "__main__":
    main()
