"""Asynchronous client of JupyterHub's REST API, as far as the platform needs it."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from ..errors import A360Error, Conflict, Forbidden, Invalid, NotFound, Unavailable

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Server:
    """A named server of a user.

    ``pending`` is ``"spawn"``, ``"stop"`` or None; ``url`` is a path below the Hub's host; ``state`` is what
    the spawner keeps, for example the limits it applied.
    """

    name: str
    ready: bool
    pending: str | None
    url: str
    started: str | None = None
    last_activity: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HubUser:
    """A user of the Hub with groups and servers."""

    name: str
    groups: tuple[str, ...]
    servers: Mapping[str, Server] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HubGroup:
    """A group and its members."""

    name: str
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One line of a starting server; the last one is ``ready`` or ``failed``."""

    message: str
    percent: int | None = None
    ready: bool = False
    failed: bool = False


class HubClient:
    """Calls the Hub with the service's token, or with a user's own where that is given.

    Parameters
    ----------
    api_url
        The Hub's API, for example ``http://127.0.0.1:8081/hub/api``.
    token
        The service's token.

    Notes
    -----
    Every method raises :class:`~a360_hub_service.errors.Unavailable` when the Hub does not answer,
    :class:`~a360_hub_service.errors.Forbidden` when the token does not reach that far,
    :class:`~a360_hub_service.errors.NotFound` for unknown users, groups and servers, and
    :class:`~a360_hub_service.errors.Conflict` for what exists already or is busy.
    """

    def __init__(
        self, api_url: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._token = token
        self._http = httpx.AsyncClient(
            base_url=api_url.rstrip("/"),
            timeout=httpx.Timeout(30, connect=5),
            transport=transport,
            trust_env=False,  # the Hub is next door: no proxy stands between
        )

    @classmethod
    def from_environment(cls) -> "HubClient":
        """A client from the variables the Hub gives its services."""
        url = os.environ.get("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/hub/api")
        return cls(url, os.environ.get("JUPYTERHUB_API_TOKEN", ""))

    async def load(self) -> None:
        """Load what the first call would: the HTTP library leaves a good part of its modules for then."""
        anyio.Event()  # chooses and loads the backend of the running loop

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def get_user(self, name: str) -> HubUser | None:
        """One user with servers, running or not; None if the Hub knows no such user."""
        try:
            answer = await self._call("GET", f"/users/{_part(name)}", params={"include_stopped_servers": "1"})
        except NotFound:
            return None
        return _user(answer.json())

    async def list_users(self) -> list[HubUser]:
        """All users, in the Hub's order."""
        return [_user(item) for item in await self._pages("/users")]

    async def list_groups(self) -> list[HubGroup]:
        """All groups."""
        return [HubGroup(item["name"], tuple(item.get("users", ()))) for item in await self._pages("/groups")]

    async def create_group(self, name: str) -> None:
        """Make an empty group; Conflict if it exists."""
        await self._call("POST", f"/groups/{_part(name)}")

    async def delete_group(self, name: str) -> None:
        """Delete a group; its members stay users."""
        await self._call("DELETE", f"/groups/{_part(name)}")

    async def add_members(self, group: str, users: list[str]) -> None:
        """Add users to a group; those who are in it stay."""
        await self._call("POST", f"/groups/{_part(group)}/users", body={"users": users})

    async def remove_members(self, group: str, users: list[str]) -> None:
        """Remove users from a group."""
        await self._call("DELETE", f"/groups/{_part(group)}/users", body={"users": users})

    async def servers(self, user: str) -> Mapping[str, Server]:
        """Named servers of a user by name, running or not; none for users the Hub does not know."""
        found = await self.get_user(user)
        return found.servers if found else {}

    async def get_server(self, user: str, server: str) -> Server | None:
        """One named server, running or not; None if it was never started."""
        try:
            answer = await self._call("GET", f"/users/{_part(user)}/servers/{_part(server)}")
        except NotFound:
            return None
        return _server(answer.json())

    async def start_server(
        self, user: str, server: str, options: Mapping[str, Any], *, display_name: str, token: str
    ) -> None:
        """Ask for a start with the user's own token; returns once the Hub has tried it.

        Raises
        ------
        Conflict
            If the server runs, starts or stops already.
        """
        path = f"/users/{_part(user)}/servers/{_part(server)}"
        body = {"user_options": dict(options), "display_name": display_name}
        try:
            await self._call("POST", path, body=body, token=token)
        except Invalid as error:  # what the Hub answers to a running or pending server
            raise Conflict(error.detail, hint="Wait until it has stopped, then start it again.") from None
        except Unavailable:
            # A start that fails at once answers like a Hub in trouble; what became of it decides.
            if not await self._was_started(user, server):
                raise

    async def _was_started(self, user: str, server: str) -> bool:
        """Whether the Hub tried to start it: it runs, starts, or says why it failed."""
        found = await self.get_server(user, server)
        if found is None or found.ready or found.pending == "spawn":
            return found is not None
        try:
            return [event.failed async for event in self.progress(user, server)][-1:] == [True]
        except Invalid:
            return False

    async def stop_server(self, user: str, server: str, *, remove: bool = False) -> None:
        """Stop a server, and forget it with all it stored when ``remove``; fine when there is none."""
        try:
            await self._call(
                "DELETE",
                f"/users/{_part(user)}/servers/{_part(server)}",
                body={"remove": True} if remove else None,
            )
        except NotFound:
            return

    async def progress(self, user: str, server: str) -> AsyncIterator[ProgressEvent]:
        """Follow a starting server to its end; the last event is ready or failed."""
        path = f"/users/{_part(user)}/servers/{_part(server)}/progress"
        timeout = httpx.Timeout(30, read=None)  # building an image can be silent for long
        try:
            async with self._http.stream("GET", path, headers=self._headers(None), timeout=timeout) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _error(answer)
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        yield _event(json.loads(line[5:]))
        except httpx.TransportError as error:
            raise _unreachable(error) from None

    def _headers(self, token: str | None) -> dict[str, str]:
        return {"Authorization": f"token {token or self._token}"}

    async def _pages(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        offset: int | None = 0
        while offset is not None:
            headers = {"Accept": "application/jupyterhub-pagination+json"}
            answer = (await self._call("GET", path, params={"offset": str(offset)}, headers=headers)).json()
            found += answer["items"]
            following = answer["_pagination"]["next"]
            offset = following["offset"] if following else None
        return found

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> httpx.Response:
        """One call; reading ones are repeated when the connection fails, changing ones are not."""
        attempts = ATTEMPTS if method == "GET" else 1
        for attempt in range(1, attempts + 1):
            try:
                answer = await self._http.request(
                    method,
                    path,
                    json=body,
                    params=params,
                    headers={**self._headers(token), **(headers or {})},
                )
            except httpx.TransportError as error:
                if attempt == attempts:
                    raise _unreachable(error) from None
                continue
            if answer.is_error:
                raise _error(answer)
            return answer
        raise AssertionError("unreachable")


def _part(name: str) -> str:
    return quote(name, safe="")


def _unreachable(error: httpx.TransportError) -> Unavailable:
    reason = type(error).__name__
    return Unavailable(f"The Hub does not answer ({reason}).", hint="Try again in a moment.")


def _error(answer: httpx.Response) -> A360Error:
    try:
        said = str(answer.json().get("message") or answer.reason_phrase)
    except (ValueError, AttributeError):
        said = answer.reason_phrase
    if answer.status_code == 404:
        return NotFound(f"The Hub says: {said}")
    if answer.status_code in (401, 403):
        return Forbidden(
            f"The Hub refused: {said}",
            hint="Sign in again, or use a token with the scope this needs.",
        )
    if answer.status_code == 409:
        return Conflict(f"The Hub says: {said}")
    if answer.status_code == 429:
        return Unavailable(f"The Hub is busy: {said}", hint="Try again in a moment.")
    if answer.status_code < 500:
        return Invalid(f"The Hub says: {said}")
    return Unavailable(f"The Hub failed ({answer.status_code}): {said}", hint="Try again in a moment.")


def _user(item: Mapping[str, Any]) -> HubUser:
    servers = {name: _server(server) for name, server in (item.get("servers") or {}).items()}
    return HubUser(item["name"], tuple(item.get("groups") or ()), servers)


def _server(item: Mapping[str, Any]) -> Server:
    return Server(
        name=item["name"],
        ready=bool(item.get("ready")),
        pending=item.get("pending"),
        url=item.get("url") or "",
        started=item.get("started"),
        last_activity=item.get("last_activity"),
        state=item.get("state") or {},
    )


def _event(item: Mapping[str, Any]) -> ProgressEvent:
    return ProgressEvent(
        message=str(item.get("message") or ""),
        percent=item.get("progress"),
        ready=bool(item.get("ready")),
        failed=bool(item.get("failed")),
    )
