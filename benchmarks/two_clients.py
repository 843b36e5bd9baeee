"""Two clients that carry out one run at the same time, with results and cache in an object store that is killed.

    python benchmarks/two_clients.py [--away 60] [-- RUN OPTIONS]

Each client has a cache folder of its own, as on a machine of its own, and shares results and cache with the other by a
server that speaks S3. Once the first shards are stored, the server is killed; it starts again after ``--away`` seconds
with what it held. Without options the run is the main job of the README. Then the same command runs alone, with its
results in a folder. Both must store the same records, with the same state of every sample.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pytest
from executors import MAIN_JOB, measured, outcomes

sys.path.insert(0, str(Path(__file__).parents[1]))  # the server and its clients are those of the tests

from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.clients import Server, run_twice
from tests.store.conftest import make_bucket, use_server


def main() -> None:
    """Run, kill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--away", type=float, default=60, help="seconds without a server; default: %(default)s")
    parser.add_argument("options", nargs="*", default=MAIN_JOB, help="options of run, after --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        server = Server(Path(place))
        use_server(server.wire.port, patch)
        make_bucket(server.wire.port)
        try:
            seconds = run_twice(server, Path(place), job=given.options, variables={}, away=given.away)
            shared, table = outcomes("s3://bucket/results"), ScoreTable("s3://bucket/results")
            versions = [len(table.rows(number)) for number in (1, 2)]
            damaged = RecordStore("s3://bucket/results").damaged()
        finally:
            server.kill()
    print(f"two clients, server away for {given.away:g} s: {seconds:.0f} s", flush=True)
    print(f"rows of the two versions of the score table: {versions}; records {len(shared)}, damaged {len(damaged)}")
    started = time.perf_counter()
    _, alone = measured(given.options)
    print(f"alone, results in a folder: {time.perf_counter() - started:.0f} s, {len(alone)} records")
    print(f"equal keys and states: {shared == alone}")


if __name__ == "__main__":
    main()
