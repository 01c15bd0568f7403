"""What a package is made of, for scanners and bills of materials."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Distribution:
    """An installed package of Python; `path` is the folder of its metadata, or its file."""

    name: str
    version: str
    path: str = ""


@dataclass(frozen=True, order=True)
class SystemPackage:
    """An installed package of Debian, and the source package it was built from."""

    name: str
    version: str
    source: str
    source_version: str
    architecture: str


@dataclass(frozen=True, order=True)
class ModelFile:
    """A file of the model or of its script."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Release:
    """A system as it names itself: ("debian", "12", "bookworm"); all empty where none does."""

    id: str = ""
    version: str = ""
    codename: str = ""

    def __str__(self) -> str:
        return f"{self.id} {self.version}".strip()


FOREIGN_SYSTEMS = ("packages of Alpine", "packages of RPM")
"""What is `unread` here, and is known to scanners that look for themselves."""


@dataclass(frozen=True)
class Inventory:
    """What a package holds.

    `is_image` says whether it brings a system of its own, `unread` names in plain words what it holds and
    could not be listed.
    """

    distributions: tuple[Distribution, ...] = ()
    packages: tuple[SystemPackage, ...] = ()
    files: tuple[ModelFile, ...] = ()
    release: Release = Release()
    is_image: bool = False
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """A package to look at: what it holds, and where programs that look for themselves find it.

    A bundle has a `folder`; an image is written into a file by `archive`, as ``docker save`` does it.
    """

    inventory: Inventory
    folder: Path | None = None
    archive: Callable[[], Path] | None = None
