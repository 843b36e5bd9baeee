"""Time that ``diff`` takes beyond its imports, on two results folders made by the store's own functions.

    python benchmarks/diff.py [--cells 100] [--samples 10000] [--turns 3] [--profile]

The new folder stands for another checkpoint: in every cell 3 % of the samples are lost and 2 % gained. Each turn reads
both tables and all records, checks their digests, compares, and renders text and JSON. The shortest time counts.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.api.compare import compare
from robustbench_wb.records.record import Cell, Identity, Measurement, Record, State, SubjectCard
from robustbench_wb.report.comparison import comparison_blocks
from robustbench_wb.report.json import comparison_json
from robustbench_wb.report.text_block import plain_text
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

LOST = 0.03
"""Share of the samples that are robust in the old folder and broken in the new one."""
GAINED = 0.02
"""Share of the samples that are broken in the old folder and robust in the new one."""


def measured(cell: int, states: NDArray[np.int8], weights: str) -> Measurement:
    """A finished cell whose samples have the given states, (N,)."""
    n = len(states)
    identity = Identity(
        signature=f"pgd-linf;eps={cell}/255", ladder=(), stressor_code="code", data="data", samples="samples",
        weights=weights, model_code="model", numerics="cpu", seed=0,
    )  # fmt: skip
    counts = np.full(n, 40, dtype=np.int32)
    losses = np.linspace(0, 1, n, dtype=np.float32)
    record = Record(
        identity=identity, ids=np.arange(n, dtype=np.int32), states=states, losses=losses, forwards=counts,
        backwards=counts, wobble=0, seconds=1.0,
    )  # fmt: skip
    names = Cell(
        suite="benchmark", suite_version=1, scale="full", task="made-up", variant="vit", size="small",
        recipe="standard", stressor="pgd-linf", strength=f"{cell}/255", seed=0,
    )  # fmt: skip
    card = SubjectCard(parameters=1, weights=weights, train_seconds=0.0, trained=False)
    return Measurement(cell=names, identity=identity, subject=card, record=record, reused=False, samples=n)


def make_results(folder: Path, cells: int, samples: int) -> tuple[str, str]:
    """Make two results folders of one version each, and return their paths."""
    rng = np.random.default_rng(0)
    places = {"old": str(folder / "old"), "new": str(folder / "new")}
    runs: dict[str, list[Measurement]] = {"old": [], "new": []}
    for cell in range(1, cells + 1):
        robust = rng.random(samples) < 0.6
        change = rng.random(samples)
        after = np.where(robust, change >= LOST / 0.6, change < GAINED / 0.4)
        for side, outcome in (("old", robust), ("new", after)):
            states = np.where(outcome, State.ROBUST, State.BROKEN).astype(np.int8)
            runs[side].append(measured(cell, states, side))
    for side, run in runs.items():
        store = RecordStore(places[side])
        for one in run:
            if one.record is not None:
                store.append(one.record)
        store.compact()
        ScoreTable(places[side]).commit(score_rows(run), {})
    return places["old"], places["new"]


def time_diff(old: str, new: str) -> tuple[float, float]:
    """Seconds until the comparison is computed, and until it is rendered."""
    start = time.perf_counter()
    comparison = compare(old, new, new)
    compared = time.perf_counter() - start
    plain_text(comparison_blocks(comparison, 100))
    comparison_json(comparison, ids=True)
    return compared, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print the functions that take most of the time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        old, new = make_results(Path(folder), options.cells, options.samples)
        compared, rendered = (
            min(times) for times in zip(*(time_diff(old, new) for _ in range(options.turns)), strict=True)
        )
        size = f"{options.cells} cells x {options.samples} samples"
        print(f"{size}: compared in {compared:.2f} s, with text and JSON {rendered:.2f} s")
        if options.profile:
            with cProfile.Profile() as profile:
                time_diff(old, new)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(35)


if __name__ == "__main__":
    main()
