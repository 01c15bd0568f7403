"""The platform as a person at a terminal handles it: `a360 up`, `a360 reset-password`, `a360 down`."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from .errors import DemoError

READY_SECONDS = 180.0
STOP_SECONDS = 60.0


@dataclass
class Platform:
    """A running platform.

    Attributes
    ----------
    home : Path
        Its state folder.
    url : str
        Where browsers find it.
    password : str
        Of the demo accounts.
    reset : bool
        Whether the password was made anew, because only the hash of the old one exists.
    process : Popen, optional
        `a360 up`, when the demo started it.
    """

    home: Path
    url: str
    password: str
    reset: bool = False
    process: "subprocess.Popen[bytes] | None" = None
    log: Path = field(default_factory=Path)

    def stop(self) -> None:
        """Stop what the demo started; the endpoints' gateway too unless this home has other endpoints."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        others = [path for path in (self.home / "endpoints").glob("*") if path.is_dir()]
        a360(self.home, "down", *([] if others else ["--all"]))


def a360(home: Path, command: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run one command of the platform's command line."""
    return subprocess.run(
        [*_program(), command, "--home", str(home), *arguments], capture_output=True, text=True, timeout=120
    )


def start_or_attach(home: Path, port: int | None, say: Callable[[str], None]) -> Platform:
    """The platform of a state folder: the one that runs there, or a new one.

    Parameters
    ----------
    home : Path
        State folder; made if missing.
    port : int, optional
        Where to listen; 8000, or the next free one, when left out.
    say : callable
        Told what happens meanwhile.

    Raises
    ------
    DemoError
        With code 2, when the port is taken or another platform holds the folder and does not answer.
    """
    url = _running(home)
    if url is not None:
        if port is not None and not url.endswith(f":{port}"):
            raise DemoError(
                f"A360 already runs over {home} at {url}, not on port {port}.",
                "Leave --port out to use that one, or stop it with: a360 down",
                code=2,
            )
        _wait_until_it_answers(url, say)
        password = os.environ.get("A360_PASSWORD")
        return Platform(home, url, password or _reset(home), reset=not password)
    return _start(home, port, say)


def _wait_until_it_answers(url: str, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    say("a platform runs here already")
    while not all(_answers(url + path) for path in ("/hub/api/", "/services/a360/health")):
        if time.monotonic() > deadline:
            raise DemoError(f"The platform at {url} does not answer.", "Stop it with: a360 down", code=2)
        time.sleep(0.2)


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(address, trust_env=False).status_code == 200
    return False


def _start(home: Path, port: int | None, say: Callable[[str], None]) -> Platform:
    first = not (home / "hub" / "accounts.json").exists()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "log").mkdir(exist_ok=True, mode=0o700)
    log = home / "log" / "demo-up.log"
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as output:
        ready = Path(folder) / "ready.json"
        wanted = port if port is not None else free_port(8000)
        command = [*_program(), "up", "--home", str(home), "--port", str(wanted), "--ready-file", str(ready)]
        # A session of its own: Ctrl-C reaches the demo alone, which then stops things in order.
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            _wait_for(ready, process, log, say)
            told = json.loads(ready.read_text())
        except BaseException:
            process.terminate()
            process.wait(STOP_SECONDS)
            raise
    log.write_text("")  # it may show the password of a first run
    password = told.get("password") or os.environ.get("A360_PASSWORD")
    return Platform(home, told["url"], password or _reset(home), not first and not password, process, log)


def _wait_for(ready: Path, process: "subprocess.Popen[bytes]", log: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    while not ready.exists():
        seconds = time.monotonic() - started
        say(f"{seconds:.0f} s")
        if process.poll() is not None:
            lines = log.read_text().strip().splitlines() or ["a360 up ended without a word"]
            message, _, hint = lines[-1].partition("; ")
            raise DemoError(message, hint or f"More is in {log.parent}.", code=2)
        if seconds > READY_SECONDS:
            raise DemoError(f"The platform did not start within {READY_SECONDS:.0f} s.", f"See {log.parent}.")
        time.sleep(0.1)


def _running(home: Path) -> str | None:
    answer = a360(home, "status") if home.is_dir() else None
    if answer is None or answer.returncode != 0:
        return None
    return next(word for word in answer.stdout.split() if word.startswith("http"))


def _reset(home: Path) -> str:
    answer = a360(home, "reset-password")
    if answer.returncode != 0:
        raise DemoError(f"The password could not be reset: {answer.stderr.strip()}", code=2)
    return answer.stdout.strip().split()[-1]


def _program() -> Sequence[str]:
    return [sys.executable, "-m", "a360_hub_service.cli"]


def free_port(wanted: int) -> int:
    """This port, or the next one nobody listens on."""
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise DemoError(f"No port from {wanted} to {wanted + 49} is free.", "Name one with --port.", code=2)
