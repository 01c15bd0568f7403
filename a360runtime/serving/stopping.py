"""The end of a replica: first it says so, then it waits until nobody calls it any more, then it stops."""

import mmap
import threading
import time
from collections.abc import Callable
from typing import Any

QUIET_SECONDS = 0.15
_POLL_SECONDS = 0.03


class StopFlag:
    """A flag that the server's process and its worker share; make it before the worker is forked."""

    def __init__(self) -> None:
        # Two bytes of shared memory: reading one costs a call next to nothing.
        self._bytes = mmap.mmap(-1, 2)

    def is_set(self) -> bool:
        """Is the replica about to end?"""
        return self._bytes[0] != 0

    def set(self) -> None:
        """Say that it is."""
        self._bytes[0] = 1

    def saw_call(self) -> None:
        """Say, from the worker, that calls still come."""
        self._bytes[1] = (self._bytes[1] + 1) & 255

    def calls_seen(self) -> int:
        """A number that changes as long as calls come."""
        return self._bytes[1]


def linger(flag: StopFlag, at_least: float, at_most: float, stop: Callable[[], Any]) -> None:
    """Set the flag, and call `stop` from another thread when no call has come for a moment.

    Meanwhile callers and whoever distributes calls learn that the replica ends: ``/readyz`` says 503, and
    each answer closes its connection, so that no call is on its way on one that is about to be cut.

    Parameters
    ----------
    at_least
        Seconds to wait in any case: as long as it takes until no new calls are sent here.
    at_most
        Seconds after which callers that do not listen are left.
    """
    flag.set()

    def wait() -> None:
        begin = last = time.monotonic()
        seen = flag.calls_seen()
        while (now := time.monotonic()) - begin < at_most:
            if flag.calls_seen() != seen:
                seen, last = flag.calls_seen(), now
            if now - begin >= at_least and now - last >= QUIET_SECONDS:
                break
            time.sleep(_POLL_SECONDS)
        stop()

    threading.Thread(target=wait, name="linger", daemon=True).start()
