"""A session of injected faults: ``python -m tests.faults.session --faults 200 --seed 0 --jobs 2``.

After the same command, each fault ends in the table of an undisturbed run that ``verify`` confirms, or in a line that
names the file. Figures are printed at the end; the exit code is 1 if a fault ended otherwise.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle, islice
from os import _exit as leave
from pathlib import Path

from tests.faults.children import warm_up
from tests.faults.injections import Prepared, faults, prepare

SHARES = {"kill -9": 110, "damaged files": 60, "full disk": 21, "runs at once": 8, "models that exit": 5}
"""Faults of each kind among 204."""


def planned(made: Prepared, count: int) -> list[tuple[str, int]]:
    """Kind of each fault, and its place among those of the kind."""
    whole = sum(SHARES.values())
    numbers = {kind: max(1, round(count * share / whole)) for kind, share in SHARES.items()}
    choices = faults(made)
    return [(kind, at) for kind, number in numbers.items() for at in islice(cycle(range(len(choices[kind]))), number)]


def inject(made: Prepared, folder: Path, index: int, seed: int, fault: tuple[str, int]) -> dict[str, object]:
    """Inject one fault, and say how it ended."""
    kind, at = fault
    place, began = folder / f"fault-{index}", time.monotonic()
    try:
        said = faults(made)[kind][at](made, place, random.Random(f"{seed}/{index}"))
        problem = ""
    except AssertionError as error:
        said, problem = "", str(error) or "failed"
    if not problem:
        shutil.rmtree(place, ignore_errors=True)
    return {"index": index, "kind": kind, "said": said, "problem": problem, "seconds": time.monotonic() - began}


def work(made: Prepared, folder: Path, seed: int, mine: list[tuple[int, tuple[str, int]]], report: Path) -> None:
    """Inject the faults of one process."""
    with report.open("w", buffering=1) as file:
        for index, fault in mine:
            file.write(json.dumps(inject(made, folder, index, seed, fault)) + "\n")


def main() -> int:
    """Run a session and print its figures."""
    parser = argparse.ArgumentParser()
    for name, default in (("faults", 204), ("seed", 0), ("jobs", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix="robustbench-wb-faults-"))
    made = prepare(folder)
    every = list(enumerate(planned(made, given.faults)))
    children = []
    for job in range(given.jobs):
        child = os.fork()
        if not child:
            work(made, folder, given.seed, every[job :: given.jobs], folder / f"report-{job}.jsonl")
            leave(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    lines = [json.loads(line) for path in folder.glob("report-*.jsonl") for line in path.read_text().splitlines()]
    failed = [line for line in lines if line["problem"]]
    for line in sorted(failed, key=lambda one: one["index"]):
        sys.stdout.write(f"FAILED {line['kind']}, fault {line['index']} in {folder}: {line['problem']}\n")
    all_of, bad = Counter(line["kind"] for line in lines), Counter(line["kind"] for line in failed)
    for kind in SHARES:
        seconds = sum(line["seconds"] for line in lines if line["kind"] == kind)
        sys.stdout.write(f"{kind}: {all_of[kind] - bad[kind]} of {all_of[kind]} ended well, {seconds:.0f} s\n")
    sys.stdout.write(f"{len(lines) - len(failed)} of {len(every)} faults ended well (seed {given.seed})\n")
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(failed) or len(lines) < len(every))


if __name__ == "__main__":
    sys.exit(main())
