"""Names of images, read as Docker reads them."""

import ipaddress
import re
from dataclasses import dataclass

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_LONGEST = 255


@dataclass(frozen=True)
class ImageName:
    """``host[:port]/repository``, with a tag or a digest or both."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def version(self) -> str:
        """What to ask a registry for: the digest where there is one."""
        return self.digest or self.tag


def parse(text: str) -> ImageName:
    """Return the parts of an image's name; without a registry it is one of Docker Hub.

    Raises `ValueError` in words for people.
    """
    rest, _, digest = text.partition("@")
    rest, colon, tag = rest.rpartition(":") if ":" in rest.rpartition("/")[2] else (rest, "", "")
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, path
    else:
        registry, repository = "docker.io", rest if slash else f"library/{rest}"
    if digest and not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a digest (sha256: and 64 hexadecimal digits)")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not a tag")
    if not _HOST.fullmatch(registry):
        raise ValueError(f"{registry!r} is not the address of a registry")
    check_repository(repository)
    return ImageName(registry, repository, tag or ("" if digest else "latest"), digest)


def check_repository(name: str) -> None:
    """Raise `ValueError` unless this can be the name of a repository."""
    if not _REPOSITORY.fullmatch(name) or len(name) > _LONGEST:
        raise ValueError(
            f"{name!r} is not a name of a repository (small letters, digits, single . _ - between them, /)"
        )


def split_port(host: str) -> tuple[str, int]:
    """Return the name and the port of a registry; without one it is that of HTTPS."""
    name, colon, port = host.rpartition(":")
    return (name, int(port)) if colon and port.isdigit() and not host.endswith("]") else (host, 443)


def is_loopback(host: str) -> bool:
    """Is this host (with a port or without) the machine itself?"""
    name = re.sub(r":[0-9]+$", "", host) if host.startswith("[") or host.count(":") < 2 else host
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"
