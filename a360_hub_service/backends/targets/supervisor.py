"""A small program that keeps processes up: ``python -I -S supervisor.py FOLDER``.

It detaches itself, so that neither the end of the hub nor of the service ends it. FOLDER holds ``run.json``,
what should run (see `RunFolder` in ``supervised.py``), and gets ``state.json``, what does. One lives per
endpoint, so it is a script that needs the standard library only. It needs Linux, for ``/proc``.
"""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

_BACKOFF = 0.1
_BACKOFF_MAX = 30.0
_STEADY = 60.0
_POLL = 0.5
_LOG_MAX = 10_000_000


def identity(pid: int) -> str:
    """Return what tells this process from a later one with the same pid, "" when it does not live."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{_boot()}:{fields[19]}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


def kill_session(leader: int, started: str) -> None:
    """Kill every process of the session that the process `leader` with the identity `started` led."""
    # After a restart of the machine, or when the pid has a new owner, nothing of the session can be left.
    if not started.startswith(_boot()) or identity(leader) not in ("", started):
        return
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            if pid != os.getpid() and os.getsid(pid) == leader:
                os.kill(pid, signal.SIGKILL)


class Replica:
    """One process that is kept up."""

    def __init__(self, folder: Path, spec: dict[str, Any], known: dict[str, Any]) -> None:
        self.folder = folder
        self.spec = spec
        self.name = str(spec["name"])
        self.pid = int(known.get("pid", 0))
        self.started = str(known.get("started", ""))
        self.restarts = int(known.get("restarts", -1))
        self.message = str(known.get("message", ""))
        self.since = time.monotonic()
        self.next_start = 0.0
        self.failures = 0

    def is_alive(self) -> bool:
        """Does the process live? Collects it when it is a child that ended."""
        if not self.pid:
            return False
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.message = (
                    f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                )
        return bool(self.started) and identity(self.pid) == self.started

    def tend(self) -> bool:
        """Start the process if it is down and its time has come. Returns whether anything changed."""
        now = time.monotonic()
        if self.is_alive():
            self.failures = 0 if now - self.since > _STEADY else self.failures
            return False
        if self.pid:
            # What it left behind still holds its port.
            kill_session(self.pid, self.started)
            self.pid, self.started = 0, ""
            self.next_start = now + min(_BACKOFF * 2**self.failures, _BACKOFF_MAX)
            self.failures += 1
            return True
        if now < self.next_start:
            return False
        self.start()
        return True

    def start(self) -> None:
        """Start the process in a session and a control group of its own."""
        self.restarts += 1
        self.since = time.monotonic()
        try:
            for group in self.spec.get("cgroups", []):
                make_cgroup(Path(group["path"]), group["settings"])
            self.pid = os.fork()
            if not self.pid:
                self._become()
            self.started = identity(self.pid)
        except OSError as error:
            self.pid, self.started, self.message = 0, "", f"cannot be started: {error}"
            self.next_start = self.since + min(_BACKOFF * 2**self.failures, _BACKOFF_MAX)
            self.failures += 1

    def _become(self) -> None:
        """Turn the forked child into the program; never returns."""
        try:
            os.setsid()
            signal.pthread_sigmask(signal.SIG_SETMASK, set())
            for group in self.spec.get("cgroups", []):
                Path(group["path"], "cgroup.procs").write_text("0")
            for name, value in self.spec.get("rlimits", {}).items():
                resource.setrlimit(getattr(resource, name), (int(value), int(value)))
            os.chdir(self.spec["cwd"])
            log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.closerange(3, 1024)
            os.execve(self.spec["argv"][0], self.spec["argv"], self.spec["env"])  # noqa: S606
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(2, f"cannot be started: {error}\n".encode())
        finally:
            os._exit(127)

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self.folder / "log" / f"{self.name}.log"

    def state(self) -> dict[str, Any]:
        """Return what is kept of it."""
        keys = ("pid", "started", "restarts", "message")
        return {key: getattr(self, key) for key in keys}


def make_cgroup(path: Path, settings: dict[str, str]) -> None:
    """Make the control group with its limits; one that is there already is set again."""
    path.mkdir(parents=True, exist_ok=True)
    for name, value in settings.items():
        (path / name).write_text(value)


class Supervisor:
    """Keeps the replicas of one folder up until SIGTERM, then stops them and leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = json.loads((folder / "run.json").read_text("utf-8"))
        known = self._read_state()
        specs = self.run["replicas"]
        self.replicas = [Replica(folder, spec, known.get(spec["name"], {})) for spec in specs]

    def _read_state(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "state.json").read_text("utf-8"))["replicas"])
        except (OSError, ValueError, KeyError):
            return {}

    def serve(self) -> None:
        """Run until told to stop."""
        signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        self.save()
        while True:
            changes = [replica.tend() for replica in self.replicas]
            if any(changes):
                self.save()
            self._trim_logs()
            wait = _POLL if all(replica.pid for replica in self.replicas) else _BACKOFF
            got = signal.sigtimedwait(signals, wait)
            if got and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
        self.stop()

    def stop(self) -> None:
        """End the replicas: calls in progress may finish, then what is left is killed."""
        alive = [replica for replica in self.replicas if replica.is_alive()]
        for replica in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(replica.pid, signal.SIGTERM)
        deadline = time.monotonic() + float(self.run["drain_seconds"])
        while any(replica.is_alive() for replica in alive) and time.monotonic() < deadline:
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        for replica in self.replicas:
            if replica.pid:
                kill_session(replica.pid, replica.started)
                replica.is_alive()
            for group in replica.spec.get("cgroups", []):
                remove_cgroup(Path(group["path"]))
        # The folder may be gone already: whoever stops an endpoint deletes it.
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "state.json").unlink()

    def save(self) -> None:
        """Write state.json; a full disk must not end what runs."""
        mine = {"pid": os.getpid(), "started": identity(os.getpid())}
        document = {"supervisor": mine, "replicas": {each.name: each.state() for each in self.replicas}}
        with contextlib.suppress(OSError):
            temporary = self.folder / "state.json.new"
            temporary.write_text(json.dumps(document), "utf-8")
            os.replace(temporary, self.folder / "state.json")

    def _trim_logs(self) -> None:
        for replica in self.replicas:
            with contextlib.suppress(OSError):
                if replica.log.stat().st_size > _LOG_MAX:
                    # The process keeps its descriptor, so the file is copied and emptied, not renamed.
                    shutil.copyfile(replica.log, replica.log.with_suffix(".log.1"))
                    os.truncate(replica.log, 0)


def remove_cgroup(path: Path) -> None:
    """Remove an empty control group; its last process may need a moment to leave it."""
    deadline = time.monotonic() + 2
    while path.exists() and time.monotonic() < deadline:
        try:
            path.rmdir()
        except OSError:
            time.sleep(0.02)


def main(folder: Path) -> int:
    """Detach, then supervise `folder` unless another process does already."""
    if os.fork():
        return 0
    os.setsid()
    if os.fork():
        os._exit(0)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os._exit(0)
    os.set_inheritable(lock, False)
    Supervisor(folder).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
