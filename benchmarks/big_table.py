"""Seconds, bytes and memory of a results folder of many cells on many samples, with made-up outcomes.

    python benchmarks/big_table.py [--models 50] [--cells 400] [--samples 50000] [--folder DIR]

50 models with 400 cells each on the 50,000 samples of ImageNet are a table of 20,000 records. They are appended one by
one, as a run does, and committed as a version of the score table; a second version has the same records. Then each
command is called in a process of its own, whose peak memory is measured. A folder that is full already is only read.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.records.record import Cell, Identity, Measurement, Record, State, SubjectCard
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

SHIFTED = """
from robustbench_wb.api.compare import compare_loaded
from robustbench_wb.store.loaded_table import LoadedTable, load_table
old = load_table("v1", {place!r})
count = len({{row.cell for row in old.rows}})
shifted = [*old.rows[count:], *old.rows[:count]]
renamed = zip(shifted, old.rows, strict=True)
rows = [row.model_copy(update={{"variant": was.variant, "checksum": ""}}) for row, was in renamed]
new = LoadedTable(name="v2", rows=rows, location={place!r}, version=2)
found = compare_loaded(old, new, results={place!r}, delta=1)
print(sum(pair.lost or 0 for pair in found.pairs))
"""
"""Comparison of a table with itself, in which each model has the outcomes of the next: every evaluation differs."""
COMMANDS = {
    "find": "from robustbench_wb.store.record_store import RecordStore as R; s = R({place!r}); k = s.keys()\n"
    "for at in range(0, len(k), 200): s.find(k[at:at + 200])",
    "leaderboard": "from robustbench_wb.api.leaderboard import leaderboard; print(leaderboard(results={place!r}))",
    "diff": "from robustbench_wb.api.compare import compare; print(compare('v1', 'v2', {place!r}))",
    "diff of other models": SHIFTED,
    "show": "from robustbench_wb.store.score_table import ScoreTable; print(len(ScoreTable({place!r}).rows()))",
}
"""Python code of each command, on a folder."""
PEAK = """
import resource, sys
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def measured(model: int, cell: int, samples: int) -> Measurement:
    """A finished cell: the attack of a model at one of many strengths, of which larger ones break more; or clean."""
    rng = np.random.default_rng((model, cell))
    clean = np.random.default_rng(model).random(samples) < 0.8
    robust = clean & (rng.random(samples) < 1 - cell / 500)
    states = np.where(robust, State.ROBUST, np.where(clean, State.BROKEN, State.WRONG)).astype(np.int8)
    name, strength = ("pgd-linf", f"{cell}/2550") if cell else ("clean", "")
    identity = Identity(
        signature=f"{name};eps={strength};steps=40" if cell else "clean", ladder=(), stressor_code="code", data="data",
        samples="samples", weights=f"weights {model}", model_code="model", numerics="cpu", seed=0,
    )  # fmt: skip
    counts = np.where(clean, 41, 1).astype(np.int32) if cell else np.ones(samples, np.int32)
    losses = rng.exponential(size=samples).astype(np.float32)
    record = Record(
        identity=identity, ids=np.arange(samples, dtype=np.int32), states=states, losses=losses, forwards=counts,
        backwards=counts - 1, wobble=0, seconds=1.0,
    )  # fmt: skip
    names = Cell(
        suite="benchmark", suite_version=1, scale="full", task="made-up", variant=f"model-{model:03}", size="small",
        recipe="standard", stressor=name, strength=strength, seed=0,
    )  # fmt: skip
    card = SubjectCard(parameters=1, weights=f"weights {model}", train_seconds=0.0, trained=False)
    return Measurement(cell=names, identity=identity, subject=card, record=record, reused=False, samples=samples)


def fill(place: str, *, models: int, cells: int, samples: int) -> Iterator[float]:
    """Append all records one by one, and commit two versions; yield the seconds of each append."""
    store, rows = RecordStore(place), list[ScoreRow]()
    for model in range(models):
        for cell in range(cells):
            made = measured(model, cell, samples)
            rows += score_rows([made])
            if made.record is not None:
                started = time.perf_counter()
                store.append(made.record)
                yield time.perf_counter() - started
    started = time.perf_counter()
    store.compact()
    print(f"compact: {time.perf_counter() - started:.1f} s", flush=True)
    for version in (1, 2):
        started = time.perf_counter()
        ScoreTable(place).commit(rows, {})
        print(f"commit of version {version}: {time.perf_counter() - started:.1f} s", flush=True)


def main() -> None:
    """Fill the folder, call the commands and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--samples", type=int, default=50000)
    parser.add_argument("--folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.folder or temporary
        if not ScoreTable(place).exists():
            took = list(fill(place, models=given.models, cells=given.cells, samples=given.samples))
            for share in range(5):
                part = sorted(took[share * len(took) // 5 : (share + 1) * len(took) // 5])
                median = 1000 * part[len(part) // 2]
                print(f"append, fifth {share + 1}: median {median:.1f} ms, longest {part[-1]:.2f} s")
            print(f"append: {sum(took):.0f} s in all")
            print(f"filling: peak memory {peak(resource.RUSAGE_SELF):.2f} GB", flush=True)
        files = [path for path in Path(place).rglob("*") if path.is_file()]
        print(f"{sum(path.stat().st_size for path in files) / 1e9:.2f} GB in {len(files)} files", flush=True)
        for name, code in COMMANDS.items():
            started = time.perf_counter()
            command = [sys.executable, "-c", code.format(place=place) + PEAK]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - started
            if done.returncode:
                print(f"{name}: failed: {done.stderr.splitlines()[-1:]}", flush=True)
                continue
            memory = int(done.stderr.split()[-1]) * 1024 / 1e9
            print(f"{name}: {seconds:.1f} s, peak memory {memory:.2f} GB", flush=True)


def peak(who: int) -> float:
    """Peak memory of a process in GB."""
    return resource.getrusage(who).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
