"""Short-lived tokens that are used again until shortly before they expire."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

SPARE = timedelta(minutes=5)
"""What begins with a token takes a while."""
_MOST = 1000

Made = tuple[str, datetime]
"""A token, and when it expires."""


class KeptTokens:
    """Tokens by what they are for, in memory only. Of several threads that ask for one, one makes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[tuple[str, ...], threading.Lock] = {}
        self._kept: dict[tuple[str, ...], Made] = {}

    def get(self, key: tuple[str, ...], make: Callable[[], Made | None]) -> str:
        """Return the token for `key`, a new one if it is about to expire; "" when there is none to be had."""
        with self._lock:
            self._forget_expired()
            making = self._making.setdefault(key, threading.Lock())
        with making:
            token, expires = self._kept.get(key, ("", datetime.min.replace(tzinfo=UTC)))
            if datetime.now(UTC) + SPARE < expires:
                return token
            made = make()
            if made is not None:
                self._kept[key] = made
            return made[0] if made else ""

    def _forget_expired(self) -> None:
        if len(self._making) < _MOST:
            return
        now = datetime.now(UTC)
        live = {key: made for key, made in self._kept.items() if made[1] > now}
        busy = {key: lock for key, lock in self._making.items() if lock.locked() or key in live}
        self._kept, self._making = live, busy
