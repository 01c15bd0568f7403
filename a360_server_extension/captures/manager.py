"""Captures of one server: queued, executed in workers, closed on the platform, and found again later."""

import asyncio
import logging
from datetime import datetime
from typing import Any

from a360_server_extension.captures import record
from a360_server_extension.captures.process import SECONDS_TO_STOP, WorkerDied, WorkerProcess
from a360_server_extension.captures.record import Capture, Store
from a360mdk import open_runs
from a360mdk.client import Client
from a360mdk.heartbeat import Heartbeat
from a360mdk.settings import Settings

PARALLEL = 2
"""Notebooks at a time; each has a kernel, which takes memory."""
MOST_WAITING = 50
WARM_SECONDS = 600.0
"""How long a worker waits for the next notebook: it holds some memory, and saves seconds."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0

_CANCELLED = {"name": "Cancelled", "message": "It was cancelled."}
_INTERRUPTED = {"name": "Interrupted", "message": "The workspace's server ended before the notebook did."}


class Captures:
    """All captures of a workspace.

    Use it on the event loop; what takes time happens in other processes and threads.

    Parameters
    ----------
    store
        Where they are kept.
    log
        The server's log.
    """

    def __init__(self, store: Store, log: logging.Logger) -> None:
        self.store, self._log = store, log
        self._known = {capture.id: capture for capture in store.load()}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._halted: dict[str, dict[str, Any]] = {}
        self._working: dict[str, WorkerProcess] = {}
        self._slots = asyncio.Semaphore(PARALLEL)
        self._warm: list[tuple[WorkerProcess, asyncio.TimerHandle]] = []
        self._changed = asyncio.Event()

    def resume(self) -> None:
        """Take up what an earlier server left: what it did not end was interrupted, and is closed as such."""
        for capture in self._known.values():
            open_runs.unmark(capture.run["id"])  # its process is gone, though a new one may have its number
            if not capture.active:
                continue
            if capture.state != record.CLOSING:
                capture.outcome, capture.state = record.INTERRUPTED, record.CLOSING
                cell = capture.done + 1 if capture.cells else None
                capture.error = {**_INTERRUPTED, "cell": cell}
                self._save(capture)
            self._begin(capture)

    def all(self) -> list[Capture]:
        """Return every capture, newest first."""
        return sorted(self._known.values(), key=lambda capture: capture.id, reverse=True)

    def get(self, capture_id: str) -> Capture | None:
        """Return one capture."""
        return self._known.get(capture_id)

    def active(self) -> int:
        """Return how many are not at their end."""
        return sum(capture.active for capture in self._known.values())

    async def wait(self, capture: Capture, seen: int, seconds: float) -> None:
        """Return when the capture has gone on from ``seen`` cells, has changed state, or time is up."""
        state = capture.state
        try:
            async with asyncio.timeout(seconds):
                while capture.active and (capture.done, capture.state) == (seen, state):
                    await self._changed.wait()
        except TimeoutError:
            return

    def add(self, capture: Capture) -> None:
        """Queue a capture whose run has begun and whose notebook is in the store."""
        self._known[capture.id] = capture
        self._save(capture)
        for old in [each for each in self.all() if not each.active][record.KEPT :]:
            self.remove(old)
        self._begin(capture)

    def cancel(self, capture: Capture) -> None:
        """Stop a capture that is queued or running; it ends a moment later."""
        self._halt(capture, _CANCELLED)

    def remove(self, capture: Capture) -> None:
        """Forget a capture that has ended."""
        self._known.pop(capture.id, None)
        self.store.remove(capture.id)

    def _begin(self, capture: Capture) -> None:
        task = asyncio.get_running_loop().create_task(self._live(capture))
        self._tasks[capture.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(capture.id, None))

    async def _live(self, capture: Capture) -> None:
        """Take it from wherever it stands to its end; an open run all that time, which is activity.

        The platform is told so too: the run of a workspace that never comes back counts as failed.
        """
        open_runs.mark(capture.run["id"])
        heartbeat: Heartbeat | None = None
        try:
            settings = Settings.from_environment()
            heartbeat = Heartbeat(Client(settings.api_url, settings.token), capture.run)
            if capture.state == record.QUEUED:
                async with self._slots:
                    await self._execute(capture)
            await self._close(capture)
        except Exception:
            self._log.exception("A360: the capture %s of %s broke off", capture.id, capture.notebook)
            capture.state, capture.ended_at = record.FAILED, record.now()
            capture.detail = "The server's log says why it broke off."
            self._save(capture)
        finally:
            if heartbeat is not None:
                heartbeat.stop()
            self._halted.pop(capture.id, None)
            open_runs.unmark(capture.run["id"])

    async def _execute(self, capture: Capture) -> None:
        error: dict[str, Any] | None = None
        if capture.id not in self._halted:
            capture.state, capture.started_at = record.RUNNING, record.now()
            self._save(capture)
            worker = self._working[capture.id] = await self._worker()
            try:
                error = await self._follow(capture, worker)
            except WorkerDied as died:
                message = f"The process that ran it ended ({died}). Too little memory is the usual reason."
                error = {"name": "WorkerDied", "message": message, "cell": capture.done + 1}
            finally:
                self._working.pop(capture.id)
                self._release(worker)
        halted = self._halted.get(capture.id)
        if halted and (error is not None or capture.started_at is None):
            error = {"cell": (error or {}).get("cell"), **halted}
        capture.outcome = record.FINISHED if error is None else record.FAILED
        if error is not None and halted is _CANCELLED:
            capture.outcome = record.CANCELLED
        capture.error, capture.state = error, record.CLOSING
        self._save(capture)

    async def _follow(self, capture: Capture, worker: WorkerProcess) -> dict[str, Any] | None:
        """Have the worker execute the notebook; return what ended it early."""
        limit: asyncio.TimerHandle | None = None
        error: dict[str, Any] | None = None
        try:
            async for event in worker.ask(
                ("executed",),
                do="execute",
                source=str(self.store.source(capture.id)),
                executed=str(self.store.executed(capture.id)),
                parameters=capture.parameters,
                origin=capture.notebook,
            ):
                if event["event"] == "begun":
                    capture.cells = event["cells"]
                    limit = self._limit(capture)
                    if capture.id in self._halted:  # it came while the worker was still importing
                        self._stop(capture, worker)
                elif event["event"] == "cell":
                    capture.done = event["done"]
                elif event["event"] == "executed":
                    error = event["error"]
                self._save(capture)
        finally:
            if limit is not None:
                limit.cancel()
        return error

    def _limit(self, capture: Capture) -> asyncio.TimerHandle | None:
        if capture.time_limit is None:
            return None
        over = {"name": "TimeLimit", "message": f"It ran longer than its limit of {capture.time_limit:g} s."}
        return asyncio.get_running_loop().call_later(capture.time_limit, self._halt, capture, over)

    def _halt(self, capture: Capture, reason: dict[str, Any]) -> None:
        if capture.state not in (record.QUEUED, record.RUNNING) or capture.id in self._halted:
            return
        self._halted[capture.id] = reason
        worker = self._working.get(capture.id)
        if worker is None or not capture.cells:
            return  # it has not begun yet, and will look before it does
        self._stop(capture, worker)

    def _stop(self, capture: Capture, worker: WorkerProcess) -> None:
        worker.stop_notebook()
        asyncio.get_running_loop().call_later(SECONDS_TO_STOP, self._kill_if_still, capture, worker)

    def _kill_if_still(self, capture: Capture, worker: WorkerProcess) -> None:
        if self._working.get(capture.id) is worker:
            worker.kill()

    async def _close(self, capture: Capture) -> None:
        """Store what came out and close the run, as often as it takes for the service to answer."""
        seconds = _between(capture.started_at, record.now())
        wait = FIRST_WAIT
        while (event := await self._register(capture, seconds))["event"] == "unreachable":
            capture.detail = f"The A360 service does not answer; it is asked again. {event['detail']}"
            self._save(capture)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        capture.stored, capture.detail = bool(event.get("stored")), event["detail"]
        failed = event["event"] == "refused" or (capture.outcome == record.FINISHED and not capture.stored)
        capture.state = record.FAILED if failed else capture.outcome or record.FAILED
        if failed and capture.error is None:
            capture.error = {"name": "NotStored", "message": capture.detail, "cell": None}
        capture.ended_at = record.now()
        self._save(capture)

    async def _register(self, capture: Capture, seconds: float) -> dict[str, Any]:
        told = {**capture.document(), "run": capture.run, "outcome": capture.outcome}
        executed = str(self.store.executed(capture.id))
        worker = await self._worker()
        try:
            ends = ("registered", "refused", "unreachable")
            events = [
                event
                async for event in worker.ask(
                    ends, do="register", capture=told, executed=executed, seconds=seconds
                )
            ]
        except WorkerDied as died:
            return {"event": "unreachable", "detail": f"The process that asked it ended ({died})."}
        finally:
            self._release(worker)
        return events[-1]

    async def _worker(self) -> WorkerProcess:
        while self._warm:
            worker, timer = self._warm.pop()
            timer.cancel()
            if worker.alive:
                return worker
        return await WorkerProcess.start()

    def _release(self, worker: WorkerProcess) -> None:
        """Keep one worker warm, and that not for ever."""
        loop = asyncio.get_running_loop()
        if not worker.alive:
            worker.kill()  # nothing is left of one that broke off in the middle of an answer
            return
        if self._warm:
            self._ending = loop.create_task(worker.end())
            return
        self._warm.append((worker, loop.call_later(WARM_SECONDS, self._cool)))

    def _cool(self) -> None:
        for worker, _ in self._warm:
            self._ending = asyncio.get_running_loop().create_task(worker.end())
        self._warm.clear()

    def _save(self, capture: Capture) -> None:
        try:
            self.store.save(capture)
        except OSError as error:  # a full disk is no reason to stop the notebook
            self._log.warning("A360: the state of the capture %s is not on disk: %s", capture.id, error)
        self._changed.set()
        self._changed = asyncio.Event()


def _between(start: str | None, end: str) -> float:
    if start is None:
        return 0.0
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
