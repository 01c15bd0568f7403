"""Settings of the wrapper, from the environment: where the broker is, who asks, what is kept where.

``A360_MQTT_URL`` (``mqtt://host:1883`` or ``mqtts://host:8883``) is needed. Who asks is either
``A360_MQTT_USERNAME`` with ``A360_MQTT_PASSWORD`` or, at a ClearBlade platform, ``A360_MQTT_USER_TOKEN`` with
``A360_MQTT_SYSTEM_KEY``. Each of these can be a file instead, named by the variable with ``_FILE`` after it.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from a360runtime.serving.mqtt.topics import why_no_filter, why_no_pair, why_no_topic

PORTS = {"mqtt": 1883, "mqtts": 8883}
VERSIONS = ("3.1.1", "5")
DEFAULT_MAX_BODY = 10_000_000


class SettingsError(Exception):
    """The wrapper cannot start as it is set up; the message names the variable."""


@dataclass(frozen=True)
class Broker:
    """Where a broker is and as whom it is asked.

    `ca` is the PEM text of the authorities its certificate may come from, "" for those of the system;
    `answer_qos` is 2, or 1 for brokers that do not know 2.
    """

    host: str
    port: int
    tls: bool
    username: str = ""
    password: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)
    version: str = "3.1.1"
    answer_qos: int = 2

    @property
    def address(self) -> str:
        """Host and port, as people write them."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """All the wrapper needs to know; times are in seconds, sizes in bytes."""

    broker: Broker
    client_id: str
    listen_topic: str
    respond_topic: str
    state: Path
    max_body: int = DEFAULT_MAX_BODY
    session_seconds: int = 7 * 86_400
    duplicate_seconds: int = 600
    drain_seconds: int = 30


def read_url(url: str) -> tuple[str, int, bool]:
    """Return host, port and whether TLS is spoken of ``mqtt://host:port``. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ValueError("begins neither with mqtt:// nor with mqtts://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password; these have fields of their own")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("is not of the form mqtts://host:port")
    return parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts"


def read_settings(manifest: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a package with this manifest. Raises `SettingsError`."""
    broker = read_broker(environment)
    listen, respond = str(manifest.get("listen_topic", "")), str(manifest.get("respond_topic", ""))
    why = why_no_filter(listen) or why_no_topic(respond) or why_no_pair(listen, respond)
    if why:
        raise SettingsError(f"The topics of the package, {listen!r} and {respond!r}, cannot be used: {why}.")
    client_id = environment.get("A360_MQTT_CLIENT_ID") or f"a360-{manifest.get('slug', 'model')}"
    usual = Path(tempfile.gettempdir(), f"a360-mqtt-{client_id}")
    return Settings(
        broker=broker,
        client_id=client_id,
        listen_topic=listen,
        respond_topic=respond,
        state=Path(environment.get("A360_STATE_FOLDER") or usual).absolute(),
        max_body=_number(environment, "A360_MAX_BODY", DEFAULT_MAX_BODY),
        session_seconds=_number(environment, "A360_MQTT_SESSION_SECONDS", Settings.session_seconds),
        duplicate_seconds=_number(environment, "A360_MQTT_DUPLICATE_SECONDS", Settings.duplicate_seconds),
        drain_seconds=_number(environment, "A360_DRAIN_SECONDS", Settings.drain_seconds),
    )


def read_broker(environment: Mapping[str, str]) -> Broker:
    """Return where the broker is and as whom it is asked. Raises `SettingsError`."""
    url = _text(environment, "A360_MQTT_URL")
    if not url:
        raise SettingsError("A360_MQTT_URL is not set: it says where the broker is (mqtts://host:8883).")
    try:
        host, port, tls = read_url(url)
    except ValueError as error:
        raise SettingsError(f"A360_MQTT_URL {error}.") from error
    version = environment.get("A360_MQTT_VERSION") or VERSIONS[0]
    if version not in VERSIONS:
        raise SettingsError(f"A360_MQTT_VERSION is {version!r}; it is one of {', '.join(VERSIONS)}.")
    answer_qos = _number(environment, "A360_MQTT_ANSWER_QOS", 2)
    if answer_qos not in (1, 2):
        raise SettingsError(f"A360_MQTT_ANSWER_QOS is {answer_qos}; it is 1 or 2.")
    username, password = _login(environment)
    ca = _text(environment, "A360_MQTT_CA")
    return Broker(host, port, tls, username, password, ca, version, answer_qos)


def _login(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return user and password. ClearBlade takes a user's token for the first, a system key for the other."""
    token, key = _text(environment, "A360_MQTT_USER_TOKEN"), _text(environment, "A360_MQTT_SYSTEM_KEY")
    if bool(token) != bool(key):
        raise SettingsError("A360_MQTT_USER_TOKEN and A360_MQTT_SYSTEM_KEY belong together; one is not set.")
    if token:
        return token, key
    username, password = _text(environment, "A360_MQTT_USERNAME"), _text(environment, "A360_MQTT_PASSWORD")
    if password and not username:
        raise SettingsError("A360_MQTT_PASSWORD is set without A360_MQTT_USERNAME.")
    return username, password


def _text(environment: Mapping[str, str], name: str) -> str:
    """Return a setting: the variable, or the content of the file that the one with _FILE names."""
    file = environment.get(f"{name}_FILE")
    if not file:
        return environment.get(name, "")
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise SettingsError(f"{name}_FILE names {file}, which cannot be read: {why}.") from error


def _number(environment: Mapping[str, str], name: str, usual: int) -> int:
    text = environment.get(name) or str(usual)
    if not text.isdecimal() or int(text) == 0:
        raise SettingsError(f"{name} is {text!r}; it is a whole number above 0.")
    return int(text)
