"""A network that can be cut: a TCP proxy in front of a service."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.service import free_port

BLOCK = 65536


class Cutter:
    """Passes bytes on to a port of this machine until it is cut.

    Parameters
    ----------
    target
        The port.
    """

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self.is_cut = False
        self.answers_lost = 0
        self._open: list[socket.socket] = []
        self._lost_once = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop every connection, and refuse new ones."""
        self.is_cut = True
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """Let bytes through again."""
        self.is_cut = False

    def lose_answer(self) -> None:
        """Cut the connection in place of the next answer; what was asked still happens."""
        self._lost_once.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self._open += [near, far]
                for source, sink, answers in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pass, args=(source, sink, answers), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(BLOCK):
                if answers and self._lost_once.is_set():
                    self._lost_once.clear()
                    self.answers_lost += 1
                    break
                sink.sendall(chunk)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
                one.close()

    def close(self) -> None:
        """End it."""
        self.cut()
        self._listener.close()


@contextlib.contextmanager
def cutter(target: int) -> Iterator[Cutter]:
    """A proxy for the time of a block."""
    made = Cutter(target)
    try:
        yield made
    finally:
        made.close()
