"""Jobs and their logs, as pages and as streams."""

import asyncio
import json
from datetime import datetime

from pydantic import Field
from sqlalchemy.orm import Session
from tornado.iostream import StreamClosedError

from ..entities import Job, JobEvent
from ..errors import Forbidden, Invalid, NotFound
from ..jobs import journal
from ..services import jobs
from ..services.paging import decode_cursor, encode_cursor
from .handlers import BaseHandler, Web, serialise
from .routing import Call, Page, PageQuery, Route, View
from .scope import authorise

POLL_SECONDS = 2.0
"""How often a stream looks for events that another process wrote."""
HEARTBEAT_SECONDS = 15.0
BATCH = 200
LAST = 2**53
_EVENT_STREAM = "text/event-stream"


class JobView(View):
    """Long work on a model."""

    id: str
    kind: str
    model_id: str
    subject_id: str = Field(description="The package or endpoint it is about.")
    status: str
    error: str | None
    hint: str | None
    created_by: str
    cancelled_by: str | None = Field(description="Who cancelled it; it may still be at work for a moment.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class JobEventView(View):
    """One line of a job's log."""

    seq: int
    at: datetime
    kind: str = Field(description="`step`, `log` or `status`.")
    message: str
    step: str


class JobEventsQuery(PageQuery):
    """Where in the log to begin."""

    after: int = Field(0, ge=0, le=LAST, description="Only events after this one.")


def list_jobs(call: Call) -> Page[JobView]:
    """List a model's jobs, newest first"""
    rows, cursor = jobs.list_jobs(call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor)
    return Page(items=[JobView.model_validate(row) for row in rows], next_cursor=cursor)


def get_job(call: Call) -> JobView:
    """Show a job"""
    return JobView.model_validate(call.entity)


def cancel_job(call: Call) -> JobView:
    """Cancel a job"""
    return JobView.model_validate(jobs.cancel(call.session, call.context, call.actor, call.entity))


class JobHandler(BaseHandler):
    """A stream of a job's events, for those who may see them."""

    def _authorise(self, session: Session) -> Job:
        assert self.actor
        job: Job = authorise(session, self.actor, self.route.action, self.ids)
        return job


class JobLogHandler(JobHandler):
    """A job's log as a file to keep."""

    operations = {"GET": "get_job_log"}

    def compute_etag(self) -> None:
        """Leave it without: tornado would make one of what is in memory."""

    async def get(self, job_id: str) -> None:
        """Download a job's log, up to now"""
        self.route.query.model_validate(self.query_arguments())
        after, more = 0, True
        while more:
            text, after, more = await self.web.run(self._lines, job_id, after)
            if not self._headers_written:
                self.set_header("Content-Type", "text/plain; charset=utf-8")
                self.set_header("Content-Disposition", f'attachment; filename="job-{job_id}.log"')
            self.write(text)
            await self.flush()
        await self.finish()

    def _lines(self, job_id: str, after: int) -> tuple[bytes, int, bool]:
        with self.web.context.database.session(write=False) as session:
            self._authorise(session)
            events, _ = journal.read(session, job_id, after=after, limit=BATCH)
        last = events[-1].seq if events else after
        return "".join(map(_line, events)).encode(), last, len(events) == BATCH


class JobEventsHandler(JobHandler):
    """A job's log: a page of JSON, or Server-Sent Events for those who accept them."""

    operations = {"GET": "list_job_events"}

    def initialize(self, web: Web, routes: dict[str, Route] | None = None) -> None:
        """Take the parts."""
        super().initialize(web, routes)
        self._gone = asyncio.Event()
        self._news: asyncio.Event | None = None

    async def get(self, job_id: str) -> None:
        """List a job's events, or follow them as they come"""
        query = JobEventsQuery.model_validate(self.query_arguments())
        if _EVENT_STREAM in self.request.headers.get("Accept", ""):
            await self._follow(job_id, self._last_seen(query))
            return
        after = _position(query.cursor) if query.cursor is not None else query.after
        page = await self.web.run(self._page, job_id, after, query.limit)
        self.set_header("Content-Type", "application/json")
        await self.finish(serialise(page) or b"")

    def on_connection_close(self) -> None:
        """The viewer is gone: let the stream end."""
        self._gone.set()
        if self._news is not None:
            self._news.set()

    def _last_seen(self, query: JobEventsQuery) -> int:
        given = self.request.headers.get("Last-Event-ID", "")
        if not given:
            return query.after
        if not given.isascii() or not given.isdigit() or int(given[:17]) > LAST or len(given) > 17:
            raise Invalid.field("Last-Event-ID", "is not the number of an event")
        return int(given)

    def _page(self, job_id: str, after: int, limit: int) -> Page[JobEventView]:
        with self.web.context.database.session(write=False) as session:
            self._authorise(session)
            events, _ = journal.read(session, job_id, after=after, limit=limit + 1)
        cursor = encode_cursor(str(events[limit - 1].seq)) if len(events) > limit else None
        return Page(items=[JobEventView.model_validate(e) for e in events[:limit]], next_cursor=cursor)

    async def _follow(self, job_id: str, after: int) -> None:
        """Send what there is, then what comes, until the job has ended or the viewer left."""
        self.set_header("Content-Type", _EVENT_STREAM)
        self.set_header("X-Accel-Buffering", "no")
        quiet_since = asyncio.get_running_loop().time()
        with self.web.context.jobs.journal.watch(job_id) as self._news:
            while not self._gone.is_set():
                self._news.clear()
                try:
                    text, after, more, ended = await self.web.run(self._batch, job_id, after)
                except (NotFound, Forbidden):
                    if self._headers_written:
                        return
                    raise
                now = asyncio.get_running_loop().time()
                if not text and now - quiet_since >= HEARTBEAT_SECONDS:
                    text = b": still here\n\n"
                if text or not self._headers_written:
                    quiet_since = now
                    self.write(text)
                    try:
                        await self.flush()
                    except StreamClosedError:
                        return
                if ended:
                    await self.finish()
                    return
                if not more:
                    await self._wait(self._news)

    @staticmethod
    async def _wait(news: asyncio.Event) -> None:
        try:
            await asyncio.wait_for(news.wait(), POLL_SECONDS)
        except TimeoutError:
            return

    def _batch(self, job_id: str, after: int) -> tuple[bytes, int, bool, bool]:
        """The next events as text, the number of the last one, whether more wait, and whether all is told."""
        with self.web.context.database.session(write=False) as session:
            # Whoever loses the project while watching stops seeing its logs.
            self._authorise(session)
            events, ended = journal.read(session, job_id, after=after, limit=BATCH)
        lines = [_sse(event) for event in events]
        if ended is not None:
            lines.append(f"event: end\ndata: {json.dumps({'status': ended.status})}\n\n")
        last = events[-1].seq if events else after
        return "".join(lines).encode(), last, len(events) == BATCH, ended is not None


def _line(event: JobEvent) -> str:
    """An event as lines of a file: when, where in the job, and what; further lines are set in."""
    head = f"{event.at.isoformat(timespec='milliseconds')} {event.step or event.kind}: "
    return head + event.message.replace("\n", "\n  ") + "\n"


def _sse(event: JobEvent) -> str:
    data = JobEventView.model_validate(event).model_dump_json()
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n"


def _position(cursor: str) -> int:
    value = decode_cursor(cursor)
    if not value.isascii() or not value.isdigit() or len(value) > 15:
        raise Invalid.field("cursor", "is not one that this list gave")
    return int(value)
