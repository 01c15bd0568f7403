"""What every version of a file has held: contents of a volume, each kept once, by its SHA-256.

They are under a hidden folder of the volume, never change, and are shared by all commits and branches. The
file that people and their tools see at a key is a copy: whoever writes into it changes no version.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import Invalid
from .base import FileInfo, Storage
from .keys import HIDDEN

SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A content: its SHA-256 in hexadecimal, and its bytes."""

    sha256: str
    size: int


def object_key(sha256: str) -> str:
    """Where a content is in its volume; the notebook kit knows this place too.

    Raises
    ------
    Invalid
        If it is no SHA-256.
    """
    if not SHA256.fullmatch(sha256):
        raise Invalid.field("sha256", "is not 64 hexadecimal digits in lower case")
    return f"{HIDDEN}/objects/{sha256[:2]}/{sha256}"


class ContentWriter(ABC):
    """A content that is being written; it is kept whole with :meth:`commit`, or not at all."""

    def __init__(self) -> None:
        self._digest, self._size = hashlib.sha256(), 0

    def write(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self._write(chunk)
        self._digest.update(chunk)
        self._size += len(chunk)

    def commit(self) -> Kept:
        """Keep it, unless it is there already."""
        kept = Kept(self._digest.hexdigest(), self._size)
        self._keep(kept)
        return kept

    @abstractmethod
    def _write(self, chunk: bytes) -> None:
        """Put bytes somewhere."""

    @abstractmethod
    def _keep(self, kept: Kept) -> None:
        """Give what was written its name."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind; does nothing after :meth:`commit`."""


class Objects(ABC):
    """The contents of one volume."""

    storage: Storage

    @abstractmethod
    def size(self, sha256: str) -> int | None:
        """Bytes of a content; ``None`` if it is not kept."""

    @abstractmethod
    def read(self, sha256: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a content, or a part of it; as :meth:`Storage.read`."""

    @abstractmethod
    def writer(self) -> ContentWriter:
        """Begin a content."""

    @abstractmethod
    def place(
        self, sha256: str, key: str, *, overwrite: bool = True, prepared: str | None = None
    ) -> FileInfo:
        """Let the file of a key hold a content; it changes at once and whole.

        Parameters
        ----------
        sha256
            Of the content, which is kept already.
        key
            The file.
        overwrite
            Whether it may exist.
        prepared
            Name of a copy of the content that the caller left among a folder's unfinished files: the file
            becomes that one, and nothing is copied. Of no effect if it is not there, and in a bucket.

        Raises
        ------
        NotFound
            If the content is not kept.
        Conflict
            If the file exists and may not be overwritten, or the key is a folder's.
        """

    @abstractmethod
    def keep(self, key: str) -> tuple[Kept, FileInfo]:
        """Keep what the file of a key holds now.

        Raises
        ------
        NotFound
            If there is no such file.
        Conflict
            If it is changed while it is read.
        """


def digest(chunks: Iterator[bytes]) -> Kept:
    """SHA-256 and bytes of what an iterator yields."""
    found, size = hashlib.sha256(), 0
    for chunk in chunks:
        found.update(chunk)
        size += len(chunk)
    return Kept(found.hexdigest(), size)
