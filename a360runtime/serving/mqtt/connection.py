"""One connection to a broker, from its opening to its end, over paho-mqtt.

paho speaks the protocol. What it remembers of messages on their way it keeps in memory, does not tell apart
what a broker took from what it refused, and forgets with the process; so the client here leaves the sending
of answers, step by step, to whoever keeps the journal.
"""

import contextlib
import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from a360runtime.serving.mqtt.settings import Broker

logger = logging.getLogger("a360.serving")

KEEPALIVE_SECONDS = 30
CONNECT_SECONDS = 10.0
WINDOW = 20
"""Answers on their way at the same time, at most; brokers that say so get fewer."""
REQUESTS = 64
"""Requests an MQTT 5 broker may send ahead of their acknowledgements."""
_QUIETLY = contextlib.suppress(OSError, ValueError)
"""Around what is sent: a connection that has just ended says so by its event, and is sent all of it again."""
_REFUSED = 0x80
_IN_USE = 0x91
_NO_SUCH_IDENTIFIER = 0x92


class NotConnected(Exception):
    """The broker cannot be had; the message says why in plain words."""


@dataclass(frozen=True)
class Connected:
    """The broker took us in. `resumed` is whether it knows the session; `window` as it allows."""

    connection: "Connection"
    resumed: bool
    window: int
    qos: int


@dataclass(frozen=True)
class Listening:
    """The broker answered the subscription; `why_not` is "" when it took it."""

    connection: "Connection"
    why_not: str


@dataclass(frozen=True)
class Received:
    """A request. `packet` is 0 for quality 0; `respond_topic` and `correlation` come with MQTT 5 only."""

    connection: "Connection"
    topic: str
    payload: bytes
    packet: int
    repeated: bool
    retained: bool
    respond_topic: str = ""
    correlation: bytes | None = None


@dataclass(frozen=True)
class Stored:
    """The broker has the answer `mid` and waits for its release; or refused it (`why_not`)."""

    connection: "Connection"
    mid: int
    why_not: str = ""


@dataclass(frozen=True)
class Done:
    """The broker has passed the answer `mid` on; or refused it (`why_not`)."""

    connection: "Connection"
    mid: int
    why_not: str = ""


@dataclass(frozen=True)
class Lost:
    """There is no connection any more, or none came about."""

    why: str


Event = Connected | Listening | Received | Stored | Done | Lost


class _Client(paho.Client):
    """paho's client, but answers are sent, released and completed as their keeper says."""

    stored: Callable[[int, int], None]
    done: Callable[[int, int], None]

    def _handle_pubrec(self) -> MQTTErrorCode:
        mid, code = self._packet()
        self.stored(mid, code)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        mid, code = self._packet()
        self.done(mid, code)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _packet(self) -> tuple[int, int]:
        """Return packet identifier and reason code of the packet that has just come."""
        content = self._in_packet["packet"]
        (mid,) = struct.unpack("!H", content[:2])
        return mid, content[2] if len(content) > 2 else 0

    def send(self, mid: int, topic: str, payload: bytes, qos: int, again: bool, more: Properties) -> None:
        """Send an answer."""
        properties = more if self._protocol == paho.MQTTv5 else None
        self._send_publish(mid, topic.encode(), payload, qos, False, again, None, properties)

    def release(self, mid: int) -> None:
        """Release an answer that the broker has."""
        self._send_pubrel(mid)


class Connection:
    """One connection. What happens on it goes to `emit`, from a thread of its own."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        emit: Callable[[Event], None],
        *,
        clean: bool = False,
        session_seconds: int = 0,
    ) -> None:
        self.closed = threading.Event()
        self.established = False
        self._broker, self._emit, self._clean = broker, emit, clean
        self._session_seconds = session_seconds
        self._why = ""
        self._settled = threading.Event()
        self._five = broker.version == "5"
        self._client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if self._five else clean,
            protocol=paho.MQTTv5 if self._five else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.stored, self._client.done = self._on_stored, self._on_done
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_message, self._client.on_subscribe = self._on_message, self._on_subscribe
        self._client.connect_timeout = CONNECT_SECONDS

    def open(self) -> None:
        """Connect, and return when the broker has taken us in. Raises `NotConnected`."""
        broker = self._broker
        try:
            if broker.tls:
                self._client.tls_set_context(ssl.create_default_context(cadata=broker.ca or None))
        except (ssl.SSLError, ValueError) as error:
            raise NotConnected("The CA certificate is no certificate in PEM format.") from error
        if broker.username:
            self._client.username_pw_set(broker.username, broker.password)
        try:
            self._connect()
        except (OSError, ValueError) as error:
            raise NotConnected(explain(error, broker)) from error
        self._client.loop_start()
        if not self._settled.wait(CONNECT_SECONDS):
            self._why = self._why or f"{broker.address} does not answer as an MQTT broker does."
        if not self.established:
            self.close()
            raise NotConnected(self._why)

    def _connect(self) -> None:
        host, port = self._broker.host, self._broker.port
        if not self._five:
            self._client.connect(host, port, KEEPALIVE_SECONDS)
            return
        properties = _properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if self._clean else self._session_seconds
        properties.ReceiveMaximum = REQUESTS
        self._client.connect(host, port, KEEPALIVE_SECONDS, clean_start=self._clean, properties=properties)

    def subscribe(self, topic: str) -> None:
        """Ask to listen; `Listening` says whether one may."""
        with _QUIETLY:
            self._subscribe(topic)

    def _subscribe(self, topic: str) -> None:
        if self._five:
            # Its own answers are not for it, and what was sent long ago is no request.
            never = SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=1, noLocal=True, retainHandling=never)
            self._client.subscribe(topic, options=options)
        else:
            self._client.subscribe(topic, qos=1)

    def unsubscribe(self, topic: str) -> None:
        """Listen no longer."""
        with _QUIETLY:
            self._client.unsubscribe(topic)

    def send(
        self, mid: int, topic: str, payload: bytes, qos: int, correlation: bytes | None, again: bool
    ) -> None:
        """Send an answer; `again` says that the broker may have it."""
        more = _properties(PacketTypes.PUBLISH)
        more.PayloadFormatIndicator, more.ContentType = 1, "application/json"
        if correlation is not None:
            more.CorrelationData = correlation
        with _QUIETLY:
            self._client.send(mid, topic, payload, qos, again, more)

    def release(self, mid: int) -> None:
        """Let the broker pass on an answer it has."""
        with _QUIETLY:
            self._client.release(mid)

    def acknowledge(self, packet: int) -> None:
        """Tell the broker that a request is answered."""
        with _QUIETLY:
            self._client.ack(packet, 1)

    def wait(self) -> None:
        """Return when the connection has ended, however that came about."""
        while not self.closed.wait(1.0):
            thread = self._client._thread
            if thread is None or not thread.is_alive():
                # What a broker sent made paho give up without a word.
                self._emit(Lost(f"The connection to {self._broker.address} ended in an error."))
                return

    def close(self) -> None:
        """End the connection; the broker keeps the session."""
        with _QUIETLY:
            self._client.disconnect()
        self._client.loop_stop()
        self.closed.set()

    def _on_connect(
        self, client: paho.Client, data: Any, flags: Any, reason: Any, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._why = refusal(str(reason), self._broker)
        else:
            self.established = True
            window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
            qos = min(self._broker.answer_qos, getattr(properties, "MaximumQoS", 2))
            self._emit(Connected(self, flags.session_present, window, qos))
        self._settled.set()

    def _on_disconnect(
        self, client: paho.Client, data: Any, flags: Any, reason: Any, properties: Properties | None
    ) -> None:
        if self.established:
            self._emit(Lost(f"The connection to {self._broker.address} ended: {reason}."))
        elif not self._why:
            self._why = (
                f"{self._broker.address} ended the connection before it answered; "
                f"it may speak {'no ' if self._broker.tls else ''}TLS, or another version of MQTT."
            )
        self._settled.set()
        self.closed.set()

    def _on_subscribe(
        self, client: paho.Client, data: Any, mid: int, reasons: list[Any], properties: Properties | None
    ) -> None:
        refused = next((str(each) for each in reasons if each.is_failure), "")
        self._emit(Listening(self, refused))

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        more = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            # No broker passes that on; a thread of paho must not end by it.
            topic = ""
        self._emit(
            Received(
                self,
                topic,
                bytes(message.payload),
                message.mid if message.qos else 0,
                message.dup,
                message.retain,
                str(getattr(more, "ResponseTopic", "")),
                getattr(more, "CorrelationData", None),
            )
        )

    def _on_stored(self, mid: int, code: int) -> None:
        # The broker knows the identifier already: it has the answer, from before.
        refused = code >= _REFUSED and code != _IN_USE
        self._emit(Stored(self, mid, f"reason {code:#04x}" if refused else ""))

    def _on_done(self, mid: int, code: int) -> None:
        # It has passed the answer on and forgotten it, but this word of it got lost.
        refused = code >= _REFUSED and code != _NO_SUCH_IDENTIFIER
        self._emit(Done(self, mid, f"reason {code:#04x}" if refused else ""))


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]


def explain(error: Exception, broker: Broker) -> str:
    """Return in plain words why a broker could not be reached."""
    if isinstance(error, socket.gaierror):
        return f"There is no host {broker.host}: its name leads to no address."
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or error.reason or "it cannot be checked"
        return (
            f"The certificate of {broker.address} is not trusted: {why}. "
            "Give the CA certificate that signed it, and the host name it was made for."
        )
    if isinstance(error, ssl.SSLError):
        return f"{broker.address} does not speak TLS: write mqtt:// instead of mqtts://, or another port."
    if isinstance(error, ConnectionRefusedError):
        return f"Nothing listens at {broker.address}."
    if isinstance(error, TimeoutError):
        return f"{broker.address} does not answer within {CONNECT_SECONDS:.0f} seconds."
    if isinstance(error, ConnectionError):
        return f"{broker.address} ended the connection; it may want TLS (mqtts://), or speak none."
    return f"{broker.address} cannot be reached: {getattr(error, 'strerror', None) or error}."


def refusal(reason: str, broker: Broker) -> str:
    """Return in plain words why a broker did not take us in."""
    words = reason.lower()
    if "password" in words or "not authorized" in words:
        return f"{broker.address} refuses the user or the password."
    if "protocol version" in words:
        return f"{broker.address} does not speak MQTT {broker.version}; choose the other version."
    return f"{broker.address} refuses the connection: {reason}."
