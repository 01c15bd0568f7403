"""Moving bytes in constant memory, with a checksum and, for large ones, a progress bar."""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    checksum, size = Checksum(), 0
    with progress(total, label) as advance:
        while chunk := source.read(CHUNK):
            sink.write(chunk)
            checksum.update(chunk)
            size += len(chunk)
            advance(len(chunk))
    return Stored(size, checksum.hexdigest())


class Checksum:
    """SHA-256 of what is written, computed in a thread while the writing goes on.

    Only ``bytes`` are left to the thread: what else is written may be a buffer that its owner fills again.

    Args:
        twin: a file that the same bytes are written to, in the same thread.
    """

    def __init__(self, twin: BinaryIO | None = None) -> None:
        self._twin = twin
        self._digest = hashlib.sha256()
        self._collected: list[bytes] = []
        self._size = 0
        self._pool: ThreadPoolExecutor | None = None  # its thread ends with it
        self._computing: Future[None] | None = None

    def update(self, data: Any) -> None:
        """Take in bytes, or anything with a buffer."""
        if not isinstance(data, bytes):
            self._catch_up()
            self._compute([data])
            return
        self._collected.append(data)
        self._size += len(data)
        if self._size >= CHUNK:
            self._hand_over()

    def hexdigest(self) -> str:
        """The checksum of all up to here, in hexadecimal."""
        self._catch_up()
        return self._digest.hexdigest()

    def _hand_over(self) -> None:
        # One piece waits at most, so that memory stays what it is.
        self._wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "a360-checksum")
        self._computing = self._pool.submit(self._compute, self._collected)
        self._collected, self._size = [], 0

    def _compute(self, pieces: list[Any]) -> None:
        for piece in pieces:
            self._digest.update(piece)
            if self._twin is not None:
                self._twin.write(piece)

    def _wait(self) -> None:
        if self._computing is not None:
            self._computing.result()
            self._computing = None

    def _catch_up(self) -> None:
        self._wait()
        self._compute(self._collected)
        self._collected, self._size = [], 0


class HashingWriter(io.BufferedIOBase):
    """A writable that passes everything on and knows size and checksum of what went through.

    Args:
        sink: where it goes.
        meter: is told of the bytes.
        twin: a second file that gets the same; it has all once ``stored`` was asked for.
    """

    def __init__(self, sink: BinaryIO, meter: Meter | None = None, twin: BinaryIO | None = None) -> None:
        super().__init__()
        self._sink = sink
        self._meter = meter
        self._checksum = Checksum(twin)
        self._size = 0

    def writable(self) -> bool:
        """Bytes can be written."""
        return True

    def write(self, data: Any) -> int:
        """Write all of ``data`` on."""
        view = memoryview(data)
        self._sink.write(view)
        self._checksum.update(data)
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
        return Stored(self._size, self._checksum.hexdigest())
