"""The distribution protocol of registries, as much of it as building and checking images takes."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin

import httpx

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.hosts import GuardedTransport, Hosts, is_proxied
from a360_hub_service.backends.registries.answers import no_answer, refusal
from a360_hub_service.backends.registries.login import Login, LoginFlow

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_PIECE = 1024 * 1024
_LARGEST_DOCUMENT = 8 * 1024 * 1024
"""Bytes of a manifest or a configuration: more than any registry takes."""


@dataclass(frozen=True)
class Descriptor:
    """A piece of content: what it is, its ``sha256:<hex>`` and its size in bytes."""

    media_type: str
    digest: str
    size: int

    @classmethod
    def read(cls, document: Any) -> "Descriptor":
        """Return the descriptor a document holds. Raises `ValueError` when it holds none."""
        try:
            return cls(str(document["mediaType"]), str(document["digest"]), int(document["size"]))
        except (KeyError, TypeError) as error:
            raise ValueError("it holds no descriptor") from error

    def document(self) -> dict[str, object]:
        """Return it as it stands in a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class RegistryClient:
    """Talks to one registry. Content streams: no more than a piece of 1 MiB is held in memory.

    What does not work is raised as `error` with a hint. With `hosts` it connects, redirects included, only
    where they allow. Not for several threads at once.
    """

    def __init__(
        self,
        address: str,
        error: type[BackendError],
        login: Login | None = None,
        *,
        timeout: float = 60.0,
        chunk: int = 256 * _PIECE,
        hosts: Hosts | None = None,
    ) -> None:
        self._address = httpx.URL(address)
        self.host = self._address.netloc.decode()
        self._error, self._chunk, self._has_login = error, chunk, login is not None
        self._http = httpx.Client(
            base_url=address,
            auth=LoginFlow(login, self._address),
            transport=_transport(self._address, hosts),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            # What is checked by its digest must come as it is.
            headers={"User-Agent": "a360", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def check(self) -> None:
        """Raise unless the registry answers and knows the login."""
        self._send("GET", "/v2/", (200,))

    def manifest(self, repository: str, version: str) -> tuple[bytes, str] | None:
        """Return a manifest or an index with its media type; None when this tag or digest has none."""
        headers = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
        path = f"/v2/{repository}/manifests/{version}"
        with self._http_errors(), self._http.stream("GET", path, headers=headers) as answer:
            body = self._document(answer)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise self._refused(answer, body, repository)
        if version.startswith("sha256:") and _sha256(body) != version:
            raise self._altered(version)
        try:
            media_type = json.loads(body).get("mediaType")
        except (ValueError, AttributeError) as error:
            raise self._error(f"What the registry {self.host} sent is no manifest.") from error
        return body, str(media_type or answer.headers.get("Content-Type", "").partition(";")[0])

    def put_manifest(self, repository: str, version: str, body: bytes, media_type: str) -> None:
        """Store a manifest under a tag; all it names must be there."""
        path = f"/v2/{repository}/manifests/{version}"
        self._send("PUT", path, (201, 202), content=body, headers={"Content-Type": media_type})

    def delete_manifest(self, repository: str, digest: str) -> bool:
        """Delete a manifest and its tags. Returns False when the registry keeps all it was given."""
        path = f"/v2/{repository}/manifests/{digest}"
        return self._send("DELETE", path, (200, 202, 404, 405)).status_code != 405

    def has_blob(self, repository: str, digest: str) -> bool:
        """Say whether the repository holds this content."""
        return self._send("HEAD", f"/v2/{repository}/blobs/{digest}", (200, 404)).status_code == 200

    def document(self, repository: str, found: Descriptor) -> bytes:
        """Return a small blob, a configuration."""
        path = f"/v2/{repository}/blobs/{found.digest}"
        with self._http_errors(), self._http.stream("GET", path, follow_redirects=True) as answer:
            body = self._document(answer)
        if answer.status_code != 200:
            raise self._refused(answer, body, repository)
        if _sha256(body) != found.digest:
            raise self._altered(found.digest)
        return body

    def download(self, repository: str, found: Descriptor, target: Path) -> None:
        """Write a blob into the file `target`. Raises `OSError` when it cannot be written."""
        path = f"/v2/{repository}/blobs/{found.digest}"
        with self._http_errors(), self._http.stream("GET", path, follow_redirects=True) as answer:
            if answer.status_code != 200:
                raise self._refused(answer, self._document(answer), repository)
            digest, size = hashlib.sha256(), 0
            with target.open("wb") as file:
                for piece in answer.iter_raw(_PIECE):
                    interruption.check()
                    size += len(piece)
                    if size > found.size:
                        raise self._altered(found.digest)
                    digest.update(piece)
                    file.write(piece)
        if f"sha256:{digest.hexdigest()}" != found.digest:
            raise self._altered(found.digest)

    def upload(
        self, repository: str, found: Descriptor, source: Callable[[], Path] | bytes, mount_from: str = ""
    ) -> str:
        """Bring a blob into the repository. Returns how: "there", "mounted" (from `mount_from`) or "sent".

        `source` is its content, or says which file that is; it is asked only when the blob has to be sent.
        """
        if self.has_blob(repository, found.digest):
            return "there"
        mount = {"mount": found.digest, "from": mount_from} if mount_from else {}
        answer = self._send("POST", f"/v2/{repository}/blobs/uploads/", (201, 202), params=mount)
        if answer.status_code == 201:
            return "mounted"
        content = source if isinstance(source, bytes) else source()
        place, start = self._location(answer), 0
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        chunk = max(self._chunk, int(least) if least.isdecimal() else 0)
        # A chunk is a request of its own; the last one, mostly the only one, closes the upload.
        while found.size - start > chunk:
            headers = {
                "Content-Range": f"{start}-{start + chunk - 1}",
                "Content-Type": "application/octet-stream",
            }
            answer = self._send("PATCH", place, (202,), headers=headers, content=_Part(content, start, chunk))
            place, start = self._location(answer), start + chunk
        headers = {"Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"{start}-{found.size - 1}"
        closing = str(httpx.URL(place).copy_merge_params({"digest": found.digest}))
        self._send("PUT", closing, (201,), headers=headers, content=_Part(content, start, found.size - start))
        return "sent"

    def _location(self, answer: httpx.Response) -> str:
        place = httpx.URL(urljoin(str(answer.request.url), answer.headers.get("Location", "")))
        if place.host == self._address.host:
            # Behind a proxy that ends TLS registries often believe that they are asked by http.
            place = place.copy_with(scheme=self._address.scheme, port=self._address.port)
        return str(place)

    def _send(self, method: str, path: str, expected: tuple[int, ...], **options: Any) -> httpx.Response:
        content = options.get("content")
        if isinstance(content, _Part):
            options["headers"] = options["headers"] | {"Content-Length": str(content.size)}
        with self._http_errors():
            answer = self._http.request(method, path, **options)
        if answer.status_code not in expected:
            raise self._refused(answer, answer.content, _repository(path))
        return answer

    def _document(self, answer: httpx.Response) -> bytes:
        body = b""
        for piece in answer.iter_bytes():
            body += piece
            if len(body) > _LARGEST_DOCUMENT:
                raise self._error(f"The registry {self.host} sends more than a manifest can hold.")
        return body

    def _refused(self, answer: httpx.Response, body: bytes, repository: str) -> BackendError:
        return refusal(self._error, self.host, answer, body, repository, has_login=self._has_login)

    def _altered(self, digest: str) -> BackendError:
        return self._error(
            f"What the registry {self.host} sent is not {digest[:19]}….",
            hint="Try again; if it stays, the registry's store is damaged.",
        )

    @contextlib.contextmanager
    def _http_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise no_answer(self._error, self.host, problem) from problem


def _transport(address: httpx.URL, hosts: Hosts | None) -> httpx.BaseTransport | None:
    if hosts is None or is_proxied(address.scheme, address.host):
        return None
    return GuardedTransport(hosts)


class _Part:
    """A part of a file or of bytes, read anew each time a request has to be sent again."""

    def __init__(self, source: Path | bytes, start: int, size: int) -> None:
        self.source, self.start, self.size = source, start, size

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield self.source[self.start : self.start + self.size]
            return
        left = self.size
        with self.source.open("rb") as file:
            file.seek(self.start)
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                interruption.check()
                yield piece


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _repository(path: str) -> str:
    """Return the repository a path is about."""
    inside = str(httpx.URL(path).path).removeprefix("/v2/")
    for part in ("/manifests/", "/blobs/"):
        inside = inside.partition(part)[0]
    return inside
