"""Ports for replicas, given out so that no two of them ever get the same one."""

import contextlib
import fcntl
import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from a360_hub_service.backends.targets.types import TargetError

# Below the range from which the kernel takes ports for outgoing connections: a replica that is down for a
# moment finds its port still free.
_FIRST, _LAST = 20_000, 29_999


@contextlib.contextmanager
def reserved_ports(home: Path, count: int) -> Iterator[list[int]]:
    """Yield ports of this machine that are free and written down nowhere in the state directory `home`.

    Nobody else gets any until the block ends: write them into a ``run.json`` in it. Raises `TargetError`.
    """
    home.mkdir(parents=True, exist_ok=True)
    with open(home / ".ports.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        taken = _written_down(home)
        ports: list[int] = []
        # In random order: several platforms may share a machine.
        for port in random.sample(range(_FIRST, _LAST + 1), _LAST + 1 - _FIRST):
            if len(ports) == count:
                break
            if port not in taken and is_free("127.0.0.1", port):
                ports.append(port)
        if len(ports) < count:
            raise TargetError(f"No {count} ports are free on this machine.", hint="Withdraw other endpoints.")
        yield ports


def _written_down(home: Path) -> set[int]:
    found: set[int] = set()
    for pattern in ("endpoints/*/revisions/*/run.json", "gateway/run/run.json"):
        for file in home.glob(pattern):
            # A folder that is being deleted right now no longer counts.
            with contextlib.suppress(OSError, ValueError):
                found |= {int(item["port"]) for item in json.loads(file.read_text("utf-8"))["replicas"]}
    return found


def is_free(host: str, port: int) -> bool:
    """Could a server listen there now?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
