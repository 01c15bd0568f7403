"""``a360 up``: check, migrate, start the Hub, wait until it answers, stop it cleanly."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

import hub_config
from hub_config.accounts import ACCOUNTS, write_secret
from hub_config.die_with_parent import tied
from hub_config.embedded import Embedded

from .manage import gateway_trouble, upgrade_database
from .running import AlreadyRunning, Running, claim, record

READY_SECONDS = 120.0
STOP_SECONDS = 30.0
LOG_BYTES = 20 * 1024**2
CONFIG = Path(hub_config.__file__).parent / "jupyterhub_config.py"


def up(options: argparse.Namespace) -> int:
    """Start the platform and stay until a signal or the Hub's end; 2 when it cannot start here."""
    platform = Embedded(options.home, options.ip, options.port)
    platform.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = claim(platform.home)
    except AlreadyRunning as other:
        print(f"A360 is already running at {other}; stop it with: a360 down", file=sys.stderr)
        return 2
    with handle:
        record(handle, Running(os.getpid(), 0, platform.url))
        busy = _wait_until_free(platform)
        if busy is not None:
            print(busy, file=sys.stderr)
            return 2
        password = platform.prepare()
        if password is not None:
            _print_password(password)
        if trouble := gateway_trouble(platform):
            setting = f"c.Gateway.port in {platform.service_config}"
            print(
                f"Endpoints could not be called. {trouble} End that program or change {setting}",
                file=sys.stderr,
            )
            return 2
        platform.choose_ports()
        upgrade_database(platform)
        stop = _Stop()
        with _start_hub(platform) as hub:
            record(handle, Running(os.getpid(), hub.pid, platform.url))
            return _accompany(platform, hub, stop, password, options.ready_file)


class _Stop(threading.Event):
    """Set by Ctrl-C, SIGTERM or a closed terminal.

    Handlers are set even where a shell started us with SIGINT ignored, as it does for ``&`` in scripts.
    """

    def __init__(self) -> None:
        super().__init__()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self.set())


def _wait_until_free(platform: Embedded) -> str | None:
    """None once the port is free, else what to tell. The proxy of a killed Hub needs a moment to go."""
    deadline = time.monotonic() + 2
    while True:
        with socket.socket(socket.AF_INET6 if ":" in platform.ip else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((platform.ip, platform.port))
                return None
            except OSError as error:
                reason = error
        if time.monotonic() > deadline:
            if isinstance(reason, PermissionError):
                return f"Port {platform.port} needs more rights; choose one above 1023: a360 up --port 8000"
            other = platform.port + 1 if platform.port < 65535 else 8000
            return (
                f"Port {platform.port} on {platform.ip} cannot be used ({reason.strerror}); "
                f"stop what uses it or choose another one: a360 up --port {other}"
            )
        time.sleep(0.1)


def _open_log(platform: Embedded) -> IO[bytes]:
    path = platform.home / "log" / "hub.log"
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _start_hub(platform: Embedded) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "A360_HOME": str(platform.home),
        "A360_IP": platform.ip,
        "A360_PORT": str(platform.port),
        "A360_PORTS_CHOSEN": "1",
    }
    command = tied(sys.executable, "-m", "jupyterhub", "-f", str(CONFIG))
    with _open_log(platform) as log:
        return subprocess.Popen(
            command,
            cwd=platform.hub,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_default_signals,
        )


def _default_signals() -> None:
    # An ignored SIGINT is inherited, and a Hub that ignores it takes a minute to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _accompany(
    platform: Embedded,
    hub: "subprocess.Popen[bytes]",
    stop: _Stop,
    password: str | None,
    ready_file: Path | None,
) -> int:
    started, ready = time.monotonic(), False
    while hub.poll() is None and not stop.is_set():
        if not ready:
            ready = _answers(platform)
            if ready:
                _print_ready(platform, time.monotonic() - started)
                _write_ready(platform, hub, password, ready_file)
            elif time.monotonic() - started > READY_SECONDS:
                print(f"A360 did not start within {READY_SECONDS:.0f} s.", file=sys.stderr)
                _stop_hub(hub)
                _print_log(platform)
                return 1
        stop.wait(0.5 if ready else 0.1)
    if hub.poll() is not None:
        print(
            f"The Hub ended by itself (status {hub.returncode}); start again with: a360 up", file=sys.stderr
        )
        _print_log(platform)
        return 1
    print("Stopping A360 ...", flush=True)
    stop.clear()
    _stop_hub(hub, stop)
    print("Stopped. Published endpoints go on; `a360 down --all` stops them.", flush=True)
    return 0


def _answers(platform: Embedded) -> bool:
    """Whether Hub, proxy and service answer where a browser would ask."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine needs no web proxy
    for path in ("/hub/api/", "/services/a360/health"):
        try:
            with direct.open(platform.url + path, timeout=2) as answer:
                if answer.status != 200 or not answer.url.endswith(path):  # redirected: no route yet
                    return False
        except (urllib.error.URLError, OSError):
            return False
    return True


def _stop_hub(hub: "subprocess.Popen[bytes]", again: threading.Event | None = None) -> None:
    """Ask the Hub to stop everything it started; a second Ctrl-C, or the end of patience, kills it."""
    hub.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while hub.poll() is None:
        if time.monotonic() > deadline or (again is not None and again.is_set()):
            hub.kill()
        time.sleep(0.05)


def _print_password(password: str) -> None:
    print(f"Sign in as {', '.join(ACCOUNTS)}, each with the password\n\n    {password}\n", flush=True)
    print("It is shown this once; `a360 reset-password` makes a new one.", flush=True)


def _print_ready(platform: Embedded, seconds: float) -> None:
    print(f"A360 is ready after {seconds:.0f} s: {platform.url}", flush=True)
    print(f"State folder {platform.home}, log {platform.home / 'log' / 'hub.log'}", flush=True)
    print("Stop with Ctrl-C or `a360 down`. Published endpoints and their gateway go on.", flush=True)


def _print_log(platform: Embedded, lines: int = 15) -> None:
    path = platform.home / "log" / "hub.log"
    tail = path.read_text(errors="replace").splitlines()[-lines:]
    print(f"The end of {path}:", *tail, sep="\n  ", file=sys.stderr)


def _write_ready(
    platform: Embedded, hub: "subprocess.Popen[bytes]", password: str | None, path: Path | None
) -> None:
    if path is None:
        return
    ready = {"url": platform.url, "pid": os.getpid(), "hub_pid": hub.pid, "password": password}
    write_secret(path, json.dumps(ready))
