"""Measures how long the event loop is held up: nothing that blocks may run on it."""

import asyncio
import ctypes
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import NamedTuple

log = logging.getLogger("a360")
SHORT_NS = 2_000_000


class Moment(NamedTuple):
    """The time, what this thread has computed, how long it was ready and had no processor; nanoseconds.

    `kernel` is what the system computed for it, as far as the system samples it.
    """

    wall: int
    computed: int
    queued: int
    kernel: int = 0


class LoopWatch:
    """Times every callback of an event loop.

    A callback is charged with all the time between its start and its end: what it computes, what it waits
    for, and its waits for the interpreter while other threads of the service compute. Only time in which its
    thread was ready and had no processor is left out (Linux tells it): that is what other programs do to a
    busy machine.

    Modules loaded by a callback are told however short that took: milliseconds where they are compiled and in
    the page cache are a tenth of a second in a new installation.

    Parameters
    ----------
    budget_ms
        What takes longer is logged.
    """

    def __init__(self, budget_ms: int) -> None:
        self.budget_ms = budget_ms
        self.max_ms = 0.0
        self.where = ""
        self._loads = _Loads()

    def install(self) -> None:
        """Measure from now on; call it on the loop's thread."""
        original, thread, clock = asyncio.Handle._run, threading.get_ident(), _clock()
        loads = self._loads
        loads.begin(thread)

        def run(handle: asyncio.Handle) -> None:
            if threading.get_ident() != thread:
                original(handle)
                return
            subject = _subject(handle)
            start = clock()
            original(handle)
            end = clock()
            if loads.asked or end.wall - start.wall > SHORT_NS:
                where = f"{_describe(handle)} {subject}".rstrip()
                if names := loads.taken():
                    log.warning("the event loop loaded %s in %s", ", ".join(names), where)
                self._record(start, end, where)

        asyncio.Handle._run = run  # type: ignore[method-assign, assignment]

    def _record(self, start: Moment, end: Moment, where: str) -> None:
        spent_ms = charge(start, end) / 1e6
        if spent_ms > self.max_ms:
            self.max_ms, self.where = spent_ms, where
        if spent_ms > self.budget_ms:
            log.warning(
                "the event loop was held up for %.0f ms, %.0f of them computing (%.0f in the kernel), by %s",
                spent_ms,
                (end.computed - start.computed) / 1e6,
                (end.kernel - start.kernel) / 1e6,
                where,
            )


class _Loads(MetaPathFinder):
    """Finds no module, and remembers which ones a thread looked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._thread = 0

    def begin(self, thread: int) -> None:
        """Remember what this thread looks for, from now on."""
        self._thread = thread
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> None:
        """Leave it to the next finder."""
        if threading.get_ident() == self._thread:
            self.asked.append(fullname)

    def taken(self) -> list[str]:
        """What was looked for since the last call and found: libraries look for optional ones each time."""
        names = [name for name in self.asked if name in sys.modules]
        self.asked.clear()
        return names


def charge(start: Moment, end: Moment) -> int:
    """The nanoseconds between two moments that the service itself is to blame for."""
    return max(0, end.wall - start.wall - (end.queued - start.queued))


def _subject(handle: asyncio.Handle) -> str:
    """The request that a handler's coroutine is about to go on with; it can be told before the step only."""
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    frame = getattr(owner.get_coro(), "cr_frame", None) if isinstance(owner, asyncio.Task) else None
    request = getattr(frame.f_locals.get("self"), "request", None) if frame else None
    return f"{request.method} {request.path}" if request else ""


def _describe(handle: asyncio.Handle) -> str:
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    return repr(owner.get_coro() if isinstance(owner, asyncio.Task) else handle)


def _in_kernel() -> int:
    return int(resource.getrusage(resource.RUSAGE_THREAD).ru_stime * 1e9)


def _clock() -> Callable[[], Moment]:
    """Reads the clocks of this thread; the last stands still where the system does not tell it."""
    try:
        descriptor = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
    except OSError:
        return lambda: Moment(time.perf_counter_ns(), time.thread_time_ns(), 0)
    buffer = ctypes.create_string_buffer(96)
    # os.pread would give up the interpreter, and wait for it again, in each callback.
    pread = ctypes.PyDLL(None).pread

    def clock() -> Moment:
        pread(descriptor, buffer, len(buffer), 0)
        queued = int(buffer.value.split()[1])
        return Moment(time.perf_counter_ns(), time.thread_time_ns(), queued, _in_kernel())

    return clock
