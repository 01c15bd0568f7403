"""What is known of a capture, and keeping it on disk."""

import contextlib
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

QUEUED, RUNNING, CLOSING = "queued", "running", "closing"
FINISHED, FAILED, CANCELLED, INTERRUPTED = "finished", "failed", "cancelled", "interrupted"
ACTIVE = (QUEUED, RUNNING, CLOSING)
KEPT = 50
"""Ended captures that are remembered; the platform has the runs of all others."""


def now() -> str:
    """The time, as captures say it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass
class Capture:
    """A notebook on its way through a kernel.

    ``notebook`` is where it came from; ``run`` what the service knows of its run; ``error`` why it did not
    finish: ``name``, ``message`` and the number of the ``cell``, counted from one. ``outcome`` is the state
    it will have once its run is closed, and ``stored`` whether the run's artifacts hold what came out.
    """

    id: str
    notebook: str
    experiment_id: str
    run: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    time_limit: float | None = None
    state: str = QUEUED
    cells: int = 0
    done: int = 0
    error: dict[str, Any] | None = None
    outcome: str | None = None
    detail: str = ""
    stored: bool = False
    created_at: str = field(default_factory=now)
    started_at: str | None = None
    ended_at: str | None = None

    @property
    def active(self) -> bool:
        """Whether there is still something to do."""
        return self.state in ACTIVE

    def document(self) -> dict[str, Any]:
        """What callers are told."""
        told = asdict(self)
        run = told.pop("run")
        told.pop("outcome")
        return {**told, "run_id": run["id"]}


class Store:
    """A folder with one folder a capture: its record, the notebook as it was given, and what came out.

    Args:
        root: made at the first capture.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of_workspace(cls) -> "Store":
        """The store in the workspace's home."""
        state = os.environ.get("XDG_STATE_HOME")
        base = Path(state) if state else Path.home() / ".local" / "state"
        return cls(base / "a360" / "captures")

    def folder(self, capture_id: str) -> Path:
        """Where a capture's files are."""
        return self.root / capture_id

    def source(self, capture_id: str) -> Path:
        """The notebook as it was given."""
        return self.folder(capture_id) / "input.ipynb"

    def executed(self, capture_id: str) -> Path:
        """The notebook as it was executed, as far as it came."""
        return self.folder(capture_id) / "executed.ipynb"

    def create(self, source: bytes) -> str:
        """Keep a notebook that is to run; return the new capture's id.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        capture_id = f"{datetime.now(UTC):%Y%m%d%H%M%S%f}-{secrets.token_hex(4)}"
        self.folder(capture_id).mkdir(parents=True, mode=0o700)
        try:
            self.source(capture_id).write_bytes(source)
        except OSError:
            self.remove(capture_id)
            raise
        return capture_id

    def save(self, capture: Capture) -> None:
        """Write the record; a reader finds the old one or the new one."""
        path = self.folder(capture.id) / "capture.json"
        written = path.with_suffix(".new")
        written.write_text(json.dumps(asdict(capture)))
        written.replace(path)

    def load(self) -> list[Capture]:
        """Return all captures, oldest first; a folder without a readable record is removed."""
        known = {each.name for each in fields(Capture)}
        found = []
        for folder in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            try:
                document = json.loads((folder / "capture.json").read_text())
                found.append(Capture(**{name: value for name, value in document.items() if name in known}))
            except (OSError, ValueError, TypeError, AttributeError):
                self.remove(folder.name)  # the server ended between the folder and its first record
        return found

    def remove(self, capture_id: str) -> None:
        """Forget a capture and its files."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder(capture_id))
