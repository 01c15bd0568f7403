"""The real service as a process of its own, with people from a file in place of the Hub's answers.

Started by :mod:`tests.support.service`; everything but the identity is what users run.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tornado.web import RequestHandler

from a360_hub_service import app as app_module
from a360_hub_service.api.identity import Identity
from a360_hub_service.errors import Unavailable
from a360_hub_service.hub.client import Server


@dataclass(frozen=True)
class Person:
    """A user as the Hub's client gives them."""

    name: str
    groups: tuple[str, ...]


class People:
    """Users and their groups in a JSON file that tests may rewrite at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, list[str]]:
        return dict(json.loads(self.path.read_text()))

    async def identify(self, handler: RequestHandler, *, fresh: bool) -> Identity | None:
        """Tokens are ``test-<user>``."""
        scheme, _, token = handler.request.headers.get("Authorization", "").partition(" ")
        name = token.removeprefix("test-")
        people = self._read()
        if scheme.lower() not in ("bearer", "token") or token == name or name not in people:
            return None
        handler._token_authenticated = True  # what HubAuth sets: tokens need no XSRF check
        return Identity(name, tuple(people[name]), token)

    async def get_user(self, name: str) -> Person | None:
        """One user."""
        people = self._read()
        return Person(name, tuple(people[name])) if name in people else None

    async def list_users(self) -> list[Person]:
        """All users."""
        return [Person(name, tuple(groups)) for name, groups in self._read().items()]

    async def servers(self, name: str) -> dict[str, Server]:
        """No servers: workspaces really run in the tests of the whole platform."""
        return {}

    async def get_server(self, user: str, server: str) -> Server | None:
        """No server."""
        return None

    async def start_server(self, user: str, server: str, *_: object, **__: object) -> None:
        """Refuse, as the real client does while the Hub is away."""
        raise Unavailable("The Hub does not answer (no Hub in this test).", hint="Try again in a moment.")

    async def stop_server(self, user: str, server: str, *, remove: bool = False) -> None:
        """There is nothing to stop."""

    async def load(self) -> None:
        """There is nothing to load."""

    async def close(self) -> None:
        """There is nothing to close."""


def main(argv: list[str]) -> None:
    """Serve with the people of ``A360_TEST_PEOPLE``."""
    people = People(Path(os.environ["A360_TEST_PEOPLE"]))
    app_module.HubIdentity = lambda seconds: people
    app_module.HubClient.from_environment = staticmethod(lambda: people)
    service = app_module.A360HubService()
    service.initialize(argv)
    service.start()
