"""Which platform runs in a state folder: a locked file that a dying process cannot leave locked."""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Running:
    """A platform in this state folder: process ids of `a360 up` and its Hub (0: not yet), and the address."""

    pid: int
    hub_pid: int
    url: str


class AlreadyRunning(RuntimeError):
    """Another `a360 up` holds the state folder."""


def lock_path(home: Path) -> Path:
    """The file the platform holds locked while it runs."""
    return home / "a360.lock"


def claim(home: Path) -> IO[str]:
    """Lock the state folder for this process; closing the file, or dying, gives it back.

    Raises
    ------
    AlreadyRunning
        With the address of the platform that runs.
    """
    handle = open(lock_path(home), "a+")  # noqa: SIM115  # held for as long as the platform runs
    deadline = time.monotonic() + 1
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            # `a360 status` holds it for a moment to see whether it is free.
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    handle.close()
    other = find(home)
    raise AlreadyRunning(other.url if other else "an address it has not said yet")


def record(handle: IO[str], running: Running) -> None:
    """Write who runs into the locked file."""
    handle.seek(0)
    handle.truncate()
    json.dump(asdict(running), handle)
    handle.flush()
    os.fsync(handle.fileno())


def is_claimed(home: Path) -> bool:
    """Whether a platform runs (or starts) in this state folder."""
    try:
        with open(lock_path(home), "a+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def find(home: Path) -> Running | None:
    """The platform that runs in this state folder, or None."""
    if not lock_path(home).exists() or not is_claimed(home):
        return None
    try:
        return Running(**json.loads(lock_path(home).read_text()))
    except ValueError:
        return None  # it is just starting
