"""A connection to a server in a process of its own, which a test can cut: ``python -m tests.store.wire PORT TARGET``.

It lives in another process because calls of Delta Lake may hold the interpreter while they wait for an answer.
"""

import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress


class Wire:
    """Clients at ``port`` reach the server at port ``target``, or find nobody listening while the wire is cut."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.mend()

    def mend(self) -> None:
        command = [sys.executable, "-m", "tests.store.wire", str(self.port), str(self.target)]
        self.process = subprocess.Popen(command)
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise AssertionError("the wire does not start")

    def cut(self) -> None:
        self.process.kill()
        self.process.wait()


def copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)


def main() -> None:
    port, server = (int(text) for text in sys.argv[1:])
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            client, _ = listening.accept()
            behind = socket.create_connection(("127.0.0.1", server))
            for pair in ((client, behind), (behind, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()


if __name__ == "__main__":
    main()
