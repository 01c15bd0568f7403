"""The keys that open an endpoint, re-read whenever their file changes."""

import hashlib
import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

logger = logging.getLogger("a360.serving")

LOOK_SECONDS = 0.5
"""For how long a key that was found is good without a look at the file."""
MISS_SECONDS = 0.005
"""The same for one that was not found: who sends thousands of wrong keys does not make us look at each."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    expires: float


class KeyRing:
    """Checks keys against a JSON file, a list of ``{"id", "sha256", "expires_at": ISO-8601 or null}``.

    A file that is missing opens nothing; one that cannot be read keeps what was read before.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._looked = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[bytes, _Key] = {}
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()
        self._look()

    def accepts(self, key: str | None) -> bool:
        """Is this one of the keys that are valid now? Remembers when, for :meth:`last_used`."""
        if not key:
            return False
        # Found by its hash: how long that takes says something about hashes, of which nobody can choose one,
        # and it takes the same with one key and with a hundred.
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        now = time.time()
        known = self._keys.get(digest)
        if known is None or now - self._looked > LOOK_SECONDS:
            if now - self._looked > MISS_SECONDS:
                self._look()
            # Another thread may have looked since.
            known = self._keys.get(digest)
        if known is None or now >= known.expires:
            return False
        self._used[known.id] = now
        return True

    def last_used(self) -> dict[str, float]:
        """When each key last opened the endpoint since the start, in seconds of the epoch, by its id."""
        present = {known.id for known in self._keys.values()}
        return {key: at for key, at in self._used.copy().items() if key in present}

    def _look(self) -> None:
        """Read the file if it changed. Who comes meanwhile waits: the keys are those of after the look."""
        begun = time.time()
        with self._lock:
            if self._looked >= begun:
                return
            self._refresh()
            self._looked = time.time()

    def _refresh(self) -> None:
        try:
            stat = os.stat(self._path)
        except OSError:
            self._seen, self._keys = None, {}
            return
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen == self._seen:
            return
        try:
            with open(self._path, encoding="utf-8") as file:
                self._keys = dict(_parse(record) for record in json.load(file))
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.error("The keys file cannot be read, the keys stay as they were: %s", type(error).__name__)
        self._seen = seen


def _parse(record: dict[str, str | None]) -> tuple[bytes, _Key]:
    until = record.get("expires_at")
    expires = float("inf")
    if until:
        moment = datetime.fromisoformat(until)
        expires = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return bytes.fromhex(str(record["sha256"])), _Key(str(record["id"]), expires)
