"""Files of a folder that are not finished: out of sight, and swept away when their process is gone."""

import contextlib
import fcntl
import os
import secrets
import time
from pathlib import Path

from .keys import PART

STALE_SECONDS = 60


class Staged:
    """A new file that has no name of its own yet.

    The lock on it says that somebody is still writing; what has none was left by a process that was killed.

    Parameters
    ----------
    root
        The folder of the volume.
    """

    def __init__(self, root: Path) -> None:
        staging = root / PART
        staging.mkdir(mode=0o700, exist_ok=True)
        _sweep(staging)
        self.path = staging / f"{secrets.token_hex(8)}{PART}"
        self.file = self.path.open("xb", buffering=0)
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self.file.write(rest) :]

    def sync(self) -> None:
        """Wait until it is on the disk."""
        os.fsync(self.file.fileno())

    def discard(self) -> None:
        """Remove it, unless it is closed already."""
        if not self.file.closed:
            self.path.unlink(missing_ok=True)
            self.file.close()


def _sweep(staging: Path) -> None:
    """Remove what killed processes left."""
    for path in staging.iterdir():
        with contextlib.suppress(OSError):
            # A new file is unlocked for a moment.
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
