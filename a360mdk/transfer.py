"""Moving bytes in constant memory, with a checksum and, for large ones, a progress bar."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from a360mdk.progress import Meter

CHUNK = 1 << 22
PROGRESS_FROM = 8_000_000


@dataclass(frozen=True)
class Stored:
    """What was written: number of bytes and their SHA-256 in hexadecimal."""

    size: int
    sha256: str


@contextmanager
def progress(total: int | None, label: str) -> Iterator[Any]:
    """Yield an ``advance(bytes)`` function; it draws a bar from 8 MB on, and nothing below."""
    if total is None or total < PROGRESS_FROM:
        yield lambda count: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=label, unit="B", unit_scale=True, unit_divisor=1000) as bar:
        yield bar.update


def copy(source: Any, sink: Any, total: int | None, label: str) -> Stored:
    """Copy a readable to a writable in chunks of 4 MiB.

    Args:
        source: has ``read(n)``.
        sink: has ``write(bytes)``.
        total: expected bytes, for the progress bar; None when unknown.
        label: shown beside the bar.
    """
    digest, size = hashlib.sha256(), 0
    with progress(total, label) as advance:
        while chunk := source.read(CHUNK):
            sink.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            advance(len(chunk))
    return Stored(size, digest.hexdigest())


class HashingWriter(io.BufferedIOBase):
    """A writable that passes everything on and knows size and checksum of what went through.

    Args:
        sink: where it goes.
        meter: is told of the bytes.
    """

    def __init__(self, sink: BinaryIO, meter: Meter | None = None) -> None:
        super().__init__()
        self._sink = sink
        self._meter = meter
        self._digest = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        """Bytes can be written."""
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data`` on."""
        view = memoryview(data)
        self._sink.write(view)
        self._digest.update(view)
        self._size += view.nbytes
        if self._meter is not None:
            self._meter.advance(view.nbytes)
        return view.nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Hand on what the sink holds back."""
        if not self._sink.closed:
            self._sink.flush()

    def stored(self) -> Stored:
        """Size and checksum up to here."""
        return Stored(self._size, self._digest.hexdigest())
