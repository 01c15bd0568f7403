"""The usual wrapper: a Flask application around an endpoint."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, request

from a360runtime.serving.endpoint import Endpoint, Reply

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class ModelApp(Flask):
    """Answers every request with `endpoint`, which knows its addresses: no map of them is needed.

    Calls, which are POSTs, are answered before Flask makes its contexts: those cost as much as the prediction
    of a small model, and a script gets its artifacts and the body, never the request.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__("a360runtime.serving", static_folder=None)
        self._endpoint = endpoint

    def wsgi_app(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request as WSGI wants it; a body in one piece, which the server sends as it is."""
        if environ["REQUEST_METHOD"] != "POST":
            answered: Iterable[bytes] = super().wsgi_app(environ, start_response)
            return answered
        reply = self._call(environ)
        start_response(_LINES[reply.status], self._headers(reply))
        return [reply.body]

    def create_url_adapter(self, request: Request | None) -> "MapAdapter | None":
        """Return none, so that no address is looked up."""
        return None

    def dispatch_request(self) -> Response:
        """Answer the request of this context."""
        reply = self._call(request.environ)
        return Response(reply.body, reply.status, self._headers(reply))

    def _call(self, environ: dict[str, Any]) -> Reply:
        length = environ.get("CONTENT_LENGTH", "")
        return self._endpoint.call(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("HTTP_APIKEY"),
            int(length) if length.isdigit() else None,
            environ["wsgi.input"].read,
        )

    def _headers(self, reply: Reply) -> list[tuple[str, str]]:
        closing = [("Connection", "close")] if self._endpoint.stop.is_set() else []
        return [("Content-Type", reply.media), *reply.headers, *closing]


def create_app(endpoint: Endpoint) -> ModelApp:
    """Return the WSGI application that answers calls with `endpoint`."""
    return ModelApp(endpoint)
