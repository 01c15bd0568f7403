"""Files of data repos that are being changed: one change of a key at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager


class KeyLocks:
    """Locks by name, which exist as long as somebody holds or wants them. Waiting takes no thread."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._wanted: dict[tuple[str, str], int] = {}

    @asynccontextmanager
    async def hold(self, repo_id: str, keys: Iterable[str]) -> AsyncIterator[None]:
        """Hold keys of a data repo; all take them in the same order, so nobody waits for ever.

        Parameters
        ----------
        repo_id
            Identifier of the data repo.
        keys
            The keys; without any nothing is held.
        """
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):
                await stack.enter_async_context(self._one((repo_id, key)))
            yield

    @asynccontextmanager
    async def _one(self, name: tuple[str, str]) -> AsyncIterator[None]:
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._wanted[name] = self._wanted.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name], self._locks[name]


LOCKS = KeyLocks()
"""Those of this service."""
