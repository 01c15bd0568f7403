"""The log of every job: rows that are never changed, and word to those who watch."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..database import Database
from ..entities import Job, JobEvent, utcnow
from .work import ACTIVE

log = logging.getLogger("a360.jobs")
LONGEST = 8000
"""Characters of one event; what is longer loses its middle."""


class Journal:
    """Writes and reads the events of jobs.

    Viewers are told at once when they are in this process; others find new rows when they look.

    Parameters
    ----------
    database
        Where the events are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._viewers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}
        self._unwritten: dict[str, list[JobEvent]] = {}

    def append(self, job_id: str, kind: str, message: str, step: str = "") -> None:
        """Write one event in a transaction of its own.

        A log must not break the work it tells about: what cannot be written now (the disk is full) is kept
        and written with the next event.
        """
        with self._writing:
            with self._lock:
                self._unwritten.setdefault(job_id, []).append(_event(job_id, kind, message, step))
            try:
                with self.database.session() as session:
                    self.flush(session, job_id)
            except SQLAlchemyError as error:
                log.warning("the log of job %s cannot be written now: %s", job_id, error)
            else:
                self.written(job_id)

    def add(self, session: Session, job_id: str, kind: str, message: str, step: str = "") -> None:
        """Write one event in the caller's transaction; call :meth:`written` after it."""
        self.flush(session, job_id)
        session.add(_event(job_id, kind, message, step))
        session.flush()

    def flush(self, session: Session, job_id: str) -> None:
        """Write what is waiting, if the job still exists."""
        with self._lock:
            waiting = list(self._unwritten.get(job_id, ()))
        if waiting and session.get(Job, job_id) is not None:
            for event in waiting:
                # Copies, since a rollback would leave the originals tied to a session that is gone.
                session.add(
                    JobEvent(
                        job_id=job_id, at=event.at, kind=event.kind, step=event.step, message=event.message
                    )
                )
                session.flush()

    def written(self, job_id: str) -> None:
        """What was waiting is committed: forget it, and tell the viewers."""
        with self._lock:
            self._unwritten.pop(job_id, None)
            viewers = list(self._viewers.get(job_id, ()))
        for loop, news in viewers:
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:
                log.debug("a viewer of job %s is gone", job_id)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event of the running loop that is set whenever the job has news."""
        viewer = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._viewers.setdefault(job_id, set()).add(viewer)
        try:
            yield viewer[1]
        finally:
            with self._lock:
                self._viewers[job_id].discard(viewer)
                if not self._viewers[job_id]:
                    del self._viewers[job_id]


def read(session: Session, job_id: str, *, after: int, limit: int) -> tuple[Sequence[JobEvent], Job | None]:
    """The events that follow one, and the job once none follows them (``None`` while more may come)."""
    job = session.get(Job, job_id)
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > after)
    events = session.scalars(query.order_by(JobEvent.seq).limit(limit)).all()
    ended = job is not None and job.status not in ACTIVE and len(events) < limit
    return events, job if ended else None


def _event(job_id: str, kind: str, message: str, step: str) -> JobEvent:
    if len(message) > LONGEST:
        message = f"{message[: LONGEST // 2]} […] {message[-LONGEST // 2 :]}"
    # PostgreSQL takes no NUL in a text.
    message = message.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return JobEvent(job_id=job_id, at=utcnow(), kind=kind, step=step, message=message)
