"""Measures how long the event loop is held up: nothing that blocks may run on it."""

import asyncio
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

log = logging.getLogger("a360")
SHORT_NS = 2_000_000
NAP_NS = 10_000_000
"""A thread that waits for the interpreter wakes up every 5 ms to ask for it; on a busy machine less often."""


class Moment(NamedTuple):
    """Clocks of the loop's thread, in nanoseconds, and how often it has gone to sleep."""

    wall: int
    computed: int
    queued: int
    naps: int


class LoopWatch:
    """Times every callback of an event loop.

    A callback is charged with what it computes and with what it waits for. It is not charged with what other
    programs do to a busy machine: time in which its thread was ready and had no processor (told by Linux
    only), or waited for the interpreter, whose holder may have had none.

    Parameters
    ----------
    budget_ms
        What takes longer is logged.
    """

    def __init__(self, budget_ms: int) -> None:
        self.budget_ms = budget_ms
        self.max_ms = 0.0
        self.where = ""

    def install(self) -> None:
        """Measure from now on; call it on the loop's thread."""
        original, thread, clock = asyncio.Handle._run, threading.get_ident(), _clock()

        def run(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                original(handle)
                return
            start = clock()
            original(handle)
            end = clock()
            if end.wall - start.wall > SHORT_NS:
                self._record(start, end, handle)

        asyncio.Handle._run = run  # type: ignore[method-assign, assignment]

    def _record(self, start: Moment, end: Moment, handle: asyncio.Handle) -> None:
        spent_ms = charge(start, end) / 1e6
        if spent_ms > self.max_ms:
            self.max_ms, self.where = spent_ms, _describe(handle)
        if spent_ms > self.budget_ms:
            clocks = [after - before for before, after in zip(start, end, strict=True)]
            log.warning(
                "the event loop was held up for %.0f ms by %s %s", spent_ms, _describe(handle), clocks
            )


def charge(start: Moment, end: Moment) -> int:
    """The nanoseconds between two moments that the callback itself is to blame for."""
    computed, naps = end.computed - start.computed, end.naps - start.naps
    slept = max(0, end.wall - start.wall - computed - (end.queued - start.queued))
    # Many short naps: it was waiting for the interpreter. Few long ones: for a disk, a server or a lock.
    return computed if naps and slept / naps <= NAP_NS else computed + slept


def _describe(handle: asyncio.Handle) -> str:
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    return repr(owner.get_coro() if isinstance(owner, asyncio.Task) else handle)


def _clock() -> Callable[[], Moment]:
    """Reads the clocks of this thread; what the system does not tell stands still."""
    try:
        import resource

        of_thread = resource.RUSAGE_THREAD
        descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    except (ImportError, AttributeError, OSError):
        return lambda: Moment(time.perf_counter_ns(), time.thread_time_ns(), 0, 0)
    buffer = ctypes.create_string_buffer(96)
    # os.pread would give up the interpreter, and wait for it again, in each callback.
    pread = ctypes.PyDLL(None).pread

    def clock() -> Moment:
        pread(descriptor, buffer, len(buffer), 0)
        queued = int(buffer.value.split()[1])
        return Moment(
            time.perf_counter_ns(), time.thread_time_ns(), queued, resource.getrusage(of_thread).ru_nvcsw
        )

    return clock
