"""What must outlive the process: answers on their way, and which requests were answered already.

One SQLite file in the state folder. Nothing is sent before what it needs is committed, so that a process that
is killed at any moment goes on where it was: an answer keeps its packet identifier, by which the broker knows
it again.
"""

import fcntl
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FIRST_MID, LAST_MID = 100, 65_535
"""Packet identifiers of answers; those below are for subscriptions."""

NEW, STORED = 0, 1
"""States of an answer: not known to be at the broker; at the broker, and ours to release."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  mid INTEGER PRIMARY KEY, place INTEGER NOT NULL, state INTEGER NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, correlation BLOB, packet INTEGER, digest BLOB NOT NULL, identity BLOB);
CREATE TABLE IF NOT EXISTS answered (packet INTEGER PRIMARY KEY, digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS seen (identity BLOB PRIMARY KEY, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS ix_seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Busy(Exception):
    """Another process works with this state folder."""


@dataclass
class Outgoing:
    """An answer on its way. `packet` is the identifier of its request, None for one of quality 0.

    `digest` tells the request from others under the same identifier, `identity` (None without correlation
    data) from all others; `sent` is whether it may have left this process before.
    """

    mid: int
    topic: str
    payload: bytes
    correlation: bytes | None
    packet: int | None
    digest: bytes
    identity: bytes | None
    state: int = NEW
    sent: bool = False


class Journal:
    """The file; used by one thread. Changes count from `commit` on."""

    def __init__(self, folder: Path, lock_seconds: float = 30.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(folder / "lock", "w")  # noqa: SIM115
        self._hold(lock_seconds)
        self._file = sqlite3.connect(folder / "journal.sqlite", isolation_level=None)
        self._file.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;" + _SCHEMA)
        self._place = 0
        # Not the same each time: a broker may remember answers of a state folder that was lost.
        self._mid = random.randint(FIRST_MID, LAST_MID)  # noqa: S311
        self._in_transaction = False

    def _hold(self, seconds: float) -> None:
        """Wait for the process before this one, which may be finishing its answers. Raises `Busy`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                if time.monotonic() > deadline:
                    self._lock.close()
                    raise Busy("Another process answers for this model with the same state folder.") from None
                time.sleep(0.1)

    def close(self) -> None:
        """Commit and let the folder go."""
        self.commit()
        self._file.close()
        self._lock.close()

    def commit(self) -> None:
        """Make all that was changed since the last time last."""
        if self._in_transaction:
            self._file.execute("COMMIT")
            self._in_transaction = False

    def _change(self, statement: str, *values: object) -> None:
        if not self._in_transaction:
            self._file.execute("BEGIN")
            self._in_transaction = True
        self._file.execute(statement, values)

    def outgoing(self) -> list[Outgoing]:
        """Return the answers on their way, in their order; each may have been sent."""
        columns = "mid, topic, payload, correlation, packet, digest, identity, state, place"
        rows = self._file.execute(f"SELECT {columns} FROM answers ORDER BY place").fetchall()  # noqa: S608
        if rows:
            self._place, self._mid = rows[-1][-1], rows[-1][0]
        found = [Outgoing(*row[:-1]) for row in rows]
        for each in found:
            each.sent = True
        return found

    def add(self, outgoing: Outgoing) -> None:
        """Write an answer down before it is sent."""
        self._place += 1
        self._change(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(outgoing.mid, self._place, outgoing.state, outgoing.topic, outgoing.payload),
            *(outgoing.correlation, outgoing.packet, outgoing.digest, outgoing.identity),
        )

    def next_mid(self, taken: Iterator[int]) -> int:
        """Return a packet identifier that no answer on its way has."""
        used = set(taken)
        while True:
            self._mid = self._mid + 1 if self._mid < LAST_MID else FIRST_MID
            if self._mid not in used:
                return self._mid

    def stored(self, mid: int) -> None:
        """The broker has this answer: from now on it is released, never sent again."""
        self._change("UPDATE answers SET state = ? WHERE mid = ?", STORED, mid)

    def renew(self, mid: int) -> None:
        """The broker has lost this answer: it is to be sent again."""
        self._change("UPDATE answers SET state = ? WHERE mid = ?", NEW, mid)

    def done(self, outgoing: Outgoing) -> None:
        """The answer has arrived: its request may be acknowledged, and is not answered again."""
        self._change("DELETE FROM answers WHERE mid = ?", outgoing.mid)
        if outgoing.packet is not None:
            self._change("REPLACE INTO answered VALUES (?, ?)", outgoing.packet, outgoing.digest)
        if outgoing.identity is not None:
            self._change("REPLACE INTO seen VALUES (?, ?)", outgoing.identity, time.time())

    def answered(self) -> dict[int, bytes]:
        """Return the digests of answered requests whose acknowledgement may not have arrived."""
        return dict(self._file.execute("SELECT packet, digest FROM answered").fetchall())

    def forget_packet(self, packet: int) -> None:
        """The acknowledgement of this request has arrived: its identifier is free for another."""
        self._change("DELETE FROM answered WHERE packet = ?", packet)

    def forget_session(self) -> None:
        """The broker has lost the session: identifiers of requests mean nothing any more."""
        self._change("DELETE FROM answered")
        self._change("UPDATE answers SET packet = NULL")

    def has_seen(self, identity: bytes, seconds: float) -> bool:
        """Was a request with this identity answered within so many seconds?"""
        since = time.time() - seconds
        query = "SELECT 1 FROM seen WHERE identity = ? AND at > ?"
        return self._file.execute(query, (identity, since)).fetchone() is not None

    def forget_seen(self, seconds: float) -> None:
        """Drop identities answered longer ago."""
        self._change("DELETE FROM seen WHERE at <= ?", time.time() - seconds)

    def fact(self, name: str) -> str:
        """Return what was remembered under a name, "" when nothing was."""
        found = self._file.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else ""

    def remember(self, name: str, value: str) -> None:
        """Remember a text under a name."""
        self._change("REPLACE INTO facts VALUES (?, ?)", name, value)
