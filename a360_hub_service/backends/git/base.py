"""What a source of code is."""

from dataclasses import dataclass, field
from pathlib import Path

from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import BackendError, Health, Log
from a360_hub_service.backends.hosts import Hosts


class GitError(BackendError):
    """A repository could not be fetched."""


@dataclass(frozen=True)
class GitLogin:
    """Who asks a git server, sent to `server` (``https://host[:port]``) and nowhere else."""

    server: str
    username: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class Fetched:
    """What was fetched: the commit as 40 hex digits, and the ref it was, ``refs/heads/main``.

    `ref` is empty when the commit itself was asked for, or when the server does not say what its default is.
    """

    commit: str
    ref: str = ""


class CodeSource(LoggingConfigurable):
    """Where the script of a package comes from."""

    def health(self) -> Health:
        """Say whether code can be fetched at all on this machine."""
        raise NotImplementedError

    @property
    def hosts(self) -> Hosts:
        """The hosts that repositories may be on."""
        raise NotImplementedError

    def check_url(self, url: str) -> None:
        """Raise `GitError` (field ``repository``) when this address may not be used. Touches no network."""
        raise NotImplementedError

    def check_access(self, url: str, login: GitLogin | None = None) -> None:
        """Raise `GitError` unless the repository can be read. Brings nothing."""
        raise NotImplementedError

    def fetch(self, url: str, branch: str, dest: Path, log: Log, login: GitLogin | None = None) -> Fetched:
        """Bring the tree of `branch` (a branch, a tag, a commit, or "" for the default) to the folder `dest`.

        `dest` must not exist yet; it holds the files of the repository as they were committed, and nothing
        else. Raises `GitError`; then `dest` does not exist.
        """
        raise NotImplementedError
