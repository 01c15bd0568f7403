"""Run a command that must not outlive the Hub: ``python -m hub_config.die_with_parent COMMAND...``.

A Hub that is killed outright cannot stop its service and proxy; left behind they would hold the ports that
the next Hub needs. Linux sends the signal asked for here when the parent dies; elsewhere it just runs.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def arm() -> None:
    """Ask the kernel for SIGTERM at the parent's death; fit for ``preexec_fn``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    parent = os.getppid()
    arm()
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
