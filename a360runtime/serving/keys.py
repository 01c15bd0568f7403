"""The keys that open an endpoint, re-read whenever their file changes."""

import hashlib
import hmac
import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

logger = logging.getLogger("a360.serving")


@dataclass(frozen=True)
class _Key:
    digest: bytes
    expires: float


class KeyRing:
    """Checks keys against a JSON file, a list of ``{"id", "sha256", "expires_at": ISO-8601 or null}``.

    A file that is missing opens nothing; one that cannot be read keeps what was read before.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[_Key, ...] = ()
        self._lock = threading.Lock()

    def accepts(self, key: str | None) -> bool:
        """Is this one of the keys that are valid now?"""
        self._refresh()
        digest = hashlib.sha256((key or "").encode("utf-8", "surrogateescape")).digest()
        now = time.time()
        found = False
        for known in self._keys:
            # Every key is compared, in constant time: how long it takes says nothing about the keys.
            found |= hmac.compare_digest(known.digest, digest) and now < known.expires
        return bool(key) and found

    def _refresh(self) -> None:
        try:
            stat = os.stat(self._path)
        except OSError:
            self._seen, self._keys = None, ()
            return
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen == self._seen:
            return
        with self._lock:
            try:
                with open(self._path, encoding="utf-8") as file:
                    self._keys = tuple(_parse(record) for record in json.load(file))
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.error(
                    "The keys file cannot be read, the keys stay as they were: %s", type(error).__name__
                )
            self._seen = seen


def _parse(record: dict[str, str | None]) -> _Key:
    until = record.get("expires_at")
    expires = float("inf")
    if until:
        moment = datetime.fromisoformat(until)
        expires = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return _Key(bytes.fromhex(str(record["sha256"])), expires)
