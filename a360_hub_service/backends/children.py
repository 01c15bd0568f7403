"""Programs that work for the service, and must not go on when it is done with them, or was killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from a360_hub_service.backends import interruption

# Asks the kernel to be killed when its parent dies (PR_SET_PDEATHSIG), then becomes the program.
_TIED = """
import ctypes, json, os, resource, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
for name, value in json.loads(sys.argv[2]).items():
    hard = resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
# Python ignores them, and programs expect them.
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def tied(command: Sequence[str], **limits: int) -> list[str]:
    """Return what runs `command` so that it ends with this process.

    `limits` are those of the system for the program, by the end of their names: ``FSIZE`` is the largest file
    in bytes, ``DATA`` its memory.

    Who takes up the work of a killed service deletes what it left half-made; a program that still writes
    there would make it anew. To the kernel the parent is the thread that starts it, which has to wait.
    """
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), json.dumps(limits), *command]


def environment() -> dict[str, str]:
    """Return the environment for a program that need not know the service's secrets."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTERHUB_", "A360_"))}


def finished(
    command: Sequence[str], seconds: float, *, env: Mapping[str, str], cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end and return what it wrote; nothing that it started stays.

    Raises
    ------
    Interrupted
        If the work is to end early.
    subprocess.TimeoutExpired
        After `seconds`.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with ending(process):
        out, err = interruption.communicate(process, seconds)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextlib.contextmanager
def ending(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """End a process that leads a session, and whatever it started, when the block ends; close its pipes."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
