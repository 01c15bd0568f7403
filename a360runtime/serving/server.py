"""The web server of a package, and the end of a replica without a lost call."""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a360runtime.serving.stopping import StopFlag, linger

REPEAT_SECONDS = 0.2
BLOCKING_THREADS = 64
"""Of the Flask wrapper: those of `endpoint.MOST_CALLS`, and two for health checks."""


def serve(folder: Path, host: str, port: int) -> None:
    """Answer calls until SIGTERM; calls in progress are finished first.

    Environment: A360_KEYS_FILE (required to admit anybody), A360_THREADS (threads of one prediction),
    A360_MAX_BODY (bytes), A360_DRAIN_SECONDS (for calls in progress at the end), A360_STOP_DELAY (seconds for
    which calls are still taken after SIGTERM, however few come).
    """
    from granian.constants import HTTPModes, Interfaces, RuntimeModes

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    _require_port(host, port)
    wrapper = _wrapper(folder)
    drain = int(os.environ.get("A360_DRAIN_SECONDS", "30"))
    options: dict[str, Any] = {"interface": Interfaces.ASGINL, "runtime_mode": RuntimeModes.st}
    if wrapper == "flask":
        options = {"interface": Interfaces.WSGI, "blocking_threads": BLOCKING_THREADS}
    flag = StopFlag()
    server = _server_class()(
        "a360",
        address=host,
        port=port,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        workers_kill_timeout=drain,
        log_access=False,
        **options,
    )
    # It warns of the threads, most of which only wait.
    logging.getLogger("_granian").addFilter(lambda record: "Python threads" not in record.getMessage())
    server.flag = flag
    server.stop_delay = float(os.environ.get("A360_STOP_DELAY", "0"))
    server.serve(target_loader=_loader(folder, wrapper, flag), wrap_loader=False)


def _wrapper(folder: Path) -> str:
    try:
        return str(json.loads((folder / "a360.json").read_text("utf-8")).get("wrapper", "flask"))
    except (OSError, ValueError) as error:
        sys.exit(f"The package has no readable a360.json: {error}")


def _server_class() -> Any:
    from granian.server.mp import MPServer

    class Server(MPServer):
        """Lingers at the first signal to stop; at the second one it stops."""

        flag: StopFlag
        stop_delay: float

        def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
            """Stop when no call comes any more."""
            stop: Callable[[], Any] = super().signal_handler_interrupt
            if self.flag.is_set():
                stop()
            else:
                at_most = max(self.stop_delay, (self.workers_kill_timeout or 0) / 2)
                linger(self.flag, self.stop_delay, at_most, stop)

    return Server


def _require_port(host: str, port: int) -> None:
    """Leave with a clear error when another program listens there.

    The server itself would share the port, and the kernel deal calls out between two models.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sys.exit(f"Port {port} of {host} cannot be used: {error.strerror}")


def _loader(folder: Path, wrapper: str, flag: StopFlag) -> Callable[[], Callable[..., Any]]:
    """Return what builds the application; it runs in the worker, so the parent never loads the model."""

    def load() -> Callable[..., Any]:
        from a360runtime.serving.access import AccessLog
        from a360runtime.serving.bundle import load_bundle
        from a360runtime.serving.endpoint import DEFAULT_MAX_BODY, Endpoint
        from a360runtime.serving.keys import KeyRing

        max_body = int(os.environ.get("A360_MAX_BODY", str(DEFAULT_MAX_BODY)))
        keys = KeyRing(os.environ.get("A360_KEYS_FILE", ""))
        bundle = load_bundle(folder)
        about = {key: bundle.manifest.get(key) for key in ("slug", "wrapper", "commit", "lock_sha256")}
        logging.getLogger("a360.serving").info("Serving %s", json.dumps(about))
        endpoint = Endpoint(bundle, keys, max_body, AccessLog(_write), flag)
        if wrapper == "asgi":
            from a360runtime.serving.asgi import create_app as create_asgi_app

            return create_asgi_app(endpoint)
        from a360runtime.serving.app import create_app

        _wake_for_signals()
        return create_app(endpoint)

    return load


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _wake_for_signals() -> None:
    """Deliver each first signal twice, the second time a moment later.

    Python runs handlers on the main thread, between its instructions. The server lets that thread fall
    asleep while calls are already answered; a signal that comes after its last instruction and before its
    sleep would be noticed with the next signal only, and the replica would not stop.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def repeat() -> None:
        number = os.read(woken, 1)[0]
        time.sleep(REPEAT_SECONDS)
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    threading.Thread(target=repeat, name="signals", daemon=True).start()
