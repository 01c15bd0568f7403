"""Marks of open runs, so that the workspace's server knows that it is not idle."""

import contextlib
import json
import os
from pathlib import Path


def folder() -> Path:
    """Where the marks are: one file per open run, named by its id, holding the process id."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "a360" / "open-runs"


def mark(run_id: str) -> None:
    """Say that a run is open. A home that cannot be written is no reason to stop a run."""
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        # Renamed into the folder: whoever counts would take an unfinished mark for a broken one.
        written = folder().with_name(f"{run_id}.new")
        written.write_text(json.dumps({"pid": os.getpid()}))
        written.replace(folder() / run_id)


def unmark(run_id: str) -> None:
    """Say that a run is closed."""
    with contextlib.suppress(OSError):
        (folder() / run_id).unlink(missing_ok=True)


def count() -> int:
    """Return how many runs are open in living processes; marks of dead ones are removed."""
    return len(living())


def living() -> list[str]:
    """Return the ids of the runs that are open in living processes; marks of dead ones are removed."""
    alive = []
    for path in sorted(folder().glob("*")) if folder().is_dir() else []:
        try:
            process = int(json.loads(path.read_text())["pid"])
            os.kill(process, 0)
        except (OSError, ValueError, KeyError, TypeError):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        else:
            alive.append(path.name)
    return alive
