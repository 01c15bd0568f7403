"""How many processors this process may use: the host's count says nothing in a container."""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available(root: Path = Path("/")) -> int:
    """Return the processors of the control group's limit (version 2 or 1), else those of the machine.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    int
        At least 1; a limit of 1.5 processors counts as 2.
    """
    counts = [float(len(os.sched_getaffinity(0))), *_limits(root)]
    return max(1, math.ceil(min(counts)))


def _limits(root: Path) -> Iterator[float]:
    """Yield the limits of this process's group and of those it is in; each of them holds."""
    groups = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for folder in _upwards(groups, path):
                quota, _, period = _read(folder / "cpu.max").partition(" ")
                yield from _quotient(quota, period)
        elif "cpu" in controllers.split(","):
            for folder in _upwards(groups / controllers, path):
                period = _read(folder / "cpu.cfs_period_us")
                yield from _quotient(_read(folder / "cpu.cfs_quota_us"), period)


def _upwards(top: Path, path: str) -> Iterator[Path]:
    # The path may be that of the host, of which a container sees the end only, at the top.
    inside = PurePosixPath(path.strip("/"))
    for part in (inside, *inside.parents):
        yield top / part


def _quotient(quota: str, period: str) -> Iterator[float]:
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return  # "max", or no such file
    if limit > 0:
        yield limit


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
