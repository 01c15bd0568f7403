"""Files of a folder that are not finished: out of sight, and swept away when their process is gone."""

import contextlib
import fcntl
import os
import secrets
import stat
import time
from pathlib import Path
from typing import BinaryIO, Self, cast

from .keys import PART

STALE_SECONDS = 60


class Staged:
    """A new file that has no name of its own yet.

    The lock on it says that somebody is still writing; what has none was left by a process that was killed.

    Parameters
    ----------
    path
        Where it is.
    file
        The same, open.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file

    @classmethod
    def begin(cls, root: Path) -> Self:
        """A new file of the volume in this folder."""
        staging = root / PART
        staging.mkdir(mode=0o700, exist_ok=True)
        _sweep(staging)
        path = staging / f"{secrets.token_hex(8)}{PART}"
        file = path.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, cast(BinaryIO, file))

    @classmethod
    def prepared(cls, root: Path, name: str, size: int) -> Self | None:
        """A file that another process has finished here and still holds; ``None`` without one of this size.

        Parameters
        ----------
        root
            The folder of the volume.
        name
            The file's, without its ending.
        size
            Bytes it must have.
        """
        path = root / PART / f"{name}{PART}"
        try:
            # A pipe, of which there should be none, must not hold anybody up.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        file = os.fdopen(descriptor, "rb", buffering=0)
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode) and found.st_size == size and found.st_nlink == 1:
            return cls(path, cast(BinaryIO, file))
        file.close()
        return None

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
