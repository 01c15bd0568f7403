"""A server of tokens for a registry, which says what each may do."""

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

SERVICE, ISSUER = "registry of the tests", "tokens of the tests"


@dataclass
class TokenServer:
    """What it grants, and the scopes it was asked for."""

    url: str
    certificate: Path
    granted: list[str] = field(default_factory=lambda: ["pull", "push"])
    asked: list[str] = field(default_factory=list)

    def auth(self) -> dict[str, Any]:
        """Return the settings of a registry that takes its tokens."""
        return {
            "token": {
                "realm": self.url,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self.certificate),
            }
        }


@contextmanager
def token_server(folder: Path, user: str, password: str) -> Iterator[TokenServer]:
    """Give tokens to one user on a port of its own, for the block."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    chain = [base64.b64encode(signed.public_bytes(Encoding.DER)).decode()]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != expected:
                self.send_error(401)
                return
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            server.asked += scopes
            body = json.dumps({"token": _token(key, chain, scopes, server.granted)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            return None

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = TokenServer(f"http://127.0.0.1:{http.server_port}/token", folder / "tokens.pem")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _token(key: rsa.RSAPrivateKey, chain: list[str], scopes: list[str], granted: list[str]) -> str:
    access = []
    for scope in scopes:
        kind, repository, actions = scope.split(":")
        allowed = [action for action in actions.split(",") if action in granted]
        access.append({"type": kind, "name": repository, "actions": allowed})
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "tests", "aud": SERVICE, "jti": uuid.uuid4().hex, "access": access}
    claims |= {"iat": now, "nbf": now - 10, "exp": now + 300}
    head = {"typ": "JWT", "alg": "RS256", "x5c": chain}
    signed = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(claims).encode())}"
    return f"{signed}.{_encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
