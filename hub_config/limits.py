"""CPU and memory limits of local workspaces: control groups where writable, else resource limits."""

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CGROUP_ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@dataclass
class Applied:
    """Which limits hold for a workspace, and how: shown to its owner as it is."""

    cpu_applied: bool = False
    memory_applied: bool = False
    note: str = ""
    groups: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for the Hub's state and the workspace's own file."""
        return asdict(self)


class Limits:
    """The limits of one workspace.

    Parameters
    ----------
    name : str
        Name of its control group, unique on the machine.
    cpu : float
        Cores.
    memory : int
        Bytes for all processes of the workspace together.
    root : Path
        Where the kernel shows control groups; another folder in tests.
    """

    def __init__(self, name: str, cpu: float, memory: int, root: Path = CGROUP_ROOT) -> None:
        self.name, self.cpu, self.memory, self.root = name, cpu, memory, root
        self.applied = Applied()
        self._rlimit = False

    def prepare(self) -> Applied:
        """Make the control groups; call before the process starts. Says what will hold."""
        if (self.root / "cgroup.controllers").is_file():
            self._prepare_v2()
        else:
            self.applied.memory_applied = self._prepare_v1(
                "memory", {"memory.limit_in_bytes": self.memory}, {"memory.memsw.limit_in_bytes": self.memory}
            )
            quota = max(1000, math.ceil(self.cpu * PERIOD_US))
            self.applied.cpu_applied = self._prepare_v1(
                "cpu", {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": quota}, {}
            )
        self._note()
        return self.applied

    def _prepare_v2(self) -> None:
        parent = self.root / "a360"
        try:
            # Only a group without processes may hand controllers down, hence one of our own in between.
            parent.mkdir(exist_ok=True)
            (parent / "cgroup.subtree_control").write_text("+memory +cpu")
            group = parent / self.name
            group.mkdir(exist_ok=True)
            (group / "memory.max").write_text(str(self.memory))
            (group / "cpu.max").write_text(f"{math.ceil(self.cpu * PERIOD_US)} {PERIOD_US}")
        except OSError:
            return
        with contextlib.suppress(OSError):
            (group / "memory.swap.max").write_text("0")
        self.applied.groups.append(str(group))
        self.applied.memory_applied = self.applied.cpu_applied = True

    def _prepare_v1(self, controller: str, required: dict[str, int], optional: dict[str, int]) -> bool:
        try:
            group = _own_group(self.root, controller) / f"a360-{self.name}"
            group.mkdir(exist_ok=True)
            for file, value in required.items():
                (group / file).write_text(str(value))
        except OSError:
            return False
        for file, value in optional.items():
            with contextlib.suppress(OSError):
                (group / file).write_text(str(value))
        self.applied.groups.append(str(group))
        return True

    def _note(self) -> None:
        notes = []
        if not self.applied.memory_applied:
            # Counts the private writable memory of each process: one cannot pass the limit, two can.
            self._rlimit = self.applied.memory_applied = True
            notes.append(
                "memory is limited for each process, not for all together: no writable control group here"
            )
        if not self.applied.cpu_applied:
            notes.append(
                "CPU is not limited here (no writable control group); only thread pools are sized to it"
            )
        self.applied.note = "; ".join(notes)

    def preexec(self) -> Callable[[], None]:
        """What the child runs between fork and exec: it enters the groups, so that no moment is unlimited."""
        groups = [os.path.join(group, "cgroup.procs") for group in self.applied.groups]
        memory, rlimit = self.memory, self._rlimit

        def enter() -> None:
            pid = str(os.getpid())
            for group in groups:
                with open(group, "w") as handle:
                    handle.write(pid)
            if rlimit:
                resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

        return enter


def _own_group(root: Path, controller: str) -> Path:
    """The group this process is in, so that a limit on it goes on to hold; the top if out of sight."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = root / controller / path.lstrip("/")
            if own.is_dir():
                return own
    return root / controller


def release(groups: list[str], deadline_seconds: float = 5.0) -> None:
    """Kill what is left in the groups and remove them; missing groups are fine."""
    deadline = time.monotonic() + deadline_seconds
    for group in map(Path, groups):
        while group.is_dir():
            with contextlib.suppress(OSError):
                for pid in (group / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
            if time.monotonic() > deadline:
                break
            if group.is_dir():
                time.sleep(0.02)
