"""What counts as activity of a workspace (C27).

A workspace is idle when no kernel is busy, no experiment run is open and no terminal prints. Jupyter's own
answer differs twice: an open browser tab polls and so counts as activity for ever, and a kernel that computes
for hours without printing does not count at all.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from a360mdk import open_runs


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
    """

    def __init__(self, started: datetime, kernels: Any, terminal: Callable[[], datetime | None]) -> None:
        self._latest, self._kernels, self._terminal = started, kernels, terminal

    def last_activity(self) -> datetime:
        """The latest moment of activity known; now while something runs."""
        now = datetime.now(UTC)
        if self._busy() or open_runs.count():
            self._latest = now
        seen = [self._latest, self._kernels.last_kernel_activity, self._terminal()]
        self._latest = max(moment for moment in seen if moment is not None)
        return self._latest

    def _busy(self) -> bool:
        states = [getattr(kernel, "execution_state", None) for kernel in self._kernels._kernels.values()]
        return any(state in ("busy", "starting") for state in states)


def install(app: Any) -> None:
    """Answer in place of Jupyter's own rule; the single-user server reports it to the Hub."""
    settings = app.web_app.settings
    activity = Activity(
        settings["started"], app.kernel_manager, lambda: settings.get("terminal_last_activity")
    )
    app.web_app.last_activity = activity.last_activity
