"""Results in an object store: a real server that speaks S3, many writers at once, and a store that goes away."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from robustbench_wb.errors import StoreError
from robustbench_wb.store.location import prepare_location
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record, row
from tests.store.wire import Wire

WRITER = """
import sys
from robustbench_wb.store.record_store import RecordStore
from tests.store.make import record
store = RecordStore(sys.argv[1])
for number in range(2):
    store.append(record(seed=2 * int(sys.argv[2]) + number))
"""


@pytest.mark.slow(2)
def test_an_address_is_tried_before_any_work(bucket: str, wire: Wire) -> None:
    assert prepare_location("s3://bucket/new") == "s3://bucket/new"
    with pytest.raises(StoreError, match="no results under"):
        ScoreTable("s3://bucket/new").rows()
    with pytest.raises(StoreError, match=r"cannot be written to 's3://nosuch/new': .*bucket does not exist$"):
        prepare_location("s3://nosuch/new")
    wire.cut()
    with pytest.raises(StoreError, match=r"cannot be written to 's3://bucket/new': .*refused"):
        prepare_location("s3://bucket/new")
    wire.mend()
    assert prepare_location("s3://bucket/new") == "s3://bucket/new"


@pytest.mark.slow(60)
def test_sixteen_writers_at_once_lose_nothing(bucket: str) -> None:
    place = f"{bucket}/many"

    def write(number: int) -> None:
        subprocess.run([sys.executable, "-c", WRITER, place, str(number)], check=True)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    assert RecordStore(place).keys() == sorted(record(seed=seed).key for seed in range(32))
    assert RecordStore(place).damaged() == []


@pytest.mark.slow(20)
def test_versions_of_two_writers_keep_the_rows_of_both(bucket: str) -> None:
    place = f"{bucket}/versions"
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda name: ScoreTable(place).commit([row(variant=name)], {}), "abcd"))
    assert sorted(numbers) == [1, 2, 3, 4]
    assert {one.variant for one in ScoreTable(place).rows()} == set("abcd")


@pytest.mark.slow(14)
def test_a_store_that_is_away_is_waited_for(bucket: str, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    store = RecordStore("s3://bucket/away")
    store.append(record(seed=0))
    wire.cut()

    def mend_once_told() -> None:
        until = time.monotonic() + 60
        while "waiting for s3://bucket/away" not in caplog.text and time.monotonic() < until:
            time.sleep(0.1)
        wire.mend()

    mending = threading.Thread(target=mend_once_told)
    mending.start()
    store.append(record(seed=1))
    mending.join()
    assert "waiting for s3://bucket/away" in caplog.text
    assert len(RecordStore("s3://bucket/away").keys()) == 2


@pytest.mark.slow(60)
def test_a_run_keeps_its_results_in_a_bucket_and_finds_them(bucket: str) -> None:
    command = [sys.executable, "-m", "robustbench_wb"]
    asked = [
        "--variant",
        "vit",
        "--stressor",
        "fgsm-linf;eps=8/255",
        "--samples",
        "50",
        "--recipe",
        "standard;epochs=1",
    ]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        where = ("--results", f"{bucket}/run")
        return subprocess.run([*command, *arguments, *where], capture_output=True, text=True, check=False)

    first, second = run("run", *asked), run("run", *asked)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "2 new evaluations, 0 reused" in first.stderr
    assert "0 new evaluations, 2 reused" in second.stderr
    compared = run("diff", "v1", "v2", "--json")
    assert json.loads(compared.stdout)["pairs"]
