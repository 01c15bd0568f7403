"""What a package with this wrapper starts."""

import json
import logging
import signal
import sys
from pathlib import Path

from a360runtime.serving.bundle import load_bundle
from a360runtime.serving.mqtt.answering import Answerer
from a360runtime.serving.mqtt.connection import Connection, NotConnected
from a360runtime.serving.mqtt.engine import Engine
from a360runtime.serving.mqtt.health import FORGET
from a360runtime.serving.mqtt.journal import Busy, Journal
from a360runtime.serving.mqtt.keeper import Keeper
from a360runtime.serving.mqtt.settings import Settings, SettingsError, read_settings

logger = logging.getLogger("a360.serving")


def serve(folder: Path, manifest: dict[str, object]) -> int:
    """Answer requests until SIGTERM; returns the exit code.

    Answers on their way then arrive first. The environment is read as `read_settings` has it.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    try:
        settings = read_settings(manifest)
        journal = Journal(settings.state)
    except (SettingsError, Busy) as error:
        logger.error("%s", error)
        return 2
    except OSError as error:
        logger.error("The state folder %s cannot be used: %s.", error.filename, error.strerror)
        return 2
    bundle = load_bundle(folder)
    engine = Engine(settings, Answerer(bundle, settings.max_body), journal)
    keeper = Keeper(settings, engine)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: engine.events.put(None))
    about = {key: bundle.manifest.get(key) for key in ("slug", "commit", "lock_sha256")}
    logger.info("Serving %s at %s.", json.dumps(about), settings.broker.address)
    keeper.start()
    engine.run()
    keeper.close()
    journal.close()
    if (settings.state / FORGET).exists():
        end_session(settings)
    return 0


def end_session(settings: Settings) -> None:
    """End the session at the broker, which keeps requests for it otherwise."""
    connection = Connection(settings.broker, settings.client_id, lambda event: None, clean=True)
    try:
        connection.open()
        connection.close()
    except NotConnected as error:
        logger.error("The session %s stays at the broker until it drops it: %s", settings.client_id, error)
