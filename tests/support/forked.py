"""Processes of the service that start in a fraction of a second.

To load the program takes seconds of processor time, and a suite starts it some hundred times. So each worker
keeps one process that has loaded it and does nothing else (the library's fork server), and every service
is a fork of that one. What a service reads at its start, environment, folder and log, is given to the fork.
"""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.loaded"])


def _serve(env: Mapping[str, str], folder: Path, log: Path) -> None:
    """Become the service: in the fork."""
    out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    os.close(out)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    from tests.support import service_main

    service_main.main([])


class ForkedService:
    """A running service, with the methods of :class:`subprocess.Popen` that tests use.

    Parameters
    ----------
    env
        The whole environment of the service.
    folder
        Where it runs.
    log
        Where its output is added.
    """

    def __init__(self, env: Mapping[str, str], folder: Path, log: Path) -> None:
        self._process = ForkServerProcess(target=_serve, args=(dict(env), folder, log))
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; :class:`subprocess.TimeoutExpired` after ``timeout`` seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the service", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)
