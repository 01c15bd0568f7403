"""``a360 down``: stop the platform, and with ``--all`` what outlives it."""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import psutil

from ..backends.base import BackendError
from ..backends.engine import engine
from ..backends.targets.supervised import RunFolder, read_json
from .running import find, is_claimed

PATIENCE_SECONDS = 45.0
DRAIN_SECONDS = 5.0


def down(options: argparse.Namespace) -> int:
    """Stop the platform of a state folder; fine when nothing runs."""
    home = options.home.absolute()
    running = find(home) if home.is_dir() else None
    if running is None:
        print("A360 is not running.")
    elif not _stop(home, running.pid, running.hub_pid):
        print(f"A360 (process {running.pid}) did not stop.", file=sys.stderr)
        return 1
    else:
        print("A360 is stopped." + ("" if options.all else " Published endpoints go on; --all stops them."))
    if options.all:
        _stop_workspaces(home)
        _stop_endpoints(home)
    return 0


def _stop(home: Path, pid: int, hub_pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if _released(home, PATIENCE_SECONDS):
        return True
    for number in filter(None, (hub_pid, pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return _released(home, 5)


def _released(home: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_claimed(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _stop_workspaces(home: Path) -> None:
    """End workspaces a killed Hub left behind: processes whose home is one of ours."""
    ours = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            folder = Path(environment.get("HOME", "/"))
            if "A360_WORKSPACE_ID" in environment and folder.is_relative_to(home / "workspaces"):
                process.terminate()
                ours.append(process)
    _, alive = psutil.wait_procs(ours, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _stop_endpoints(home: Path) -> None:
    """Stop endpoints and their gateway; what is published stays published and comes back with `a360 up`."""
    records = [read_json(file) for file in home.glob("endpoints/*/endpoint.json")]
    folders = [RunFolder(file.parent) for file in home.glob("endpoints/**/run.json")]
    for folder in [*folders, RunFolder(home / "gateway" / "run")]:
        if folder.path.is_dir():
            folder.stop(DRAIN_SECONDS)
    if any(record.get("target") == "docker" for record in records):
        _stop_containers(home)
    if records:
        print("Published endpoints are stopped; they come back with the next `a360 up`.")


def _stop_containers(home: Path) -> None:
    """Stop the containers that take their keys from this state folder."""
    keys = f"{home / 'endpoints'}/"
    try:
        with engine(BackendError) as client:
            for container in client.containers.list(filters={"label": "a360.slug"}):
                if any(mount.get("Source", "").startswith(keys) for mount in container.attrs["Mounts"]):
                    container.stop(timeout=int(DRAIN_SECONDS))
    except BackendError as error:
        print(f"Endpoints in containers go on: {error}", file=sys.stderr)
