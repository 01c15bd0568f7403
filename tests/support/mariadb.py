"""A MariaDB server of the test run's own."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.service import free_port

SECONDS = 30


def _binary(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if not found:
        pytest.skip(f"no {name} on this machine (apt-get install mariadb-server)")
    return found


class MariaDB:
    """A running server.

    Parameters
    ----------
    port
        On the loopback interface.
    socket
        For its administrator, who needs no password there.
    """

    def __init__(self, port: int, socket: Path) -> None:
        self.host, self.port, self.socket = "127.0.0.1", port, socket

    def run(self, statements: str) -> None:
        """Run statements as its administrator."""
        command = [_binary("mariadb"), "--no-defaults", f"--socket={self.socket}", "--user=root", "--batch"]
        subprocess.run(command, input=statements, text=True, check=True, capture_output=True)


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """Run a server until the block ends; skip the test where none is installed."""
    server, install = _binary("mariadbd"), _binary("mariadb-install-db")
    # Sockets have short paths, so not below pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="a360-my-"))
    own = [f"--datadir={folder / 'data'}", *(["--user=root"] if os.geteuid() == 0 else [])]
    process = None
    stack = ExitStack()
    try:
        quick = ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=4M"]
        subprocess.run([install, "--no-defaults", *own, *quick], check=True, capture_output=True)
        made = MariaDB(free_port(), folder / "s")
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            [
                *(server, "--no-defaults", *own, f"--socket={made.socket}", f"--port={made.port}"),
                *("--bind-address=127.0.0.1", "--skip-log-bin", f"--pid-file={folder / 'pid'}"),
                "--innodb-flush-log-at-trx-commit=0",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + SECONDS
        while not made.socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"MariaDB did not start\n{(folder / 'log').read_text()[-4000:]}")
            time.sleep(0.02)
        yield made
    finally:
        if process is not None:
            process.kill()  # nothing of it is kept
            process.wait()
        stack.close()
        shutil.rmtree(folder, ignore_errors=True)
