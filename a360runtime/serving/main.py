"""What ``run.py`` of a package starts: the server, or one validation run."""

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a360runtime.serving.answers import encode_prediction, read_json

REPEAT_SECONDS = 0.2


def main(folder: Path, arguments: list[str]) -> int:
    """Serve the package in `folder`, or run its script once. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Serve the model in this package.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on")
    parser.add_argument(
        "--validate", metavar="FILE", help="run the script once on this body and print the answer"
    )
    parser.add_argument("--check", action="store_true", help="load the package, then leave")
    parser.add_argument("--healthcheck", action="store_true", help="say whether the MQTT wrapper is well")
    options = parser.parse_args(arguments)
    if options.check or options.validate:
        return validate(folder, options.validate)
    manifest = json.loads((folder / "a360.json").read_text("utf-8"))
    if options.healthcheck:
        from a360runtime.serving.mqtt.check import healthcheck

        return healthcheck(manifest)
    if manifest.get("wrapper") == "mqtt":
        from a360runtime.serving.mqtt.main import serve as serve_mqtt

        return serve_mqtt(folder, manifest)
    serve(folder, options.host, options.port)
    return 0


def validate(folder: Path, body_file: str | None) -> int:
    """Load the package and answer one body as the server would; the answer is all that goes to stdout.

    Returns 0, or 1 with the reason as the last line of stderr.
    """
    # Whatever the script prints goes to stderr, so that stdout is the answer and nothing else.
    from a360runtime.serving.bundle import load_bundle

    answer_to = os.dup(1)
    os.dup2(2, 1)
    try:
        payload = Path(body_file).read_text("utf-8") if body_file else ""
        bundle = load_bundle(folder)
        if body_file and bundle.json_input:
            read_json(payload)
        answer = encode_prediction(bundle.predict(payload)) if body_file else ""
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    with os.fdopen(answer_to, "w", encoding="utf-8") as out:
        out.write(answer)
    return 0


def serve(folder: Path, host: str, port: int) -> None:
    """Answer calls until SIGTERM; calls in progress are finished first.

    Environment: A360_KEYS_FILE (required to admit anybody), A360_THREADS (threads of one prediction),
    A360_MAX_BODY (bytes), A360_DRAIN_SECONDS (for calls in progress at the end).
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    _require_port(host, port)
    threads = int(os.environ.get("A360_THREADS", "1"))
    server = Granian(
        "a360",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=1,
        # One more than predictions can use, so that health checks are answered while all are busy.
        blocking_threads=2 * threads + 1,
        workers_kill_timeout=int(os.environ.get("A360_DRAIN_SECONDS", "30")),
        log_access=False,
    )
    server.serve(target_loader=_loader(folder), wrap_loader=False)


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


def _loader(folder: Path) -> Callable[[], Callable[..., Any]]:
    """Return what builds the application; it runs in the worker, so the parent never loads the model."""

    def load() -> Callable[..., Any]:
        from a360runtime.serving.app import DEFAULT_MAX_BODY, create_app
        from a360runtime.serving.bundle import load_bundle
        from a360runtime.serving.keys import KeyRing

        _wake_for_signals()
        max_body = int(os.environ.get("A360_MAX_BODY", str(DEFAULT_MAX_BODY)))
        keys = KeyRing(os.environ.get("A360_KEYS_FILE", ""))
        bundle = load_bundle(folder)
        about = {key: bundle.manifest.get(key) for key in ("slug", "commit", "lock_sha256")}
        logging.getLogger("a360.serving").info("Serving %s", json.dumps(about))
        return create_app(bundle, keys, max_body)

    return load


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
