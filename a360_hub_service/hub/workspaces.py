"""Workspaces as named servers of the Hub: names, signed options, states, and following a start."""

import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from spawner_profiles.options import WorkspaceOptions, sign, signing_key

from ..errors import A360Error, Unavailable
from .client import HubClient, Server

SERVER_NAME_LIMIT = 30
"""The Hub takes no longer names."""

FAILED = "The workspace could not start: "
"""How the kept message of a failed start begins; progress lines never do."""


class Status(StrEnum):
    """What a workspace does right now."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Condition:
    """A workspace's state with what its owner should know.

    ``url`` is set while it runs; ``limits`` says which limits hold.
    """

    status: Status
    url: str | None
    limits: dict[str, Any] | None
    message: str


def condition(server: Server | None, message: str, limits: dict[str, Any] | None) -> Condition:
    """The condition of a workspace from the Hub's answer and what was kept of its last start."""
    if server is not None and server.pending == "stop":
        return Condition(Status.STOPPING, None, limits, "")
    if server is not None and server.pending:
        return Condition(Status.STARTING, None, None, message)
    if server is not None and server.ready:
        return Condition(Status.RUNNING, server.url, shown_limits(server) or limits, "")
    if message.startswith(FAILED):
        return Condition(Status.FAILED, None, None, message)
    return Condition(Status.STOPPED, None, limits, "")


def shown_limits(server: Server) -> dict[str, Any] | None:
    """What the spawner says about limits, without what is the machine's own business."""
    state = server.state.get("limits")
    if not state:
        return None
    return {name: state.get(name) for name in ("cpu_applied", "memory_applied", "note")}


def free_server_name(slug: str, taken: Iterable[str]) -> str:
    """A server name that is not taken yet, at most 30 characters, made from a slug."""
    names, number = set(taken), 2
    base = slug[:SERVER_NAME_LIMIT].strip("-") or "workspace"
    name = base
    while name in names:
        suffix = f"-{number}"
        name = base[: SERVER_NAME_LIMIT - len(suffix)].strip("-") + suffix
        number += 1
    return name


async def start(
    hub: HubClient, user: str, server: str, options: WorkspaceOptions, *, name: str, token: str
) -> None:
    """Start a workspace's server with the user's own token and options signed for this start.

    Raises
    ------
    Unavailable
        When the Hub does not answer, or the service was not given the key the Hub checks with.
    """
    path = os.environ.get("A360_OPTIONS_KEY_FILE", "")
    try:
        key = signing_key(Path(path))
    except OSError:
        raise Unavailable(
            "Workspaces are not set up: the service has no key to sign their options with.",
            hint="Set A360_OPTIONS_KEY_FILE to the file that install_a360 was given.",
        ) from None
    await hub.start_server(user, server, sign(key, user, server, options), display_name=name, token=token)


async def follow(
    hub: HubClient,
    user: str,
    server: str,
    note: Callable[[str, dict[str, Any] | None], Awaitable[None]],
) -> None:
    """Follow a start to its end and keep what its owner should know.

    Parameters
    ----------
    note : coroutine function
        Stores a message and, once it runs, the limits.
    """
    last = ""
    try:
        async for event in hub.progress(user, server):
            if event.ready:
                found = await hub.get_server(user, server)
                await note("", shown_limits(found) if found else None)
                return
            if event.failed:
                await note(FAILED + event.message.removeprefix("Spawn failed: "), None)
                return
            if event.message and event.message != last:
                last = event.message
                await note(last, None)
    except A360Error:
        # It ended before we could look, or the Hub went away: its state is asked for anew each time.
        return
