"""Servers that always say the same: what a wrapper around nothing costs. Arguments: interface, port."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from flask import Flask, Response, request
from granian import Granian
from granian.constants import HTTPModes, Interfaces

BODY = b'{"prediction": 1.0}'
flask_app = Flask("constant")


@flask_app.post("/")
def constant() -> Response:
    """Answer."""
    request.get_data()
    return Response(BODY, mimetype="application/json")


async def asgi_app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Answer."""
    await receive()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    interface, port = sys.argv[1:]
    app = flask_app if interface == "wsgi" else asgi_app
    options: dict[str, Any] = {"interface": Interfaces.ASGINL}
    if interface == "wsgi":
        options = {"interface": Interfaces.WSGI, "blocking_threads": 3}
    server = Granian("constant", port=int(port), http=HTTPModes.http1, websockets=False, workers=1, **options)
    server.serve(target_loader=lambda: app, wrap_loader=False)
