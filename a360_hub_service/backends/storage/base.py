"""What a storage can do, and how the storage of a data repo is opened."""

import base64
import binascii
import hashlib
import heapq
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from sqlalchemy.orm import Session

from ...entities import Credential, DataRepo
from ...errors import Invalid, NotFound, Unavailable
from .. import interruption
from .keys import check_prefix

if TYPE_CHECKING:
    from ...secrets import Secrets
    from .objects import Objects
    from .s3_account import S3Account

LOCAL, AWS = "local", "aws"
CHUNK = 1024 * 1024
SORTS = ("name", "type", "last_modified", "size")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file, or a folder of a listing.

    Attributes
    ----------
    key
        Path in the volume, without a slash at the end.
    size
        Bytes; ``None`` for folders.
    etag
        Changes whenever the content does; empty for folders.
    """

    key: str
    type: Literal["file", "directory"]
    size: int | None
    last_modified: datetime | None
    etag: str = ""

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list, and the cursor of the next."""

    items: Sequence[FileInfo]
    next_cursor: str | None


class Writer(ABC):
    """A file that is being written: it appears whole with :meth:`commit`, or not at all.

    As a context manager it commits at the end of the block, and aborts if the block raises.
    """

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """Add bytes at the end."""

    @abstractmethod
    def commit(self) -> FileInfo:
        """Make the file appear, replacing the one of this key, if any.

        Raises
        ------
        Conflict
            If the writer may not overwrite and the key exists by now, or names a folder.
        """

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind; does nothing after :meth:`commit`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
            return
        try:
            self.commit()
        except BaseException:
            self.abort()
            raise


class Storage(ABC):
    """One volume. Every method may block, and is safe to call from several threads.

    Raises
    ------
    Invalid
        From every method that takes a key, if it is not one.
    OutsideFailure
        If the storage's server does not answer, or does not let us in.
    Unavailable
        If the volume is the platform's own and gone.
    """

    in_order = False
    """Whether :meth:`_entries` comes in the order of names."""

    @abstractmethod
    def stat(self, key: str) -> FileInfo | None:
        """The file of this key; ``None`` if there is none (a folder is none)."""

    @abstractmethod
    def _entries(self, folder: str, recursive: bool, after: str) -> Iterator[FileInfo]:
        """What is in a folder; names up to ``after`` may be left out."""

    @abstractmethod
    def read(
        self, key: str, offset: int = 0, length: int | None = None, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """Yield a file, or a part of it, in chunks of at most 1 MiB.

        Parameters
        ----------
        key
            The file.
        offset, length
            In bytes; to the end without a length.
        etag
            The version that is wanted.

        Raises
        ------
        NotFound
            If there is no such file.
        Conflict
            If the file is another version by now.
        """

    @abstractmethod
    def writer(self, key: str, *, overwrite: bool = True) -> Writer:
        """Begin a file.

        Raises
        ------
        Conflict
            If it exists already and may not be overwritten.
        """

    @property
    @abstractmethod
    def objects(self) -> "Objects":
        """The contents of all versions of its files."""

    @abstractmethod
    def demand_free(self, key: str, overwrite: bool) -> None:
        """See that a file of this key can be made.

        Raises
        ------
        Conflict
            If it exists already and may not be overwritten, or the key is a folder's.
        """

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Delete a file; says whether there was one."""

    @abstractmethod
    def delete_prefix(self, prefix: str) -> int:
        """Delete a folder with all in it; says how many files that were."""

    @abstractmethod
    def ensure_volume(self, *, create: bool) -> None:
        """Make the volume, or see that it is there.

        Raises
        ------
        Conflict
            If it is to be made and exists.
        Invalid
            If it is to exist and does not, or is in another region.
        """

    @abstractmethod
    def reach(self) -> None:
        """See that the server of the volume answers, whether the volume exists or not."""

    @abstractmethod
    def discard_volume(self) -> None:
        """Remove the volume again if it is empty; for undoing :meth:`ensure_volume`."""

    @abstractmethod
    def check(self) -> None:
        """See that the volume can be used now."""

    @abstractmethod
    def access(self) -> dict[str, str | None]:
        """What code outside the service needs to reach the volume: its path, or its address and keys."""

    def list(
        self,
        prefix: str = "",
        *,
        recursive: bool = False,
        sort: str = "name",
        limit: int = 100,
        cursor: str | None = None,
    ) -> Listing:
        """One page of a folder, in memory that does not grow with the folder.

        Parameters
        ----------
        prefix
            The folder; empty for the volume.
        recursive
            All files below it, rather than its files and folders.
        sort
            ``name``, ``type`` (folders first, then by ending), ``last_modified`` or ``size``;
            with “-” in front the other way round.
        limit, cursor
            How many at most, and where the page before ended.
        """
        name = sort.removeprefix("-")
        if name not in SORTS:
            raise Invalid.field("sort", f"must be one of {', '.join(SORTS)}, or one with “-” in front")
        rank, down = _RANKS[name], sort.startswith("-")
        after = _decode(cursor, sort)
        in_order = self.in_order and sort == "name"
        found = self._entries(check_prefix(prefix), recursive, after[1] if after and in_order else "")
        rest = (e for e in found if not after or (rank(e) < after if down else rank(e) > after))
        if in_order:
            items = [*islice(rest, limit + 1)]
        else:
            items = (heapq.nlargest if down else heapq.nsmallest)(limit + 1, rest, key=rank)
        more = len(items) > limit
        return Listing(items[:limit], _encode(rank(items[limit - 1]), sort) if more else None)

    def download(self, key: str, path: Path) -> None:
        """Copy a file to a local path."""
        with path.open("wb") as file:
            for chunk in self.read(key):
                interruption.check()
                file.write(chunk)

    def sha256(self, key: str) -> str:
        """The SHA-256 of a file's content, in hexadecimal."""
        digest = hashlib.sha256()
        for chunk in self.read(key):
            digest.update(chunk)
        return digest.hexdigest()


Rank = tuple[Any, str]


def order(info: FileInfo) -> str:
    """The key as buckets sort it: folders with a slash at their end."""
    return info.key + "/" if info.type == "directory" else info.key


def _type(info: FileInfo) -> str:
    return "" if info.type == "directory" else f"1{PurePosixPath(info.key).suffix.lower()}"


_RANKS: dict[str, Callable[[FileInfo], Rank]] = {
    "name": lambda info: ("", order(info)),
    "type": lambda info: (_type(info), order(info)),
    "last_modified": lambda info: (info.last_modified.timestamp() if info.last_modified else 0, order(info)),
    "size": lambda info: (-1 if info.size is None else info.size, order(info)),
}


def _encode(rank: Rank, sort: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([sort, *rank]).encode()).decode()


def _decode(cursor: str | None, sort: str) -> Rank | None:
    if cursor is None:
        return None
    try:
        of, value, key = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        number = sort.removeprefix("-") in ("last_modified", "size")
        if of == sort and isinstance(key, str) and isinstance(value, (int, float) if number else str):
            return value, key
    except (binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise Invalid.field("cursor", "is not one that this list gave", hint="Start again without a cursor.")


class StorageFactory:
    """Opens the storages of data repos.

    Parameters
    ----------
    home
        The state directory; folders are under its ``volumes``.
    secrets
        Reads the keys of buckets.
    """

    def __init__(self, home: Path, secrets: "Secrets") -> None:
        self.home, self.secrets = home, secrets

    def open(self, session: Session, data_repo: DataRepo) -> Storage:
        """The storage of a data repo; it can be used after the session is closed."""
        if data_repo.storage_provider == LOCAL:
            return self.folder(data_repo.volume_name)
        credential = session.get(Credential, data_repo.id)
        if credential is None:
            raise NotFound(f"The data repo “{data_repo.name}” has lost its credential.")
        return self.bucket(
            credential.settings, self.secrets.decrypt(credential.secret), data_repo.volume_name
        )

    def folder(self, volume_name: str) -> Storage:
        """A folder of this machine."""
        from .folder import FolderStorage

        return FolderStorage(self.home / "volumes" / volume_name)

    def bucket(self, settings: dict[str, Any], keys: dict[str, str], volume_name: str) -> Storage:
        """A bucket of an S3 server, by the settings and keys of a credential."""
        account = self.account(settings, keys)
        from .s3 import S3Storage

        return S3Storage(account, volume_name)

    def account(self, settings: dict[str, Any], keys: dict[str, str]) -> "S3Account":
        """An account of an S3 server, by the settings and keys of a credential.

        Raises
        ------
        Unavailable
            If the libraries for it are not installed.
        """
        try:
            from .s3_account import S3Account
        except ModuleNotFoundError as error:
            raise Unavailable(
                "This installation cannot use S3 buckets.", hint="Install it as “a360[hub,s3]”."
            ) from error
        return S3Account.of(settings, keys)
