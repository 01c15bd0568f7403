"""Bodies of any size, in and out, in constant memory and never on the event loop."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote

from tornado.iostream import StreamClosedError

from ..backends.storage.base import FileInfo, Writer
from ..backends.storage.objects import ContentWriter, Objects
from ..errors import NotFound, TooLarge
from .handlers import BaseHandler
from .problems import Problem

BLOCK = 1024 * 1024
SANDBOX = "default-src 'none'; sandbox"


class Readable(Protocol):
    """What a file is sent from: a storage, or one content of it."""

    def stat(self, key: str) -> FileInfo | None:
        """The file."""

    def read(
        self, key: str, offset: int = 0, length: int | None = None, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """Its bytes."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file as of a commit."""

    objects: Objects
    sha256: str
    size: int
    made: datetime

    def stat(self, key: str) -> FileInfo | None:
        """The file as it was."""
        return FileInfo(key, "file", self.size, self.made, self.sha256)

    def read(
        self, key: str, offset: int = 0, length: int | None = None, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """Its bytes, which never change."""
        return self.objects.read(self.sha256, offset, length)


class Upload:
    """A body on its way into a storage.

    At most two blocks of 1 MiB are held: one that fills, and one that a thread writes. A sender that is
    faster waits, since :meth:`feed` does.

    Parameters
    ----------
    run
        Runs blocking work in threads.
    writer
        Where the bytes go.
    limit
        Most bytes of the body.
    """

    def __init__(
        self, run: Callable[..., Awaitable[Any]], writer: Writer | ContentWriter, limit: int
    ) -> None:
        self._run, self._writer, self._limit = run, writer, limit
        self._size = 0
        self._block = bytearray()
        self._busy: asyncio.Future[Any] | None = None
        self._closed = False

    async def feed(self, chunk: bytes) -> None:
        """Take a piece of the body.

        Raises
        ------
        TooLarge
            If it is more than the limit by now.
        """
        self._size += len(chunk)
        if self._size > self._limit:
            raise TooLarge(
                f"At most {self._limit:,} bytes are taken.", hint="Split the file into smaller ones."
            )
        self._block += chunk
        if len(self._block) >= BLOCK:
            await self._flush()

    async def commit(self) -> Any:
        """Let the file appear, or the content be kept; what the writer says of it."""
        await self._flush()
        return await self._work(self._writer.commit)

    async def abort(self) -> None:
        """Stop as soon as the running write is done, and leave nothing."""
        self._closed = True
        with contextlib.suppress(Exception):
            await self._settle()
        await self._run(self._writer.abort)

    async def _flush(self) -> None:
        block, self._block = self._block, bytearray()
        await self._settle()
        if block and not self._closed:
            self._busy = asyncio.ensure_future(self._run(self._writer.write, block))

    async def _work(self, work: Callable[[], Any]) -> Any:
        await self._settle()
        if self._closed:
            raise StreamClosedError
        self._busy = asyncio.ensure_future(self._run(work))
        return await asyncio.shield(self._busy)

    async def _settle(self) -> None:
        if self._busy is not None:
            await asyncio.shield(self._busy)


async def send_file(
    handler: BaseHandler, storage: Readable, key: str, name: str, *, body: bool = True
) -> None:
    """Answer with a file as an attachment that no browser shows or runs.

    Takes ranges, and the conditions of caches.

    Parameters
    ----------
    handler
        The request.
    storage, key
        Where the file is.
    name
        What a browser calls it.
    body
        Whether to send more than the headers.
    """
    run = handler.web.run
    info: FileInfo | None = await run(storage.stat, key)
    if info is None:
        raise NotFound(f"There is no file “{key}”.")
    etag = f'"{info.etag}"'
    _describe(handler, info, etag, name)
    if _is_known(handler, info, etag):
        handler.set_status(304)
        return
    size = info.size or 0
    found = _part(handler, etag, size)
    if found is None:
        _refuse_part(handler, size)
        return
    start, length = found
    handler.set_header("Content-Length", str(length))
    if not body:
        return
    chunks = storage.read(key, start, length, etag=info.etag)
    try:
        # The first chunk before the headers: what goes wrong here can still be told.
        chunk: bytes | None = await run(next, chunks, None)
        while chunk is not None:
            handler.write(chunk)
            await handler.flush()
            chunk = await run(next, chunks, None)
    except StreamClosedError:
        return
    finally:
        await run(chunks.close)  # type: ignore[attr-defined]


def _describe(handler: BaseHandler, info: FileInfo, etag: str, name: str) -> None:
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    handler.set_header("Content-Type", "application/octet-stream")
    handler.set_header(
        "Content-Disposition", f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    )
    handler.set_header("Content-Security-Policy", SANDBOX)
    handler.set_header("X-Content-Type-Options", "nosniff")
    handler.set_header("Cache-Control", "private, no-cache")
    handler.set_header("Accept-Ranges", "bytes")
    handler.set_header("Etag", etag)
    if info.last_modified:
        handler.set_header("Last-Modified", format_datetime(info.last_modified.astimezone(UTC), usegmt=True))


def _is_known(handler: BaseHandler, info: FileInfo, etag: str) -> bool:
    """Whether the caller has this version already."""
    headers = handler.request.headers
    if (known := headers.get("If-None-Match")) is not None:
        return known.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]
    since = _date(headers.get("If-Modified-Since"))
    return bool(since and info.last_modified and info.last_modified.replace(microsecond=0) <= since)


def _date(value: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(value) if value else None
    except (ValueError, OverflowError):
        return None
    return date if date and date.tzinfo else None


def _part(handler: BaseHandler, etag: str, size: int) -> tuple[int, int] | None:
    """Start and length of what is asked for, ``None`` if there is no such part; sets the status of one.

    Several ranges in one request are answered with the whole file, as a server may.
    """
    headers = handler.request.headers
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", headers.get("Range", "").replace(" ", ""))
    condition = headers.get("If-Range")
    if not found or found.group(0) == "bytes=-" or (condition is not None and condition != etag):
        return 0, size
    first, last = found.groups()
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) if first and last else size - 1, size - 1)
    if start > end:
        return None
    handler.set_status(206)
    handler.set_header("Content-Range", f"bytes {start}-{end}/{size}")
    return start, end - start + 1


def _refuse_part(handler: BaseHandler, size: int) -> None:
    """Answer with the length of the file; an exception would lose the header that says it."""
    problem = Problem(
        title="No such part", status=416, detail=f"The file has {size:,} bytes.", code="bad-range"
    )
    handler.set_status(416)
    handler.set_header("Content-Range", f"bytes */{size}")
    handler.set_header("Content-Type", "application/problem+json")
    handler.clear_header("Content-Disposition")
    handler.finish(problem.model_dump_json(exclude_none=True))
