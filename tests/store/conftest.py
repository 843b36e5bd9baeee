"""A real server that speaks S3, for tests of results and caches in object stores."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.store.wire import Wire


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Port of a server with one empty bucket."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for attempt in range(300):
                with suppress(OSError):
                    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT"))
                    break
                assert attempt < 299, "the server does not start"
                time.sleep(0.2)
            yield port
        finally:
            process.kill()


@pytest.fixture
def bucket(server: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the bucket, which the environment makes usable for every process."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    own = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in (own | {"ENDPOINT_URL": f"http://127.0.0.1:{server}"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return "s3://bucket"


@pytest.fixture
def wire(server: int, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The way to the server, in the place of its own address."""
    found = Wire(free_port(), server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.port}")
    yield found
    found.cut()
