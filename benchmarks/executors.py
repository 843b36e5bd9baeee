"""Time of one run by this process and by several: the same models are trained, and the same cells measured, by each.

    python benchmarks/executors.py [--executors inline processes ray] [--workers 2] [--turns 1] [--kills 20]
        [-- RUN OPTIONS]

Each run is the command line in a process of its own, with an empty cache and an empty results folder; without options
it is the main job of the README. Then, ``--kills`` times, a worker of the run by processes is killed at a random
moment. All tables must be equal: the same keys, with the same state of every sample.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from robustbench_wb.store.record_store import RecordStore

MAIN_JOB = ["--suite", "adversarial"]


def start(folder: Path, options: list[str]) -> "subprocess.Popen[bytes]":
    """A run with a cache and results of its own, in the background."""
    environment = {**os.environ, "RBWB_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "robustbench_wb", "run", *options, "--results", str(folder / "results")]
    log = (folder / "log").open("wb")
    return subprocess.Popen([*command, "--progress", "none"], env=environment, stdout=log, stderr=log)


def outcomes(folder: Path) -> dict[str, bytes]:
    """States of all samples of all stored records, by key."""
    store = RecordStore(str(folder / "results"))
    return {key: record.states.tobytes() for key, record in store.find(store.keys()).items()}


def measured(options: list[str], kill_after: float | None = None) -> tuple[float, dict[str, bytes]]:
    """Seconds and outcomes of a run; a worker is killed after some seconds if that is asked for.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        started = time.perf_counter()
        process = start(folder, options)
        if kill_after is not None:
            time.sleep(kill_after)
            kill_child(process.pid)
        if process.wait():
            raise RuntimeError((folder / "log").read_text(encoding="utf-8"))
        return time.perf_counter() - started, outcomes(folder)


def kill_child(parent: int) -> None:
    """Kill a random child of a process, if it has any that measures."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(child) for child in children.read_text(encoding="ascii").split()] if children.exists() else []
    workers = [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    if workers:
        os.kill(random.choice(workers), signal.SIGKILL)


def main() -> None:
    """Run, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--executors", nargs="+", choices=("inline", "processes", "ray"), default=["inline", "processes"]
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("options", nargs="*", default=MAIN_JOB, help="options of run, after --")
    given = parser.parse_args()
    shared = ["--workers", str(given.workers)]
    ways = {name: ["--executor", name, *(() if name == "inline" else shared)] for name in given.executors}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    tables: list[dict[str, bytes]] = []
    for turn in range(given.turns):
        for way, options in list(ways.items())[:: 1 if turn % 2 == 0 else -1]:
            spent, table = measured([*given.options, *options])
            seconds[way].append(spent)
            tables.append(table)
            print(f"{way}: {spent:.1f} s, {len(table)} records", flush=True)
    medians = {way: sorted(found)[len(found) // 2] for way, found in seconds.items()}
    first = next(iter(medians))
    for way, median in medians.items():
        print(f"{first} / {way}: {medians[first] / median:.2f} (medians of {given.turns})")
    for kill in range(given.kills):
        moment = random.uniform(0.05, 0.95) * medians["processes"]
        spent, table = measured([*given.options, *ways["processes"]], kill_after=moment)
        tables.append(table)
        print(f"kill {kill + 1} after {moment:.1f} s: {spent:.1f} s, equal: {table == tables[0]}", flush=True)
    different = sum(table != tables[0] for table in tables)
    print(f"{len(tables)} tables, {different} differ from the first")


if __name__ == "__main__":
    main()
