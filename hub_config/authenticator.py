"""Sign-in of the embedded platform."""

import asyncio
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Unicode

from .accounts import Accounts


class LocalIdentityAuthenticator(Authenticator):
    """Checks names and passwords against the accounts file of the state folder."""

    accounts_file = Unicode(config=True, help="Path of the accounts file.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._accounts = Accounts(Path(self.accounts_file))

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """The user's name, or None when name and password do not belong together."""
        name, password = data.get("username", ""), data.get("password", "")
        # Hashing takes 0.1 s on purpose: not on the event loop.
        return name if await asyncio.to_thread(self._accounts.check, name, password) else None
