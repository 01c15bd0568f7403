"""Who is asking: the Hub's answer for a token or a signed-in browser."""

import logging
from dataclasses import dataclass
from typing import Any, Protocol

from jupyterhub.services.auth import HubOAuth
from tornado.web import RequestHandler


@dataclass(frozen=True, slots=True)
class Identity:
    """A Hub user and the token that proved who it is."""

    name: str
    groups: tuple[str, ...]
    token: str | None


class IdentityProvider(Protocol):
    """Resolves a request to an identity."""

    async def identify(self, handler: RequestHandler, *, fresh: bool) -> Identity | None:
        """The identity behind a request; ``fresh`` asks the Hub anew."""
        ...


class HubIdentity:
    """Identities by JupyterHub's OAuth.

    Answers are kept for ``cache_seconds``, so that somebody removed from a group is out after that.
    """

    def __init__(self, cache_seconds: int = 30) -> None:
        # Its default log writes to standard error where it is called: on the event loop.
        self.auth = HubOAuth.instance(cache_max_age=cache_seconds, log=logging.getLogger("a360.hub"))

    async def identify(self, handler: RequestHandler, *, fresh: bool) -> Identity | None:
        """Ask the Hub (or the cache) for the user of the request's token or cookie."""
        if fresh:
            self.auth.cache.clear()
        user: dict[str, Any] | None = await self.auth.get_user(handler, sync=False)
        if user is None or user.get("kind") != "user" or not self._may_enter(user):
            return None
        return Identity(
            name=user["name"], groups=tuple(user.get("groups") or ()), token=self.auth.get_token(handler)
        )

    def _may_enter(self, user: dict[str, Any]) -> bool:
        return bool(self.auth.check_scopes(self.auth.access_scopes, user))
