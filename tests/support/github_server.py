"""The part of GitHub's API that Apps use, over HTTP: it checks who asks as GitHub does."""

import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

APP_ID = "12345"


def private_key_text(key: RSAPrivateKey) -> str:
    """A private key as GitHub hands it out."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@dataclass
class GitHubServer:
    """An API with one App.

    ``installed`` are the repositories (``owner/name``) it is installed on; ``permissions`` what it may;
    ``tokens`` what it was given, with the repository and the end of each; ``asked`` the requests.
    """

    url: str
    key: RSAPrivateKey
    installed: set[str] = field(default_factory=set)
    permissions: dict[str, str] = field(default_factory=lambda: {"contents": "read", "metadata": "read"})
    lifetime: timedelta = timedelta(hours=1)
    suspended: bool = False
    tokens: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def opens(self, path: str, user: str, token: str) -> bool:
        """Does a token open the repository at ``/owner/name.git``?"""
        repository, expires = self.tokens.get(token, ("", datetime.min.replace(tzinfo=UTC)))
        return (
            user == "x-access-token"
            and datetime.now(UTC) < expires
            and path.startswith(f"/{repository}.git/")
        )

    def answer(self, method: str, path: str, body: Any, authorization: str) -> tuple[int, Any]:
        """The status and the document GitHub would send."""
        self.asked.append((method, path, body))
        if problem := self._stranger(authorization):
            return 401, {"message": problem}
        if (method, path) == ("GET", "/app"):
            return 200, {"id": int(APP_ID), "name": "Scripts of the company", "permissions": self.permissions}
        if (method, path.partition("?")[0]) == ("GET", "/app/installations"):
            owners = sorted({name.partition("/")[0] for name in self.installed})
            return 200, [{"id": 7, "account": {"login": owner}} for owner in owners]
        if found := re.fullmatch(r"/repos/([^/]+/[^/]+)/installation", path):
            if found.group(1) not in self.installed:
                return 404, {"message": "Not Found"}
            return 200, {"id": 7, "suspended_at": "2026-01-01T00:00:00Z" if self.suspended else None}
        if (method, path) == ("POST", "/app/installations/7/access_tokens"):
            return self._token(body)
        return 404, {"message": "Not Found"}

    def _token(self, body: Any) -> tuple[int, Any]:
        if any(
            self.permissions.get(name) not in (level, "write") for name, level in body["permissions"].items()
        ):
            return 422, {"message": "The permissions requested are not granted to this installation."}
        (name,) = body["repositories"]
        (repository,) = [each for each in self.installed if each.endswith(f"/{name}")]
        token, expires = f"ghs_{secrets.token_hex(18)}", datetime.now(UTC) + self.lifetime
        self.tokens[token] = (repository, expires)
        stamp = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
        return 201, {"token": token, "expires_at": stamp, "permissions": body["permissions"]}

    def _stranger(self, authorization: str) -> str:
        """Why this is not the App; empty when it is."""
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "),
                self.key.public_key(),
                algorithms=["RS256"],
                issuer=APP_ID,
            )
        except jwt.PyJWTError:
            return "A JSON web token could not be decoded"
        if claims["exp"] - claims["iat"] > 600:
            return "'Expiration time' claim ('exp') is too far in the future"
        return ""


@contextmanager
def github_server() -> Iterator[GitHubServer]:
    """Run the API on a port of its own for the block."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = json.loads(body) if body else None
            status, document = server.answer(
                self.command, self.path, told, self.headers.get("Authorization", "")
            )
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            return None

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = GitHubServer(f"http://127.0.0.1:{http.server_port}", generate_private_key(65537, 2048))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
