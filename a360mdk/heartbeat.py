"""The heartbeat of an open run: without it the platform would not know that a kernel was killed."""

import threading
from datetime import datetime

from a360mdk.client import Client, Unreachable

_BEATS = 4  # in the time after which a run counts as failed


class Heartbeat:
    """Says from a thread of its own that a run's kernel is there. What goes wrong is tried again.

    Args:
        client: whose address and token to use.
        run: the run as the service gave it.
    """

    def __init__(self, client: Client, run: dict[str, object]) -> None:
        self._path = f"/runs/{run['id']}/heartbeat"
        self._stopped = threading.Event()
        if run.get("alive_until"):
            began, until = (datetime.fromisoformat(str(run[name])) for name in ("started_at", "alive_until"))
            self._seconds = max((until - began).total_seconds() / _BEATS, 0.1)
            self._client = client.another()
            threading.Thread(target=self._beat, name="a360-heartbeat", daemon=True).start()

    def _beat(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._client.send("POST", self._path, body={}, repeatable=True)
            except Unreachable:
                continue  # the run goes on with the next one that arrives
        self._client.close()

    def stop(self) -> None:
        """End it; a beat under way may still arrive."""
        self._stopped.set()
