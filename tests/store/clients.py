"""Runs on several machines at once, with results and cache in an object store that dies in between."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.store.conftest import free_port, start_server
from tests.store.wire import Wire


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


def client(folder: Path, place: str, *, job: Sequence[str], variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """A run on a machine of its own: with a cache folder that no other has."""
    folder.mkdir()
    shared = {"RBWB_CACHE_DIR": str(folder / "cache"), "RBWB_SHARED_CACHE": "s3://bucket/cache", **variables}
    command = [sys.executable, "-m", "robustbench_wb", "run", *job, "--results", place, "--progress", "none"]
    with (folder / "said").open("wb") as said:
        return subprocess.Popen([*command, "--device", "cpu"], env={**os.environ, **shared}, stdout=said, stderr=said)


def run_twice(server: Server, folder: Path, *, job: Sequence[str], variables: Mapping[str, str], away: float) -> float:
    """Two clients, and a server that is killed after the first commits and away for some seconds; the whole seconds."""
    place, started = "s3://bucket/results", time.monotonic()
    names = ("first", "second")
    clients = [client(folder / name, place, job=job, variables=variables) for name in names]
    try:
        server.wait_for("results/records/_delta_log/00000000000000000002.json")
        server.kill()
        time.sleep(away)
        server.start_again()
        for name, one in zip(names, clients, strict=True):
            if one.wait(1800):
                raise RuntimeError((folder / name / "said").read_text(encoding="utf-8"))
    finally:
        for one in clients:
            one.send_signal(signal.SIGKILL)
            one.wait()
    return time.monotonic() - started
