"""Time of one run by this process and by several: the same models are trained, and the same cells measured, by each.

    python benchmarks/executors.py [--executors inline processes:2 processes:3 ray:2] [--turns 1] [--kills 20]
        [-- RUN OPTIONS]

Each run is the command line in a process of its own, with an empty cache and an empty results folder; without options
it is the main job of the README. A number after the colon is that of the workers. Then each executor runs ``--kills``
times while something is killed at a random moment: one of its workers, or, of ``inline``, the run itself, which is then
repeated by the same command. All tables must be equal: the same keys, with the same state of every sample.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from robustbench_wb.store.record_store import RecordStore

MAIN_JOB = ["--suite", "adversarial"]


def start(folder: Path, options: list[str]) -> "subprocess.Popen[bytes]":
    """A run with a cache and results of its own, in the background."""
    environment = {**os.environ, "RBWB_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-m", "robustbench_wb", "run", *options, "--results", str(folder / "results")]
    log = (folder / "log").open("wb")
    return subprocess.Popen([*command, "--progress", "none"], env=environment, stdout=log, stderr=log)


def outcomes(results: Path | str) -> dict[str, bytes]:
    """States of all samples of all records that are stored in a results folder, by key."""
    store = RecordStore(str(results))
    return {key: record.states.tobytes() for key, record in store.find(store.keys()).items()}


def measured(options: list[str], kill_after: float | None = None) -> tuple[float, dict[str, bytes]]:
    """Seconds and outcomes of a run. With ``kill_after``, a worker, or the run without workers, is killed then.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        started = time.perf_counter()
        process = start(folder, options)
        if kill_after is not None:
            time.sleep(kill_after)
            if "inline" in options:
                process.kill()
                process.wait()
                process = start(folder, options)
            else:
                kill_worker(process.pid)
        if process.wait():
            raise RuntimeError((folder / "log").read_text(encoding="utf-8"))
        return time.perf_counter() - started, outcomes(folder / "results")


def kill_worker(run: int) -> None:
    """Kill a random worker of a run, if it has any: a process that it has started, or an actor of its Ray."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            if command.startswith(b"ray::_Measurer") or (parent == run and b"spawn_main" in command):
                found.append(int(folder.name))
    if found:
        os.kill(random.choice(found), signal.SIGKILL)


def main() -> None:
    """Run, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executors", nargs="+", default=["inline", "processes:2"])
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("options", nargs="*", default=MAIN_JOB, help="options of run, after --")
    given = parser.parse_args()
    ways = {way: way_options(way) for way in given.executors}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    tables: list[dict[str, bytes]] = []
    for turn in range(given.turns):
        for way, options in list(ways.items())[:: 1 if turn % 2 == 0 else -1]:
            spent, table = measured([*given.options, *options])
            seconds[way].append(spent)
            tables.append(table)
            print(f"{way}: {spent:.1f} s, {len(table)} records, equal: {table == tables[0]}", flush=True)
    medians = {way: sorted(found)[len(found) // 2] for way, found in seconds.items()}
    first = next(iter(medians))
    for way, median in medians.items():
        print(f"{first} / {way}: {medians[first] / median:.2f} (medians of {given.turns})", flush=True)
    for way, options in ways.items():
        equal = 0
        for _ in range(given.kills):
            moment = random.uniform(0.05, 0.95) * medians[way]
            _, table = measured([*given.options, *options], kill_after=moment)
            tables.append(table)
            equal += table == tables[0]
        if given.kills:
            print(f"{way}: {given.kills} kills, {equal} tables equal", flush=True)
    different = sum(table != tables[0] for table in tables)
    print(f"{len(tables)} tables, {different} differ from the first")


def way_options(way: str) -> list[str]:
    """Options of run for an executor and its workers, like ``processes:2``."""
    name, _, workers = way.partition(":")
    return ["--executor", name, *(["--workers", workers] if workers else [])]


if __name__ == "__main__":
    main()
