"""Threads that work for an event loop, at the price of one switch for all that came at the same time.

A prediction takes some 50 microseconds, a hop to a thread and back by an executor twice that; but a loop that
predicts by itself answers nobody, not even a health check, while a script is slow. So the loop gathers what
came in one of its turns, wakes one thread for all of it, and sleeps until that is done: while it sleeps it
needs no interpreter lock, and there is nothing to tell it across threads. Its sleep is short: what takes
longer goes on without it, and is told the usual way.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

NAP_SECONDS = 0.002
"""The longest that the loop sleeps for its crew."""

Order = TypeVar("Order")
Result = TypeVar("Result")


class _Item(Generic[Order, Result]):
    __slots__ = ("batch", "error", "future", "order", "result")

    def __init__(self, order: Order, future: "asyncio.Future[Result]", batch: "_Batch") -> None:
        self.order, self.future, self.batch = order, future, batch
        self.error: BaseException | None = None
        self.result: Result | None = None

    def settle(self) -> None:
        """Tell who waits; on the loop."""
        if self.future.done():  # its caller left
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]


class _Batch:
    """What came in one turn of the loop. `left` counts what is not done; guarded by the crew's lock."""

    __slots__ = ("awaited", "done", "left")

    def __init__(self) -> None:
        self.left = 0
        self.awaited = True
        self.done = threading.Lock()
        self.done.acquire()


class Crew(Generic[Order, Result]):
    """Runs a function in threads for one event loop.

    Parameters
    ----------
    work
        The function; called from any of the threads, several at a time while some are slow.
    most
        Threads there may be. They are started when all others are busy.
    """

    def __init__(self, work: Callable[[Order], Result], most: int) -> None:
        self._work, self._most = work, most
        self._todo: deque[_Item[Order, Result]] = deque()
        self._gathered: list[_Item[Order, Result]] = []
        self._lock = threading.Lock()
        self._idle: list[threading.Lock] = []
        self._threads = 0
        self._batch = _Batch()
        self._slow = False

    def submit(self, order: Order) -> "asyncio.Future[Result]":
        """Have an order done; call it on the loop. What the function raises is raised by the future."""
        loop = asyncio.get_running_loop()
        if not self._gathered:
            loop.call_soon(self._hand_over, loop)
        future: asyncio.Future[Result] = loop.create_future()
        self._gathered.append(_Item(order, future, self._batch))
        return future

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        items, batch = self._gathered, self._batch
        self._gathered, self._batch = [], _Batch()
        batch.left = len(items)
        # What was slow the last time is not waited for.
        batch.awaited = not self._slow
        self._todo.extend(items)
        self._loop = loop
        self._wake()
        if not batch.awaited:
            return
        if not batch.done.acquire(timeout=NAP_SECONDS):
            with self._lock:
                batch.awaited = batch.left == 0
            if not batch.awaited:
                self._slow = True
                if self._todo:  # the thread that was woken is held up: another one takes the rest
                    self._wake()
        for item in items:
            if item.error is not None or item.result is not None:
                item.settle()

    def _wake(self) -> None:
        """Wake the thread that slept last, or start one."""
        with self._lock:
            thread = self._idle.pop() if self._idle else None
            start = thread is None and self._threads < self._most
            self._threads += start
        if thread is not None:
            thread.release()
        elif start:
            threading.Thread(target=self._run, name=f"crew-{self._threads}", daemon=True).start()

    def _run(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        while True:
            self._do_all()
            with self._lock:
                if self._todo:
                    continue
                self._idle.append(bell)
            bell.acquire()

    def _do_all(self) -> None:
        while True:
            try:
                item = self._todo.popleft()
            except IndexError:
                return
            if self._todo and not item.batch.awaited:
                self._wake()  # this order may be a slow one: the next is another thread's
            began = time.monotonic()
            try:
                item.result = self._work(item.order)
            except BaseException as error:  # whatever it is, somebody waits to hear of it
                item.error = error
            if time.monotonic() - began < NAP_SECONDS:
                self._slow = False
            batch = item.batch
            with self._lock:
                batch.left -= 1
                awaited, last = batch.awaited, batch.left == 0
            if not awaited:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon_threadsafe(item.settle)
            elif last:
                batch.done.release()
