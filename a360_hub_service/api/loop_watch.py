"""Measures how long the event loop is held up: nothing that blocks may run on it."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable

log = logging.getLogger("a360")


class LoopWatch:
    """Times every callback of the event loop that :meth:`install` is called on.

    A callback is charged with what it computes and waits for, but not with the time the machine gave its
    processor to somebody else, where the system tells (Linux).

    Parameters
    ----------
    budget_ms
        Longer callbacks are logged.
    """

    def __init__(self, budget_ms: int) -> None:
        self.budget_ms = budget_ms
        self.max_ms = 0.0
        self.where = ""

    def install(self) -> None:
        """Measure from now on; call it on the loop's thread."""
        original = asyncio.Handle._run
        thread, taken = threading.get_ident(), _taken_ns()

        def run(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                original(handle)
                return
            taken_before, start = taken(), time.perf_counter_ns()
            original(handle)
            spent = time.perf_counter_ns() - start
            if spent > 1_000_000:
                self._record((spent - (taken() - taken_before)) / 1e6, handle)

        asyncio.Handle._run = run  # type: ignore[method-assign, assignment]

    def _record(self, spent_ms: float, handle: asyncio.Handle) -> None:
        if spent_ms > self.max_ms:
            self.max_ms, self.where = spent_ms, _describe(handle)
        if spent_ms > self.budget_ms:
            log.warning("the event loop was held up for %.0f ms by %s", spent_ms, _describe(handle))


def _describe(handle: asyncio.Handle) -> str:
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    return repr(owner.get_coro() if isinstance(owner, asyncio.Task) else handle)


def _taken_ns() -> Callable[[], int]:
    """Tells how long this thread has waited for a processor so far, in nanoseconds; 0 where nobody knows."""
    try:
        # Positional reads of one open file: it is read before and after each callback.
        descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    except OSError:
        return lambda: 0
    return lambda: int(os.pread(descriptor, 96, 0).split()[1])
