"""What is lost when a whole run is killed at random moments: driver and workers at once, then the same command again.

    python benchmarks/kills.py [--kills 40] [--executor processes] [--workers 2] [--shard-seconds 3] [-- RUN OPTIONS]

Without options it is an AutoAttack of one model. The moments are drawn from the time that the run takes undisturbed.
The log of each run says which shards were finished; samples of a ladder that were measured more often than once were
lost although they were finished. A kill may lose the shards that were being measured, one per worker, and nothing else.
The outcomes must be those of the undisturbed run.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from executors import outcomes

JOB = [
    *("--variant", "vit", "--recipe", "standard;epochs=10", "--samples", "64"),
    *("--stressor", "autoattack-linf;eps=16/255"),
]


class Runs:
    """Runs of one command with one cache.

    Args:
        folder: where cache, logs and results go.
        options: options of the command.
        shard_seconds: length of a shard.
    """

    def __init__(self, folder: Path, options: list[str], shard_seconds: float) -> None:
        self._folder, self._options = folder, options
        variables = {"RBWB_CACHE_DIR": str(folder / "cache"), "RBWB_SHARD_SECONDS": str(shard_seconds)}
        self._environment = {**os.environ, **variables}

    def start(self, place: str, log: Path) -> "subprocess.Popen[bytes]":
        """Begin a run in a process group of its own."""
        command = [sys.executable, "-m", "robustbench_wb", "run", *self._options, "--progress", "none"]
        said = (self._folder / "said").open("wb")
        return subprocess.Popen(
            [*command, "--results", str(self._folder / place), "--log", str(log)],
            env=self._environment, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip

    def finish(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait for the end of a run.

        Raises:
            RuntimeError: it failed.
        """
        if process.wait():
            raise RuntimeError((self._folder / "said").read_text(encoding="utf-8"))


def finished_samples(log: Path) -> Counter[tuple[str, str, int]]:
    """How often each sample of each ladder was measured by a shard that was finished, from the log of a run."""
    found: Counter[tuple[str, str, int]] = Counter()
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["event"] == "shard" and event["stressor"] != "clean":
            places = range(event["first"], event["stop"])
            found.update((event["model"], event["stressor"], place) for place in places)
    return found


def main() -> None:
    """Kill, repeat, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--executor", default="processes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-seconds", type=float, default=3.0)
    parser.add_argument("options", nargs="*", default=JOB, help="options of run, after --")
    given = parser.parse_args()
    how = ["--executor", given.executor, *([] if given.executor == "inline" else ["--workers", str(given.workers)])]
    with tempfile.TemporaryDirectory() as temporary:
        runs = Runs(Path(temporary), [*given.options, *how], given.shard_seconds)
        runs.finish(runs.start("trained", Path(temporary) / "trained.jsonl"))  # the cache has the model now
        started = time.monotonic()
        runs.finish(runs.start("undisturbed", Path(temporary) / "undisturbed.jsonl"))
        seconds = time.monotonic() - started
        wanted, kills, again, tables = outcomes(Path(temporary) / "undisturbed"), 0, 0, 0
        shards = len(finished_samples(Path(temporary) / "undisturbed.jsonl"))
        print(f"undisturbed: {seconds:.1f} s, {shards} samples of ladders", flush=True)
        while kills < given.kills:
            place, measured = f"killed-{tables}", Counter[tuple[str, str, int]]()
            for attempt in range(1000):
                log = Path(temporary) / f"{place}-{attempt}.jsonl"
                process = runs.start(place, log)
                try:
                    process.wait(random.uniform(0.1, 0.9) * seconds if kills < given.kills else None)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    kills += 1
                if log.exists():
                    measured += finished_samples(log)
                if process.returncode == 0:
                    break
            runs.finish(process)
            twice = sum(count - 1 for count in measured.values())
            again, tables = again + twice, tables + 1
            equal = outcomes(Path(temporary) / place) == wanted
            print(f"table {tables}: {attempt} kills, measured twice: {twice} samples, equal: {equal}", flush=True)
    print(f"{kills} kills, {tables} tables, finished samples that were measured again: {again}")


if __name__ == "__main__":
    main()
