"""Folders whose processes a supervisor keeps up, seen from the service."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from a360_hub_service.backends.targets import supervisor
from a360_hub_service.backends.targets.types import TargetError


@dataclass(frozen=True)
class ProcessSpec:
    """One process: its program with arguments, all of its environment, its folder and its limits.

    `cgroups` are ``{"path", "settings": {file: value}}``, `rlimits` maps names of `resource` to values.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    port: int
    cgroups: Sequence[Mapping[str, Any]] = ()
    rlimits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ProcessState:
    """What became of a process; `pid` is 0 while it is down."""

    pid: int = 0
    restarts: int = 0
    message: str = ""


class RunFolder:
    """What should run (``run.json``), what does (``state.json``) and the logs, in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, processes: Sequence[ProcessSpec], drain_seconds: float) -> None:
        """Say what should run. Only before `start`: a running supervisor does not look again."""
        for folder in (self.path, self.path / "log", self.path / "work"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        document = {"replicas": [asdict(process) for process in processes], "drain_seconds": drain_seconds}
        write_json(self.path / "run.json", document)

    def processes(self) -> list[ProcessSpec]:
        """Return what should run, [] when nothing was written."""
        return [ProcessSpec(**item) for item in read_json(self.path / "run.json").get("replicas", [])]

    def start(self) -> None:
        """Start a supervisor unless one is at work; it takes over processes an earlier one left."""
        if self.is_supervised():
            return
        with open(self.path / "log" / "supervisor.log", "ab") as log:
            subprocess.run(
                [sys.executable, "-I", "-S", supervisor.__file__, str(self.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                cwd="/",
                timeout=30,
                check=True,
            )
        if not wait_for(self.is_supervised, 10):
            raise TargetError(f"The supervisor of {self.path.name} did not start: {self.tail(5)}")

    def is_supervised(self) -> bool:
        """Does a supervisor live?"""
        pid, started = self._supervisor()
        return bool(started) and supervisor.identity(pid) == started

    def _supervisor(self) -> tuple[int, str]:
        record = read_json(self.path / "state.json").get("supervisor", {})
        return int(record.get("pid", 0)), str(record.get("started", ""))

    def states(self) -> dict[str, ProcessState]:
        """Return the state of each process by name; what died unseen has pid 0."""
        found = {}
        for name, record in read_json(self.path / "state.json").get("replicas", {}).items():
            alive = record["started"] and supervisor.identity(record["pid"]) == record["started"]
            pid = int(record["pid"]) if alive else 0
            found[name] = ProcessState(pid, max(0, int(record["restarts"])), str(record["message"]))
        return found

    def stop(self, drain_seconds: float) -> None:
        """Stop the supervisor and its processes and wait for it; calls in progress get `drain_seconds`."""
        pid, started = self._supervisor()
        if started and supervisor.identity(pid) == started:
            # It may end by itself just before.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
                if not wait_for(lambda: supervisor.identity(pid) != started, drain_seconds + 10):
                    os.kill(pid, signal.SIGKILL)
        # What lost its supervisor, or outlived it.
        for record in read_json(self.path / "state.json").get("replicas", {}).values():
            if record["started"]:
                supervisor.kill_session(record["pid"], record["started"])
        for process in self.processes():
            for group in process.cgroups:
                supervisor.remove_cgroup(Path(group["path"]))

    def delete(self, drain_seconds: float) -> None:
        """Stop everything and remove the folder."""
        self.stop(drain_seconds)
        shutil.rmtree(self.path, ignore_errors=True)

    def tail(self, lines: int) -> str:
        """Return the last lines of all logs."""
        parts = []
        for file in sorted(self.path.glob("log/*.log")):
            with file.open("rb") as stream:
                stream.seek(max(0, file.stat().st_size - 400 * lines))
                parts += stream.read().decode("utf-8", "replace").splitlines()[-lines:]
        return "\n".join(parts)


def wait_for(condition: Any, seconds: float, pause: float = 0.02) -> bool:
    """Ask until `condition()` is true; False when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Return the document in a file, {} when there is none."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}


def write_json(path: Path, document: object, mode: int = 0o600) -> None:
    """Replace a file at once: readers see the old document or the new one."""
    # A name of its own for each call: threads may replace the same file at the same time.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8"
        ) as file:
            json.dump(document, file)
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
