"""Two machines that carry out the same run at once, with results and cache in an object store that dies in between."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.conftest import free_port, make_bucket, start_server, use_server
from tests.store.wire import Wire

JOB = ("--variant", "vit", "--recipe", "standard;epochs=2", "--stressor", "pgd-linf;eps=8/255;steps=10")
SLOWLY = {"RBWB_SHARD_SECONDS": "0.5"}


class Server:
    """A server that speaks S3, behind a wire. It writes down what it is sent, and knows it when it starts anew."""

    def __init__(self, folder: Path) -> None:
        self._requests = folder / "requests"
        self._record = {"MOTO_ENABLE_RECORDING": "true", "MOTO_RECORDER_FILEPATH": str(self._requests)}
        self.wire = Wire(free_port(), self._start())

    def _start(self) -> int:
        self._process, port = start_server(self._record)
        return port

    def wait_for(self, words: str) -> None:
        """Wait until the server is sent something that holds these words."""
        for _ in range(6000):
            if self._requests.exists() and words in self._requests.read_text(encoding="utf-8"):
                return
            time.sleep(0.1)
        raise AssertionError(f"nobody asks for {words}")

    def kill(self) -> None:
        """Kill the server in the middle of whatever it does."""
        self.wire.cut()
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start the server again, with everything that it was told before."""
        self.wire.target = port = self._start()
        address = f"http://127.0.0.1:{port}/moto-api/recorder/replay-recording"
        urllib.request.urlopen(urllib.request.Request(address, method="POST", data=b""))
        self.wire.mend()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server with one empty bucket, whose address is in the environment."""
    found = Server(tmp_path)
    use_server(found.wire.port, monkeypatch)
    make_bucket(found.wire.port)
    yield found
    found.kill()


def client(folder: Path, place: str, job: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    """A run on a machine of its own: with a cache folder that no other has."""
    folder.mkdir()
    shared = {"RBWB_CACHE_DIR": str(folder / "cache"), "RBWB_SHARED_CACHE": "s3://bucket/cache", **SLOWLY}
    command = [sys.executable, "-m", "robustbench_wb", "run", *job, "--results", place, "--progress", "none"]
    with (folder / "said").open("wb") as said:
        return subprocess.Popen([*command, "--device", "cpu"], env={**os.environ, **shared}, stdout=said, stderr=said)


def run_twice(server: Server, tmp_path: Path, *, job: tuple[str, ...], away: float) -> float:
    """Two clients, and a server that is killed after the first commits and away for some seconds; the whole seconds."""
    place, started = "s3://bucket/results", time.monotonic()
    clients = [client(tmp_path / name, place, job) for name in ("first", "second")]
    try:
        server.wait_for("results/records/_delta_log/00000000000000000002.json")
        server.kill()
        time.sleep(away)
        server.start_again()
        for number, one in enumerate(clients):
            said = tmp_path / ("first", "second")[number] / "said"
            assert one.wait(1200) == 0, said.read_text()
    finally:
        for one in clients:
            one.send_signal(signal.SIGKILL)
            one.wait()
    return time.monotonic() - started


@pytest.mark.slow(60)
def test_two_machines_and_a_server_that_dies(server: Server, tmp_path: Path) -> None:
    run_twice(server, tmp_path, job=JOB, away=5)
    store, table = RecordStore("s3://bucket/results"), ScoreTable("s3://bucket/results")
    versions = [table.rows(number) for number in (1, 2)]
    assert [row.key for row in versions[0]] == [row.key for row in versions[1]]
    assert {row.key for row in versions[0]} <= set(store.keys())
    assert store.damaged() == []
    alone = tmp_path / "alone"
    one = client(alone, str(tmp_path / "results"), JOB)
    assert one.wait(600) == 0, (alone / "said").read_text()
    kept = RecordStore(str(tmp_path / "results"))
    wanted, found = kept.find(kept.keys()), store.find(store.keys())
    assert wanted.keys() == found.keys()
    assert all(wanted[key].states.tobytes() == found[key].states.tobytes() for key in wanted)
