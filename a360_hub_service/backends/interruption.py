"""Work that takes long looks here now and then whether it is to end early.

Who starts the work says with :func:`interruptible` when it is; whoever waits in it, for a process or for an
answer, calls :func:`check`. Elsewhere nothing is ever interrupted.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .base import BackendError

PAUSE = 0.25
"""Seconds between two looks while a process is waited for."""

Asked = Callable[[], "Interrupted | None"]


class Interrupted(BackendError):
    """The work is to end early; says why."""


def _never() -> None:
    return None


_asked: ContextVar[Asked] = ContextVar("asked", default=_never)


@contextmanager
def interruptible(asked: Asked) -> Iterator[None]:
    """Let what this thread does in the block end as soon as ``asked`` says so.

    Parameters
    ----------
    asked
        Returns what is raised then, ``None`` as long as the work may go on.
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def check() -> None:
    """Go on, or raise :class:`Interrupted`."""
    if reason := _asked.get()():
        raise reason


def communicate(process: "subprocess.Popen[str]", timeout: float) -> tuple[str, str]:
    """Wait for a process and return what it wrote to its standard output and error.

    Ending the process is left to the caller.

    Raises
    ------
    Interrupted
        If the work is to end early.
    subprocess.TimeoutExpired
        After ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        check()
        left = max(0.0, deadline - time.monotonic())
        try:
            return process.communicate(timeout=min(PAUSE, left))
        except subprocess.TimeoutExpired:
            if left <= PAUSE:
                raise
