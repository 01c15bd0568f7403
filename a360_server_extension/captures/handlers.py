"""The routes below ``/a360/captures`` of a workspace's server."""

import asyncio
import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado.web import authenticated

from a360_server_extension.captures import asking
from a360_server_extension.captures.manager import MOST_WAITING, Captures
from a360_server_extension.captures.record import CLOSING, Capture
from a360mdk.exceptions import ConfigurationError, GraphQLError, RunError, SchedulerError

LONGEST_POLL = 30.0


class _Handler(APIHandler):
    """What they have in common: the captures, answers as JSON, refusals in three parts."""

    auth_resource = "a360-captures"
    _track_activity = False  # a page that watches is no work; a capture counts by itself

    def initialize(self, captures: Captures) -> None:
        """Take the captures."""
        self.captures = captures

    def answer(self, document: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.finish(json.dumps(document))

    def refuse(self, status: int, error: Any) -> None:
        """Answer with what happened, why, and what to do, as problem documents say it (RFC 9457).

        ``message`` is for Jupyter's own front ends.
        """
        told = {"title": error.what, "detail": error.why, "hint": error.hint, "status": status}
        self.set_status(status)
        body = json.dumps({**told, "message": str(error)})
        self.finish(body, set_content_type="application/problem+json")

    def missing(self) -> None:
        """Answer that there is no such capture."""
        self.refuse(
            404,
            SchedulerError(
                "There is no such capture.",
                "It was removed, or belongs to another workspace.",
                "GET /a360/captures lists them.",
            ),
        )


class CapturesHandler(_Handler):
    """All captures."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """List them, newest first."""
        self.answer({"captures": [capture.document() for capture in self.captures.all()]})

    @authenticated
    @authorized
    async def post(self) -> None:
        """Begin one: ``notebook``, ``experiment_id``, and if wanted ``parameters`` and ``time_limit``."""
        if self.captures.active() >= MOST_WAITING:
            busy = SchedulerError(
                "The notebook was not captured.",
                f"{MOST_WAITING} others are waiting or running.",
                "Wait for some of them to end, or cancel them.",
            )
            self.refuse(429, busy)
            return
        root = str(self.settings.get("server_root_dir") or "~")
        try:
            asking.require_papermill()
            wanted = await asyncio.to_thread(asking.read, self.get_json_body() or {}, root)
            capture = await asyncio.to_thread(asking.begin, wanted, self.captures.store)
        except SchedulerError as error:
            self.refuse(400, error)
        except (RunError, ConfigurationError, GraphQLError) as error:
            self.refuse(error.status if 400 <= error.status < 500 else 503, error)
        else:
            self.captures.add(capture)
            self.answer(capture.document(), 201)


class CaptureHandler(_Handler):
    """One capture."""

    @authenticated
    @authorized
    async def get(self, capture_id: str) -> None:
        """Show it; with ``after`` cells and ``wait`` seconds, once it has gone on from there."""
        if (capture := self._found(capture_id)) is None:
            return
        wait = _number(self.get_query_argument("wait", "0"))
        if wait > 0:
            seen = int(_number(self.get_query_argument("after", str(capture.done))))
            await self.captures.wait(capture, seen, min(wait, LONGEST_POLL))
        self.answer(capture.document())

    @authenticated
    @authorized
    async def delete(self, capture_id: str) -> None:
        """Cancel it if it has not ended, else forget it."""
        if (capture := self._found(capture_id)) is None:
            return
        if not capture.active:
            self.captures.remove(capture)
            self.set_status(204)
            self.finish()
        elif capture.state == CLOSING:
            late = SchedulerError(
                "The capture was not cancelled.", "It is being closed already.", "Wait for it to end."
            )
            self.refuse(409, late)
        else:
            self.captures.cancel(capture)
            self.answer(capture.document(), 202)

    def _found(self, capture_id: str) -> Capture | None:
        capture = self.captures.get(capture_id)
        if capture is None:
            self.missing()
        return capture


class NotebookHandler(_Handler):
    """The executed notebook of a capture, as far as it came."""

    @authenticated
    @authorized
    async def get(self, capture_id: str) -> None:
        """Download it."""
        path = self.captures.store.executed(capture_id)
        if self.captures.get(capture_id) is None or not path.is_file():
            self.missing()
            return
        content = await asyncio.to_thread(path.read_bytes)
        self.set_header("Content-Disposition", 'attachment; filename="executed.ipynb"')
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(content, set_content_type="application/x-ipynb+json")


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e9 else 0.0


def routes(base: str, captures: Captures) -> list[Any]:
    """Return the handlers below ``base``."""
    one = r"(?P<capture_id>[0-9a-f]+-[0-9a-f]+)"
    given = {"captures": captures}
    return [
        (f"{base}/a360/captures", CapturesHandler, given),
        (f"{base}/a360/captures/{one}", CaptureHandler, given),
        (f"{base}/a360/captures/{one}/notebook", NotebookHandler, given),
    ]
