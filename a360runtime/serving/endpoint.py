"""What an endpoint answers, for every wrapper that speaks HTTP: paths, keys, limits, errors, numbers.

A wrapper hands over method, path and headers, then the body if it is wanted; answers are the same for all.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from a360runtime.serving import metrics, openapi
from a360runtime.serving.access import AccessLog
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.keys import KeyRing
from a360runtime.serving.predictor import BadInput, Predictor, ScriptFailed
from a360runtime.serving.stopping import StopFlag

logger = logging.getLogger("a360.serving")

DEFAULT_MAX_BODY = 10_000_000
"""Bytes a request body may have."""
MOST_CALLS = 62
"""Calls answered at the same time."""
PATIENCE_SECONDS = 0.25
"""How long all of them may go on before further calls are refused."""
_TURN_SECONDS = 0.005

JSON, PROBLEM = "application/json", "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "Not authorised",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    500: "Prediction failed",
    503: "Not now",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, body, media type and further headers."""

    status: int
    body: bytes
    media: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Endpoint:
    """One loaded package behind HTTP. Used from several threads at once.

    Parameters
    ----------
    bundle
        What is served.
    keys
        The keys that open it.
    max_body
        Bytes a body may have.
    access
        Where each call leaves a line.
    stop
        Says that the replica is about to end: it is not ready any more, and connections are not kept.
    """

    def __init__(
        self,
        bundle: Bundle,
        keys: KeyRing,
        max_body: int = DEFAULT_MAX_BODY,
        access: AccessLog | None = None,
        stop: StopFlag | None = None,
    ) -> None:
        self.predictor = Predictor(bundle)
        self.keys, self.max_body = keys, max_body
        self.metrics = metrics.Metrics()
        self.stop = stop or StopFlag()
        self._access = access
        self._manifest = bundle.manifest
        self._full_since = 0.0

    def call(
        self, method: str, path: str, key: str | None, length: int | None, read: Callable[[int], bytes]
    ) -> Reply:
        """Answer one request from start to end, in this thread.

        Parameters
        ----------
        length
            Of the body, where it was announced.
        read
            Returns the body, or as many bytes as it is asked for of a longer one.
        """
        started = time.perf_counter()
        reply = self.admit(method, path, key, length)
        if reply is None:
            reply = self._answer_in_turn(read)
        if method == "POST":
            self.note(reply.status, started)
        return reply

    def admit(self, method: str, path: str, key: str | None, length: int | None) -> Reply | None:
        """Answer what needs no body; None when the body is wanted, for :meth:`answer`."""
        if path != "/":
            name = path.strip("/")
            if name in _PAGES:
                return self._page(name, method, key)
            if "/" in name:
                # Only the description is there under the endpoint's name: it goes through the gateway.
                described = name.partition("/")[2] == "openapi.json"
                return self._page("openapi.json", method, key) if described else _MISSING
        if method != "POST":
            return _not_allowed("POST")
        if not self.keys.accepts(key):
            return _NO_KEY
        if length is not None and length > self.max_body:
            return self.too_large()
        return None

    def answer(self, body: bytes) -> Reply:
        """Answer the body of a call that was admitted."""
        if len(body) > self.max_body:
            return self.too_large()
        try:
            return Reply(200, self.predictor.answer(body))
        except BadInput as error:
            if not error.errors:
                return problem(400, error.detail)
            errors = [
                {"field": each.field, "message": each.message} | ({"row": each.row} if each.row else {})
                for each in error.errors
            ]
            return problem(400, error.detail, errors=errors)
        except ScriptFailed as error:
            return problem(500, f"The prediction script failed; {_ASK}", id=error.incident)
        except Exception:
            incident = uuid.uuid4().hex
            logger.exception("incident=%s The call could not be answered.", incident)
            return problem(500, f"The call could not be answered; {_ASK}", id=incident)

    def note(self, status: int, started: float) -> None:
        """Count a call that was answered, and leave its line.

        Parameters
        ----------
        started
            ``time.perf_counter()`` at its arrival.
        """
        seconds = time.perf_counter() - started
        self.metrics.record(status, seconds)
        if self._access is not None:
            self._access.add(status, seconds)
        if self.stop.is_set():
            self.stop.saw_call()

    def too_large(self) -> Reply:
        """The answer to a body over the limit."""
        return problem(413, f"The body is larger than {self.max_body} bytes.")

    def busy(self) -> Reply:
        """The answer while there is no room: all threads are held by slow predictions."""
        told = (
            f"{MOST_CALLS} calls are being answered, and none came to its end for a while. Call again later."
        )
        reply = problem(503, told)
        return Reply(503, reply.body, PROBLEM, (("Retry-After", "1"),))

    def stuck(self) -> bool:
        """Is there no room for a call, and has there been none for a while?"""
        full = self.metrics.in_flight >= MOST_CALLS
        return full and time.monotonic() - self._full_since > PATIENCE_SECONDS

    def enter(self, most: int | None = None) -> bool:
        """Count a call in, unless there are `most` already. What came in must :meth:`leave`."""
        if not self.metrics.begin(most):
            return False
        if self.metrics.in_flight == MOST_CALLS:
            self._full_since = time.monotonic()
        return True

    def leave(self) -> None:
        """Count a call out."""
        self._full_since = time.monotonic()
        self.metrics.end()

    def _answer_in_turn(self, read: Callable[[int], bytes]) -> Reply:
        while not self.enter(MOST_CALLS):
            # The few threads that are left answer whether the replica is well, and refuse what has no room.
            if self.stuck():
                return self.busy()
            time.sleep(_TURN_SECONDS)
        try:
            return self.answer(read(self.max_body + 1))
        finally:
            self.leave()

    def _page(self, name: str, method: str, key: str | None) -> Reply:
        if method not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD")
        if name == "healthz":
            return _ALIVE
        if name == "readyz":
            return _STOPPING if self.stop.is_set() else _ALIVE
        if name == "metrics":
            return Reply(200, self._metrics_text().encode(), metrics.CONTENT_TYPE)
        # It names the model's fields, so it is for those who may call it.
        return Reply(200, _described(self)) if self.keys.accepts(key) else _NO_KEY

    def _metrics_text(self) -> str:
        """Return all numbers; no key is needed: they say how often and how fast, never what."""
        outliers = self.predictor.outliers
        about = {name: str(self._manifest.get(name) or "") for name in _ABOUT}
        counted = [({"feature": name}, count) for name, count in outliers.counts().items()]
        used = [({"key": key}, round(at, 3)) for key, at in sorted(self.keys.last_used().items())]
        return self.metrics.render(
            (
                metrics.family(
                    "a360_outliers_total", "counter", "Values further than 3 deviations.", counted
                ),
                metrics.family(
                    "a360_values_total",
                    "counter",
                    "Values of numeric features seen.",
                    [({}, outliers.values())],
                ),
                metrics.family(metrics.KEY_USED, "gauge", "When a key last opened the endpoint.", used),
                metrics.family("a360_build_info", "gauge", "What is served.", [(about, 1)]),
            )
        )


_ASK = "the endpoint's log tells more under this id."
_PAGES = {"healthz", "readyz", "metrics", "openapi.json"}
_ABOUT = ("slug", "project", "model_name", "version", "wrapper", "commit", "python")


def problem(status: int, detail: str, **more: Any) -> Reply:
    """Return an RFC 9457 problem document."""
    document: dict[str, Any] = {"type": "about:blank", "title": _TITLES[status], "status": status}
    return Reply(status, json.dumps(document | {"detail": detail} | more).encode(), PROBLEM)


@cache
def _not_allowed(allowed: str) -> Reply:
    reply = problem(405, f"The method is not allowed here; allowed is: {allowed}.")
    return Reply(405, reply.body, PROBLEM, (("Allow", allowed),))


def _described(endpoint: Endpoint) -> bytes:
    return json.dumps(openapi.document(endpoint.predictor.bundle.manifest)).encode()


_ALIVE = Reply(200, b'{"status": "ok"}')
_STOPPING = problem(503, "The replica is stopping.")
_NO_KEY = problem(401, "The apikey header holds no valid key.")
_MISSING = problem(404, "There is nothing at this address.")
