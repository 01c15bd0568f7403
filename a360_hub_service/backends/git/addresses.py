"""Addresses of repositories, and the words for branches, tags and commits."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from a360_hub_service.backends.git.base import GitError
from a360_hub_service.backends.hosts import HostRefusedError, Hosts

_REF = re.compile(r"^(?!-)(?!.*(\.\.|@\{|//|\.lock$|\.lock/|\.$|/$))[^\x00-\x20~^:?*\[\\\x7f]{1,250}$")
_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]+")
_PORTS = {"https": 443, "http": 80}


def check_address(url: str, schemes: Sequence[str], hosts: Hosts) -> None:
    """Raise `GitError` (field ``repository``) unless a repository may be fetched from this address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused(f"The repository address cannot be read: {error}.", "Correct the address.") from None
    if parts.scheme not in schemes:
        allowed = " or ".join(f"{scheme}://" for scheme in schemes)
        raise refused(
            f"The repository address must start with {allowed}.", "Give the https address of the repository."
        )
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise refused("The repository address holds blanks or control characters.", "Remove them.")
    if not parts.path.endswith(".git") or parts.query or parts.fragment:
        raise refused("The repository address must end in .git.", "Copy the clone address of the repository.")
    if parts.username or parts.password:
        raise refused(
            "The repository address must not hold a user name or a password.",
            "Remove them from it; an administrator can add a credential for the repository.",
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise refused("A file address names no host.", "Write file:///path/to/repository.git.")
        return
    if not parts.hostname:
        raise refused("The repository address names no host.", "Write https://host/path.git.")
    if not _HOST.fullmatch(parts.hostname):
        # What we read as one host, another program could read as another one.
        raise refused(
            f"The repository address has an unusual host, {parts.hostname!r}.",
            "Write it with small letters, digits, dots and dashes alone.",
        )
    try:
        hosts.check(parts.hostname, port or _PORTS[parts.scheme])
    except HostRefusedError as error:
        raise not_allowed(error) from error


def pinned(url: str, hosts: Hosts) -> str:
    """Return ``host:port:addresses`` for git: what it connects to is what was checked.

    Raises `GitError`.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        found = hosts.addresses(host, port)
    except HostRefusedError as error:
        raise not_allowed(error) from error
    except (OSError, UnicodeError) as error:
        raise refused(
            f"The git server {host} cannot be reached. (could not resolve its name: {error})",
            "Check the address and the network.",
        ) from error
    return f"{host}:{port}:{','.join(f'[{each}]' if ':' in each else each for each in found)}"


def server_of(url: str) -> str:
    """Return ``scheme://host[:port]`` of an address, in small letters, without the scheme's own port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port and parts.port != _PORTS.get(parts.scheme) else ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def is_commit(name: str) -> bool:
    """Is this the whole name of a commit?"""
    return bool(_COMMIT.fullmatch(name))


def check_ref(name: str) -> None:
    """Raise `GitError` (field ``branch``) unless a branch, tag or commit can have this name."""
    if not _REF.fullmatch(name):
        raise GitError(
            f"{name!r} is not a name of a branch, a tag or a commit.",
            hint="Check its spelling.",
            field="branch",
        )


def refused(message: str, hint: str) -> GitError:
    """Return the error of a repository."""
    return GitError(message, hint=hint, field="repository")


def not_allowed(reason: Exception) -> GitError:
    """Return the error of a host that may not be used."""
    return refused(
        f"The repository may not be fetched: {reason}.",
        "Use a repository on an allowed host, or ask the operator to add this one "
        "(c.GitSource.allowed_hosts).",
    )
