"""Keeps a connection to the broker: when one ends there is another, after a while that grows."""

import logging
import random
import threading

from a360runtime.serving.mqtt.connection import Connection, Lost, NotConnected
from a360runtime.serving.mqtt.engine import Engine
from a360runtime.serving.mqtt.settings import Settings

logger = logging.getLogger("a360.serving")

FIRST_SECONDS, LONGEST_SECONDS = 0.25, 60.0


class Keeper:
    """Connects, and connects again, in a thread of its own until it is closed."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._stopping = threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._keep, name="broker", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self) -> None:
        """End the connection for good; the broker keeps the session and what comes for it."""
        self._stopping.set()
        if self._connection is not None:
            self._connection.close()
        self._thread.join(15)

    def _keep(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            connection = Connection(
                self._settings.broker,
                self._settings.client_id,
                self._engine.events.put,
                session_seconds=self._settings.session_seconds,
            )
            self._connection = connection
            try:
                connection.open()
                attempt = 0
                connection.wait()
                connection.close()
            except NotConnected as error:
                self._engine.events.put(Lost(str(error)))
            self._stopping.wait(pause(attempt))
            attempt += 1


def pause(attempt: int) -> float:
    """Return the seconds before another attempt: twice as long each time, and never the same for two."""
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(attempt, 20))
    # Many wrappers lose the same broker at the same moment; they do not come back at the same moment.
    return random.uniform(longest / 2, longest)  # noqa: S311
