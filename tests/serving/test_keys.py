"""The ring of keys of a replica."""

import hashlib
import json
import threading
from pathlib import Path

from a360runtime.serving.keys import KeyRing

AT_ONCE = 8


def write(path: Path, *keys: str) -> None:
    records = [
        {"id": key, "sha256": hashlib.sha256(key.encode()).hexdigest(), "expires_at": None} for key in keys
    ]
    new = path.with_suffix(".new")
    new.write_text(json.dumps(records))
    new.replace(path)


def admitted(ring: KeyRing, key: str) -> list[bool]:
    """What as many threads are told that come at the same moment."""
    barrier, told = threading.Barrier(AT_ONCE), []

    def call() -> None:
        barrier.wait()
        told.append(ring.accepts(key))

    threads = [threading.Thread(target=call) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_all_that_come_at_once_are_admitted_from_the_first_moment_on(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for number in range(50):
        write(path, f"key-{number}")
        assert admitted(KeyRing(str(path)), f"key-{number}") == [True] * AT_ONCE


def test_none_is_refused_while_another_reads_the_new_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    write(path, "first")
    for number in range(50):
        ring = KeyRing(str(path))
        write(path, "first", f"key-{number}")
        # The file was looked at a moment ago; that is forgotten, as if that moment had passed.
        ring._looked = 0.0
        assert admitted(ring, f"key-{number}") == [True] * AT_ONCE
