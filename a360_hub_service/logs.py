"""The service's log: written by a thread of its own, so that a slow reader or disk holds nobody up."""

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
KEPT = 20_000
STANDARD_ERROR = 2


class _Queueing(logging.Handler):
    """Puts finished lines into a queue; while it is full they are counted and left out."""

    def __init__(self, lines: "queue.Queue[str | None]") -> None:
        super().__init__()
        self._lines = lines
        self._lost = 0
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, and never wait."""
        try:
            if self._lost:
                self._lines.put_nowait(f"{self._lost} lines were left out here: nobody read the log")
                self._lost = 0
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:  # a message that does not fit its arguments, as in logging's own handlers
            self.handleError(record)


@contextmanager
def written_by_a_thread(descriptor: int = STANDARD_ERROR, *, kept: int = KEPT) -> Iterator[None]:
    """Write what is logged, from INFO on, in another thread.

    Parameters
    ----------
    descriptor
        Where to write; standard error when not given.
    kept
        Most lines that wait for their reader; more are left out, and their number is told later.
    """
    lines: queue.Queue[str | None] = queue.Queue(kept)
    handler, root = _Queueing(lines), logging.getLogger()
    writer = threading.Thread(target=_write, args=(lines, descriptor), name="a360-log", daemon=True)
    writer.start()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with suppress(queue.Full):
            lines.put_nowait(None)
            writer.join(2)  # a reader that is gone must not keep the service from ending


def _write(lines: "queue.Queue[str | None]", descriptor: int) -> None:
    while (line := lines.get()) is not None:
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        # Not through a file object: its lock, held in a blocked write, keeps the interpreter from ending.
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except OSError:  # the reader closed its end, or the disk is full: the next line may fare better
                break
