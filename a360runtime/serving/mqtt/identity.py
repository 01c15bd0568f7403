"""What tells one request from another."""

import hashlib

from a360runtime.serving.mqtt.answering import Request
from a360runtime.serving.mqtt.connection import Received


def digest_of(event: Received) -> bytes:
    """Return the hash of all a request says: equal requests have the same."""
    parts = (event.topic.encode(), event.respond_topic.encode(), event.correlation or b"", event.payload)
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.digest()


def identity_of(event: Received, digest: bytes, request: Request) -> bytes | None:
    """Return what tells a request from all others, however often it comes; None if nothing does."""
    if event.correlation is None and request.correlation is None:
        return None
    return hashlib.sha256(b"correlated" + digest).digest()


def short(digest: bytes) -> str:
    """Return a digest as logs have it."""
    return digest.hex()[:16]
