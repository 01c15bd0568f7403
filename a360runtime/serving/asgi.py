"""The wrapper for many calls a second: an ASGI application around an endpoint."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from a360runtime.serving.crew import Crew
from a360runtime.serving.endpoint import JSON, MOST_CALLS, Endpoint, Reply

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_CLOSED = 499
"""Noted of a call whose caller left before it was answered, as web servers do."""
_GOOD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", JSON.encode())]}


class AsgiApp:
    """Answers calls with `endpoint`; speaks ASGI 3 itself: a framework would cost more than it gives."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._crew: Crew[bytes, Reply] = Crew(endpoint.answer, MOST_CALLS)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        endpoint, method = self._endpoint, scope["method"]
        key = length = None
        for name, value in scope["headers"]:
            if name == b"apikey":
                key = value.decode("latin-1")
            elif name == b"content-length" and value.isdigit():
                length = int(value)
        status = _CLOSED
        try:
            reply = endpoint.admit(method, scope["path"], key, length)
            if reply is None:
                reply = await self._predict(receive)
            if reply is not None:
                await send(self._start(reply))
                await send({"type": "http.response.body", "body": reply.body})
                status = reply.status
        finally:
            if method == "POST":
                endpoint.note(status, started)

    async def _predict(self, receive: Receive) -> Reply | None:
        """Return the answer to a call that was admitted; None when the caller left."""
        endpoint = self._endpoint
        if endpoint.stuck():
            return endpoint.busy()
        event = await receive()
        if event.get("more_body"):
            body = await _rest(event["body"], receive, endpoint.max_body)
        else:
            body = event.get("body")
        if body is None:
            return None
        endpoint.enter()
        try:
            return await self._crew.submit(body)
        finally:
            endpoint.leave()

    def _start(self, reply: Reply) -> dict[str, Any]:
        closing = self._endpoint.stop.is_set()
        if reply.status == 200 and reply.media is JSON and not closing:
            return _GOOD
        headers = [("content-type", reply.media), *reply.headers] + [("connection", "close")] * closing
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
        return {"type": "http.response.start", "status": reply.status, "headers": encoded}


async def _rest(first: bytes, receive: Receive, limit: int) -> bytes | None:
    """Return a body that comes in parts; None when the caller left, and too much when it is too much."""
    parts, size, more = [first], len(first), True
    while more and size <= limit:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        part, more = event.get("body", b""), event.get("more_body", False)
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def create_app(endpoint: Endpoint) -> AsgiApp:
    """Return the ASGI application that answers calls with `endpoint`."""
    return AsgiApp(endpoint)
