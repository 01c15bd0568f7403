"""The usual wrapper: a Flask application around an endpoint."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, request

from a360runtime.serving.endpoint import Endpoint, Reply

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Answer(Response):
    """A finished answer. Its body is handed to the server in one piece, which sends it as it is."""

    def __init__(self, reply: Reply, closing: bool) -> None:
        super().__init__(reply.body, reply.status, reply.headers, content_type=reply.media)
        if closing:
            self.headers["Connection"] = "close"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer as WSGI wants it."""
        body = self.response
        start_response(self.status, self.headers.to_wsgi_list())
        return body  # type: ignore[return-value]


class ModelApp(Flask):
    """Answers every request with `endpoint`, which knows its addresses: no map of them is needed."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__("a360runtime.serving", static_folder=None)
        self._endpoint = endpoint

    def create_url_adapter(self, request: Request | None) -> "MapAdapter | None":
        """Return none, so that no address is looked up."""
        return None

    def dispatch_request(self) -> Response:
        """Answer the request of this context."""
        environ = request.environ
        length = environ.get("CONTENT_LENGTH", "")
        reply = self._endpoint.call(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("HTTP_APIKEY"),
            int(length) if length.isdigit() else None,
            environ["wsgi.input"].read,
        )
        return Answer(reply, self._endpoint.stop.is_set())


def create_app(endpoint: Endpoint) -> ModelApp:
    """Return the WSGI application that answers calls with `endpoint`."""
    return ModelApp(endpoint)
