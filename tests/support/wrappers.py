"""The REST wrappers called without a server: WSGI and ASGI spoken by hand, for tests of what both answer."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from a360runtime.serving import app as flask_wrapper
from a360runtime.serving import asgi as asgi_wrapper
from a360runtime.serving.access import AccessLog
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.endpoint import DEFAULT_MAX_BODY, Endpoint
from a360runtime.serving.keys import KeyRing
from tests.support.endpoints import KEY, key_record

WRAPPERS = ("flask", "asgi")
SLUG = "churn-forest-1-0"


@dataclass
class Answer:
    """What came back."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Client:
    """Calls one wrapper around one endpoint."""

    wrapper: str
    endpoint: Endpoint
    lines: list[str] = field(default_factory=list)
    access: AccessLog | None = None

    def __post_init__(self) -> None:
        module = flask_wrapper if self.wrapper == "flask" else asgi_wrapper
        self._app: Any = module.create_app(self.endpoint)

    def post(self, body: str | bytes = "{}", key: str | None = KEY, path: str = "/") -> Answer:
        """Call the model."""
        return self.request("POST", path, body.encode() if isinstance(body, str) else body, key)

    def get(self, path: str, key: str | None = None) -> Answer:
        """Ask for a page."""
        return self.request("GET", path, b"", key)

    def request(
        self, method: str, path: str, body: bytes, key: str | None, parts: int = 1, announced: bool = True
    ) -> Answer:
        """Call with any method; the body may come in parts, its length announced or not."""
        headers = {"content-type": "application/json"} | ({} if key is None else {"apikey": key})
        if announced:
            headers["content-length"] = str(len(body))
        call = _wsgi if self.wrapper == "flask" else _asgi
        return call(self._app, method, path, body, headers, parts)

    def access_lines(self) -> list[str]:
        """The lines of calls so far."""
        assert self.access is not None
        self.access.flush()
        return self.lines


def client_for(
    wrapper: str,
    folder: Path,
    call: Callable[[list[Any], str], Any],
    *,
    artifacts: list[Any] | None = None,
    max_body: int = DEFAULT_MAX_BODY,
    **manifest: Any,
) -> Client:
    """A client of an endpoint around a function in place of a script; the key is the usual one."""
    keys = folder / "keys.json"
    if not keys.exists():
        write_keys(keys, key_record())
    bundle = Bundle({"slug": SLUG, "wrapper": wrapper} | manifest, artifacts or [None, None, None], call)
    lines: list[str] = []
    access = AccessLog(lambda text: lines.extend(text.splitlines()))
    return Client(wrapper, Endpoint(bundle, KeyRing(str(keys)), max_body, access), lines, access)


def write_keys(path: Path, *records: Any) -> None:
    """Write a file of keys as targets do: at once."""
    new = path.with_suffix(".new")
    new.write_text(
        json.dumps([vars(record) | {"expires_at": record.expires_at or None} for record in records])
    )
    os.replace(new, path)


def _wsgi(app: Any, method: str, path: str, body: bytes, headers: dict[str, str], parts: int) -> Answer:
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
    }
    for name, value in headers.items():
        name = name.upper().replace("-", "_")
        environ[name if name.startswith("CONTENT") else f"HTTP_{name}"] = value
    started: list[Any] = []
    chunks = app(environ, lambda status, pairs, _=None: started.extend((status, pairs)))
    content = b"".join(chunks)
    status, pairs = started
    return Answer(int(status[:3]), {name.lower(): value for name, value in pairs}, content)


def _asgi(app: Any, method: str, path: str, body: bytes, headers: dict[str, str], parts: int) -> Answer:
    size = -(-len(body) // parts) or 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    events = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, b"".join(event.get("body", b"") for event in rest))
