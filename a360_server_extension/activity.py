"""Jupyter server extension: what counts as activity of a workspace (C27).

A workspace is idle when no kernel is busy, no experiment run is open and no terminal prints. Jupyter's own
answer differs twice: an open browser tab polls and so counts as activity for ever, and a kernel that computes
for hours without printing does not count at all.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def open_runs_folder() -> Path:
    """Where the kit (a360mdk.open_runs) keeps one file for each open run, holding the kernel's process id.

    The kit itself is not imported: it would bring pandas into the server's memory.
    """
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "a360" / "open-runs"


class Activity:
    """The moment a server was last active.

    Parameters
    ----------
    started
        When the server started: the earliest answer.
    kernels
        Jupyter's kernel manager.
    terminal
        Gives the moment of the last terminal output, or None.
    runs
        The folder of open runs.
    """

    def __init__(
        self, started: datetime, kernels: Any, terminal: Callable[[], datetime | None], runs: Path
    ) -> None:
        self._latest, self._kernels, self._terminal, self._runs = started, kernels, terminal, runs

    def last_activity(self) -> datetime:
        """The latest moment of activity known; now while something runs."""
        now = datetime.now(UTC)
        if self._busy() or self._open_run():
            self._latest = now
        seen = [self._latest, self._kernels.last_kernel_activity, self._terminal()]
        self._latest = max(moment for moment in seen if moment is not None)
        return self._latest

    def _busy(self) -> bool:
        states = [getattr(kernel, "execution_state", None) for kernel in self._kernels._kernels.values()]
        return any(state in ("busy", "starting") for state in states)

    def _open_run(self) -> bool:
        if not self._runs.is_dir():
            return False
        return any(_alive(path) for path in self._runs.iterdir())


def _alive(path: Path) -> bool:
    """Whether the kernel that opened this run lives; a dead one closes nothing, so its file is no sign."""
    try:
        os.kill(int(json.loads(path.read_text())["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "a360_server_extension.activity"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Answer in place of Jupyter's own rule; the single-user server reports it to the Hub."""
    settings = app.web_app.settings
    activity = Activity(
        settings["started"],
        app.kernel_manager,
        lambda: settings.get("terminal_last_activity"),
        open_runs_folder(),
    )
    app.web_app.last_activity = activity.last_activity
