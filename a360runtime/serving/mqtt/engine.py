"""What happens to a request, from its arrival to the acknowledgement of its acknowledgement.

A request is acknowledged when the broker has its answer, never before; the answer goes at quality 2, which a
broker passes on once however often it comes. Each step is in the journal before the next one is taken, so
that neither a restart of the broker nor the end of this process at any moment makes a second answer or loses
the first. What cannot be known is reported: in the log, and counted in the health file.
"""

import itertools
import logging
import queue
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from a360runtime.serving.mqtt import connection as c
from a360runtime.serving.mqtt.answering import Answerer, Request
from a360runtime.serving.mqtt.health import write_health
from a360runtime.serving.mqtt.identity import digest_of, identity_of, short
from a360runtime.serving.mqtt.journal import NEW, STORED, Journal, Outgoing
from a360runtime.serving.mqtt.settings import Settings
from a360runtime.serving.mqtt.topics import why_no_pair, why_no_topic

logger = logging.getLogger("a360.serving")

BATCH_SECONDS = 0.05
"""How long requests are gathered at most before what they need is written down together."""
HEARTBEAT_SECONDS = 5.0

_EARLIER = -1
"""Stamp of acknowledgements by an earlier process."""
_REFUSED = "refused"
_LISTEN, _SESSION = "listen_topic", "session"


@dataclass
class _Request:
    """A request the broker may send again.

    `on` is the connection it came by last, `acknowledged` the stamp of our acknowledgement, 0 before that.
    """

    digest: bytes
    on: object
    answered: bool = False
    acknowledged: int = 0


class Engine:
    """Turns events of connections into answers; runs in one thread.

    Parameters
    ----------
    settings
        Topics, limits, the state folder.
    answerer
        What answers a request.
    journal
        Where it is kept.
    """

    def __init__(self, settings: Settings, answerer: Answerer, journal: Journal) -> None:
        self.events: queue.SimpleQueue[c.Event | None] = queue.SimpleQueue()
        self._settings, self._answerer, self._journal = settings, answerer, journal
        self._connection: c.Connection | None = None
        self._window, self._qos = c.WINDOW, settings.broker.answer_qos
        self._answers = {each.mid: each for each in journal.outgoing()}
        self._waiting: deque[int] = deque()
        self._flying: dict[int, int] = {}
        self._requests = {packet: _Request(digest, None, True, _EARLIER) for packet, digest in self._known()}
        for each in self._answers.values():
            if each.packet is not None:
                self._requests[each.packet] = _Request(each.digest, None)
        self._working = {each.identity for each in self._answers.values() if each.identity}
        self._order: deque[int] = deque()
        self._unconfirmed: deque[tuple[int, int]] = deque()
        self._stamps = itertools.count(1)
        self._after: list[Callable[[], None]] = []
        self._counts: Counter[str] = Counter()
        self._state, self._message, self._beat = "starting", "Connecting to the broker.", 0.0

    def _known(self) -> list[tuple[int, bytes]]:
        return list(self._journal.answered().items())

    def run(self) -> None:
        """Work until an event None comes; then until what is on its way has arrived, for a while."""
        self._heartbeat(force=True)
        while self._work(HEARTBEAT_SECONDS):
            pass
        self._drain()
        self._state, self._message = "stopped", "The wrapper was stopped."
        self._heartbeat(force=True)

    def _work(self, seconds: float) -> bool:
        """Handle what has come, waiting for so many seconds; False when it is time to stop."""
        going = True
        try:
            event = self.events.get(timeout=seconds)
            until = time.monotonic() + BATCH_SECONDS
            while True:
                if event is None:
                    going = False
                    break
                self._handle(event)
                if time.monotonic() > until:
                    break
                event = self.events.get_nowait()
        except queue.Empty:
            pass
        self._settle()
        return going

    def _drain(self) -> None:
        """Let answers on their way arrive; requests that come now stay with the broker."""
        until = time.monotonic() + self._settings.drain_seconds
        while self._answers and self._connection and time.monotonic() < until:
            try:
                event = self.events.get(timeout=0.2)
            except queue.Empty:
                continue
            if event is not None and not isinstance(event, c.Received):
                self._handle(event)
            self._settle()

    def _handle(self, event: c.Event) -> None:
        if isinstance(event, c.Received):
            self._on_received(event)
        elif isinstance(event, c.Connected):
            self._on_connected(event)
        elif isinstance(event, c.Lost):
            self._connection = None
            self._say("connecting", event.why)
        elif event.connection is self._connection:
            if isinstance(event, c.Listening):
                self._on_listening(event)
            elif isinstance(event, c.Stored):
                self._on_stored(event)
            else:
                self._on_done(event)

    def _settle(self) -> None:
        """Make what was decided last, then do it."""
        self._journal.commit()
        self._send_waiting()
        after, self._after = self._after, []
        for act in after:
            act()
        self._acknowledge()
        self._heartbeat()

    # Connections.

    def _on_connected(self, event: c.Connected) -> None:
        self._connection = event.connection
        self._window, self._qos = event.window, event.qos
        self._order.clear()
        self._unconfirmed.clear()
        self._flying.clear()
        if not event.resumed:
            self._begin_session()
        elif self._journal.fact(_SESSION) != self._session:
            self._counts["lost_journals"] += 1
            logger.warning("The journal of what was answered is lost: answers may come twice.")
        self._journal.remember(_SESSION, self._session)
        for mid, answer in self._answers.items():
            if answer.state == STORED and self._qos == 2:
                self._flying[mid] = next(self._stamps)
                self._release(mid)
        self._waiting = deque(mid for mid in self._answers if mid not in self._flying)
        self._listen(event.connection)

    @property
    def _session(self) -> str:
        return f"{self._settings.client_id} at {self._settings.broker.address}"

    def _begin_session(self) -> None:
        """What the broker held for an earlier session is gone, and what it had of answers may be."""
        if self._journal.fact(_SESSION) == self._session:
            self._counts["lost_sessions"] += 1
            logger.warning("The broker lost the session; requests it held back for this model are lost.")
        self._journal.forget_session()
        self._requests.clear()
        for answer in self._answers.values():
            answer.packet = None
            if answer.state == STORED or (answer.sent and self._qos == 1):
                self._doubt(answer)
            if answer.state == STORED:
                answer.state = NEW
                self._journal.renew(answer.mid)
            answer.sent = False

    def _doubt(self, answer: Outgoing) -> None:
        self._counts["in_doubt"] += 1
        logger.warning(
            "in doubt: the answer to %s is sent again, and may arrive twice.", short(answer.digest)
        )

    def _listen(self, connection: c.Connection) -> None:
        topic, before = self._settings.listen_topic, self._journal.fact(_LISTEN)
        if before and before != topic:
            self._later(lambda connection: connection.unsubscribe(before))
        self._later(lambda connection: connection.subscribe(topic))

    def _on_listening(self, event: c.Listening) -> None:
        topic = self._settings.listen_topic
        if event.why_not:
            # Rights may come; it is asked for again with the next heartbeat.
            self._say(_REFUSED, f"The broker does not let this user listen on {topic}: {event.why_not}.")
        else:
            self._journal.remember(_LISTEN, topic)
            self._say("listening", f"Listens on {topic} at {self._settings.broker.address}.")

    def _later(self, act: Callable[[c.Connection], None]) -> None:
        """Do something on the present connection once the journal is written."""
        connection = self._connection
        if connection is not None:
            self._after.append(lambda: act(connection))

    def _release(self, mid: int) -> None:
        self._later(lambda connection: connection.release(mid))

    # Requests.

    def _on_received(self, event: c.Received) -> None:
        digest = digest_of(event)
        if event.packet:
            if self._is_known(event, digest):
                return
            self._requests[event.packet] = _Request(digest, event.connection)
            self._expect(event)
        if event.retained:
            # It was sent before anybody listened, and comes again with each subscription.
            self._leave("retained", event)
            return
        request = self._answerer.read(event.payload)
        identity = identity_of(event, digest, request)
        if identity and self._was_answered(identity):
            self._leave("duplicates", event)
            return
        self._answer(event, request, digest, identity)

    def _is_known(self, event: c.Received, digest: bytes) -> bool:
        """Is this a request that came before, sent again because our acknowledgement is missing?"""
        known = self._requests.get(event.packet)
        if known is None or known.digest != digest:
            return False
        if known.acknowledged and (known.on is event.connection or not event.repeated):
            # The broker has our acknowledgement, and the identifier stands for another request now.
            return False
        known.on, known.acknowledged = event.connection, 0
        self._expect(event)
        self._counts["redelivered"] += 1
        return True

    def _expect(self, event: c.Received) -> None:
        if event.connection is self._connection:
            self._order.append(event.packet)

    def _was_answered(self, identity: bytes) -> bool:
        seconds = self._settings.duplicate_seconds
        return identity in self._working or self._journal.has_seen(identity, seconds)

    def _leave(self, why: str, event: c.Received) -> None:
        """Acknowledge a request without an answer."""
        self._counts[why] += 1
        logger.warning("not answered (%s): the request %s.", why, short(digest_of(event)))
        if event.packet:
            self._requests[event.packet].answered = True

    def _answer(self, event: c.Received, request: Request, digest: bytes, identity: bytes | None) -> None:
        began = time.perf_counter()
        made = self._answerer.answer(request)
        self._counts["answered" if made.status == 200 else "refused" if made.status < 500 else "failed"] += 1
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        seconds = time.perf_counter() - began
        logger.info(
            "access time=%s status=%d seconds=%.6f request=%s", at, made.status, seconds, short(digest)
        )
        answer = Outgoing(
            mid=self._journal.next_mid(iter(self._answers)),
            topic=self._respond_topic(event),
            payload=made.document,
            correlation=event.correlation,
            packet=event.packet or None,
            digest=digest,
            identity=identity,
        )
        self._journal.add(answer)
        self._answers[answer.mid] = answer
        self._waiting.append(answer.mid)
        if identity:
            self._working.add(identity)

    def _respond_topic(self, event: c.Received) -> str:
        """Return where the answer goes: where the request asks for it, if that can be."""
        asked, usual = event.respond_topic, self._settings.respond_topic
        if not asked:
            return usual
        why = why_no_topic(asked) or why_no_pair(self._settings.listen_topic, asked)
        if why:
            logger.warning("The response topic of a request %s; its answer goes to %s.", why, usual)
        return usual if why else asked

    # Answers.

    def _send_waiting(self) -> None:
        connection = self._connection
        while connection and self._waiting and len(self._flying) < self._window:
            answer = self._answers[self._waiting.popleft()]
            if answer.sent and self._qos == 1:
                self._doubt(answer)
            again, answer.sent = answer.sent, True
            self._flying[answer.mid] = next(self._stamps)
            connection.send(answer.mid, answer.topic, answer.payload, self._qos, answer.correlation, again)

    def _on_stored(self, event: c.Stored) -> None:
        answer = self._answers.get(event.mid)
        if answer is None:
            # Finished before, but the broker missed the end of it.
            self._release(event.mid)
            return
        self._confirm(event.mid)
        if event.why_not:
            self._finish(answer, event.why_not)
            return
        answer.state = STORED
        self._journal.stored(event.mid)
        self._release(event.mid)

    def _on_done(self, event: c.Done) -> None:
        answer = self._answers.get(event.mid)
        if answer is not None:
            self._confirm(event.mid)
            self._finish(answer, event.why_not)

    def _finish(self, answer: Outgoing, why_not: str) -> None:
        """The answer has arrived, or the broker does not want it; its request is done with either way."""
        if why_not:
            self._counts["undeliverable"] += 1
            logger.error(
                "undeliverable: the broker refuses the answer to %s on %s (%s).",
                *(short(answer.digest), answer.topic, why_not),
            )
        del self._answers[answer.mid]
        self._flying.pop(answer.mid, None)
        self._working.discard(answer.identity or b"")
        self._journal.done(answer)
        request = self._requests.get(answer.packet or 0)
        if request is not None and request.digest == answer.digest:
            request.answered = True

    def _acknowledge(self) -> None:
        """Acknowledge what is answered, in the order in which it came, as the protocol wants it."""
        connection = self._connection
        while connection and self._order:
            request = self._requests.get(self._order[0])
            if request is not None and not request.answered:
                return
            packet = self._order.popleft()
            if request is not None and not request.acknowledged and request.on is connection:
                request.acknowledged = next(self._stamps)
                connection.acknowledge(packet)
                self._unconfirmed.append((request.acknowledged, packet))

    def _confirm(self, mid: int) -> None:
        """The broker has read all we sent before this answer: what that acknowledged does not come again."""
        stamp = self._flying.get(mid, 0)
        while self._unconfirmed and self._unconfirmed[0][0] < stamp:
            acknowledged, packet = self._unconfirmed.popleft()
            request = self._requests.get(packet)
            # The identifier may stand for another request by now.
            if request is not None and request.acknowledged == acknowledged:
                del self._requests[packet]
                self._journal.forget_packet(packet)

    # What it says of itself.

    def _say(self, state: str, message: str) -> None:
        if (state, message) != (self._state, self._message):
            logger.log(logging.INFO if state == "listening" else logging.WARNING, "%s", message)
        self._state, self._message = state, message
        self._heartbeat(force=True)

    def _heartbeat(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._beat < HEARTBEAT_SECONDS:
            return
        self._beat = now
        if self._state == _REFUSED and not force and self._connection:
            self._connection.subscribe(self._settings.listen_topic)
        self._journal.forget_seen(self._settings.duplicate_seconds)
        counts: dict[str, Any] = dict(self._counts) | {"waiting": len(self._answers)}
        write_health(self._settings.state, {"state": self._state, "message": self._message, "counts": counts})
