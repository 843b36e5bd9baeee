"""A real server that speaks S3, for tests of results and caches in object stores."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest

from tests.store.wire import Wire


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(variables: Mapping[str, str] | None = None) -> "tuple[subprocess.Popen[bytes], int]":
    """Start a server with some variables of its environment; return its process and port once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, **(variables or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json")
            return process, port
        time.sleep(0.2)
    process.kill()
    raise AssertionError("the server does not start")


def make_bucket(port: int) -> None:
    """Make the bucket that is called ``bucket``."""
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/bucket", method="PUT"))


def use_server(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a server the one that every process of the test speaks to."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    own = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "REGION": "us-east-1", "ALLOW_HTTP": "true"}
    for name, value in (own | {"ENDPOINT_URL": f"http://127.0.0.1:{port}"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Port of a server with one empty bucket."""
    process, port = start_server()
    make_bucket(port)
    yield port
    process.kill()
    process.wait()


@pytest.fixture
def bucket(server: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of the bucket, which the environment makes usable for every process."""
    use_server(server, monkeypatch)
    return "s3://bucket"


@pytest.fixture
def wire(server: int, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The way to the server, in the place of its own address."""
    found = Wire(free_port(), server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.port}")
    yield found
    found.cut()
