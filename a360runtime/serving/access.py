"""One line a call on the replica's log, written a tenth of a second's lines at a time."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.util import Finalize

DELAY_SECONDS = 0.1


class AccessLog:
    """Writes ``access time=... status=... seconds=...``; never the body, the answer or the key.

    A line by itself costs a call a tenth of its time, most of it for the system's write; so lines are
    gathered, and written by a thread of their own and at the end of the process.

    Parameters
    ----------
    write
        Takes text that ends in a newline.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._calls: deque[tuple[float, int, float]] = deque()
        self._some = threading.Event()
        threading.Thread(target=self._run, name="access-log", daemon=True).start()
        Finalize(self, self.flush, exitpriority=1)

    def add(self, status: int, seconds: float) -> None:
        """Note an answer that is given now."""
        self._calls.append((time.time(), status, seconds))
        if not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write what was noted so far."""
        lines = []
        # Lines may be noted meanwhile: what another thread appends is neither lost nor written twice.
        with contextlib.suppress(IndexError):
            while True:
                lines.append(_line(*self._calls.popleft()))
        if lines:
            self._write("".join(lines))

    def _run(self) -> None:
        while self._some.wait():
            self._some.clear()
            time.sleep(DELAY_SECONDS)
            self.flush()


def _line(at: float, status: int, seconds: float) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"access time={moment}.{int(at % 1 * 1000):03d}Z status={status} seconds={seconds:.6f}\n"
