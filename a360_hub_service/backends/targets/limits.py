"""CPU and memory limits of processes: control groups where they can be written, else what is left."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from a360_hub_service.backends.targets.types import EndpointSpec

_PERIOD = 100_000
_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """How a replica is limited: control groups to make, limits to set, and that in words."""

    cgroups: tuple[Mapping[str, Any], ...] = ()
    rlimits: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def plan_limits(spec: EndpointSpec, replica: str, *, use_cgroups: bool = True) -> Limits:
    """Return how the limits of `spec` are applied to the replica of this name on this machine."""
    memory = int(spec.memory_limit * 1e9)
    if not (memory or spec.cpu_limit):
        return Limits(note="No limits were asked for.")
    groups: list[Mapping[str, Any]] = []
    applied: list[str] = []
    cpu_base = _writable("cpu") if use_cgroups else None
    memory_base = _writable("memory") if use_cgroups else None
    if spec.cpu_limit and cpu_base:
        groups.append({"path": str(cpu_base / replica), "settings": _cpu(spec, cpu_base)})
        applied.append(f"CPU limit {spec.cpu_limit:g} (control group)")
    if memory and memory_base:
        groups.append({"path": str(memory_base / replica), "settings": _memory(spec, memory_base)})
        applied.append(f"memory limit {spec.memory_limit:g} GB (control group)")
    rlimits = {"RLIMIT_DATA": memory} if memory and not memory_base else {}
    if rlimits:
        applied.append(
            f"memory limit {spec.memory_limit:g} GB of data per process (no writable control group)"
        )
    if spec.cpu_limit and not cpu_base:
        applied.append(
            "CPU limit not enforced, only the number of threads follows it (no writable control group)"
        )
    return Limits(_merge(groups), rlimits, "; ".join(applied) + ".")


def _is_v2(base: Path) -> bool:
    return (_ROOT / "cgroup.controllers").exists() and base.is_relative_to(_ROOT)


def _writable(controller: str) -> Path | None:
    """Return the folder in which groups of this controller can be made, None when there is none."""
    if (_ROOT / "cgroup.controllers").exists():
        return _writable_v2(controller)
    base = _ROOT / controller / "a360"
    try:
        base.mkdir(exist_ok=True)
    except OSError:
        return None
    return base if os.access(base, os.W_OK) else None


def _writable_v2(controller: str) -> Path | None:
    base = _ROOT / "a360"
    try:
        base.mkdir(exist_ok=True)
        for folder in (_ROOT, base):
            control = folder / "cgroup.subtree_control"
            if controller not in control.read_text().split():
                control.write_text(f"+{controller}")
    except OSError:
        return None
    return base


def _cpu(spec: EndpointSpec, base: Path) -> dict[str, str]:
    quota = max(1000, int(spec.cpu_limit * _PERIOD))
    request = min(spec.cpu_request or spec.cpu_limit, 100.0)
    if _is_v2(base):
        return {"cpu.max": f"{quota} {_PERIOD}", "cpu.weight": str(max(1, int(request * 100)))}
    shares = {"cpu.shares": str(max(2, int(request * 1024)))}
    return {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)} | shares


def _memory(spec: EndpointSpec, base: Path) -> dict[str, str]:
    limit, request = str(int(spec.memory_limit * 1e9)), str(int(spec.memory_request * 1e9))
    if _is_v2(base):
        return {"memory.max": limit, "memory.low": request, "memory.oom.group": "1"}
    return {"memory.limit_in_bytes": limit}


def _merge(groups: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Make one entry of several for the same group, as version 2 has them."""
    merged: dict[str, dict[str, str]] = {}
    for group in groups:
        merged.setdefault(str(group["path"]), {}).update(group["settings"])
    return tuple({"path": path, "settings": settings} for path, settings in merged.items())
