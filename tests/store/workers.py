"""Processes started by the tests of the store: ``python -m tests.store.workers JOB LOCATION ...``."""

import sys

import numpy as np

from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row


def append_many(location: str, first: str, count: str) -> None:
    store = RecordStore(location)
    for seed in range(int(first), int(first) + int(count)):
        rng = np.random.default_rng(seed)
        store.append(record(rng.integers(0, 3, 200).tolist(), seed=seed))
        sys.stdout.write(f"{seed}\n")
        sys.stdout.flush()


def commit_runs(location: str, name: str, count: str) -> None:
    table = ScoreTable(location)
    for seed in range(int(count)):
        table.commit([row(variant=name, seed=seed)], {"by": name, "run": seed})


if __name__ == "__main__":
    {"append": append_many, "commit": commit_runs}[sys.argv[1]](*sys.argv[2:])
