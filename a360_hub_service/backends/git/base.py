"""What a source of code is."""

from pathlib import Path

from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import BackendError, Health, Log


class GitError(BackendError):
    """A repository could not be fetched."""


class CodeSource(LoggingConfigurable):
    """Where the script of a package comes from."""

    def health(self) -> Health:
        """Say whether code can be fetched at all on this machine."""
        raise NotImplementedError

    def check_url(self, url: str) -> None:
        """Raise `GitError` (field ``repository``) when this address may not be used. Touches no network."""
        raise NotImplementedError

    def fetch(self, url: str, branch: str, dest: Path, log: Log) -> str:
        """Bring the tree of `branch` (a branch, a tag, or "" for the default) to the folder `dest`.

        `dest` must not exist yet; it holds the files without any git folder afterwards. Returns the commit
        as 40 hex digits. Raises `GitError`; then `dest` does not exist.
        """
        raise NotImplementedError
