"""Run a command that must not outlive the Hub: ``python -m hub_config.die_with_parent PID COMMAND...``.

A Hub that is killed outright cannot stop its service and proxy; left behind they would hold the ports that
the next Hub needs. Linux sends the signal asked for here when the parent dies; elsewhere it just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tied(*command: str) -> list[str]:
    """The command line of `command` as a child of this very process that dies with it."""
    return [sys.executable, "-m", "hub_config.die_with_parent", str(os.getpid()), *command]


def arm(parent: int) -> None:
    """Ask the kernel for SIGTERM at the death of `parent`; leave when it is dead already.

    Fit for ``preexec_fn``. The parent is told by who starts the child: asked for by the child itself, it
    could be the one that adopted it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    arm(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606
