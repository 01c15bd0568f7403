"""Data repos in folders of this machine."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ...errors import Conflict, Invalid, NotFound, Unavailable
from .base import CHUNK, FileInfo, Storage, Writer
from .folder_objects import FolderObjects
from .keys import PART, check_key, check_prefix
from .staging import Staged


class FolderStorage(Storage):
    """A folder. Keys never lead out of it, not even over symbolic links.

    Parameters
    ----------
    root
        The folder; it may itself be a link to another disk.
    """

    def __init__(self, root: Path) -> None:
        self.name = root.name
        self.root = Path(os.path.realpath(root))

    def stat(self, key: str) -> FileInfo | None:
        """The file of this key."""
        try:
            return _describe(key, self._path(check_key(key)).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _path(self, key: str) -> Path:
        """Where a key lies, with links resolved."""
        try:
            path = os.path.realpath(self.root / key, strict=True)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Invalid.field("key", "is a link that leads in circles") from None
            # What does not exist yet.
            path = os.path.realpath(self.root / key)
        if not Path(path).is_relative_to(self.root):
            raise Invalid.field("key", "leads out of the data repo", hint="Remove the link from the folder.")
        return Path(path)

    def _entries(self, folder: str, recursive: bool, after: str) -> Iterator[FileInfo]:
        try:
            entries = os.scandir(self._path(folder))
        except (FileNotFoundError, NotADirectoryError):
            self.check()
            return
        with entries:
            for entry in entries:
                key = f"{folder}/{entry.name}" if folder else entry.name
                info = self._entry(key, entry)
                if info is None:
                    continue
                if not recursive or info.type == "file":
                    yield info
                elif not entry.is_symlink():
                    yield from self._entries(key, True, after)

    def _entry(self, key: str, entry: "os.DirEntry[str]") -> FileInfo | None:
        """What to show of an entry: nothing of what no key can name, or what leads out."""
        try:
            check_key(key)
            if entry.is_symlink():
                self._path(key)
            found = entry.stat()
        except (Invalid, OSError):
            return None
        if stat.S_ISDIR(found.st_mode):
            return FileInfo(key, "directory", None, datetime.fromtimestamp(found.st_mtime, UTC))
        return _describe(key, found)

    def read(
        self, key: str, offset: int = 0, length: int | None = None, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """Yield a file; it stays the version it was when the first chunk was taken."""
        path = self._path(check_key(key))
        try:
            # The path is resolved: a link in its place was put there since.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"There is no file “{key}”.") from None
        info = _describe(key, os.fstat(descriptor))
        if info is None:
            os.close(descriptor)
            raise NotFound(f"“{key}” is not a file.")
        with open(descriptor, "rb", buffering=0) as file:
            if etag is not None and info.etag != etag:
                raise Conflict(f"“{key}” has just been replaced.", hint="Try again.")
            file.seek(offset)
            left = info.size or 0 if length is None else length
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def writer(self, key: str, *, overwrite: bool = True, staged: Staged | None = None) -> "FolderWriter":
        """Begin a file, beside the others and out of sight; or go on with one that was begun."""
        self.demand_free(key, overwrite)
        return FolderWriter(self, key, overwrite, staged or Staged.begin(self.root))

    @property
    def objects(self) -> FolderObjects:
        """The contents of all versions."""
        return FolderObjects(self)

    def demand_free(self, key: str, overwrite: bool) -> None:
        """See that a file of this key can be made."""
        path = self._path(check_key(key))
        self.check()
        if path.is_dir():
            raise _folder_there(key)
        if not overwrite and path.exists():
            raise exists(key)

    def delete(self, key: str) -> bool:
        """Delete a file, or a link to one."""
        head, _, name = check_key(key).rpartition("/")
        path = self._path(head) / name
        if path.is_dir() and not path.is_symlink():
            return False
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Delete a folder."""
        head, _, name = check_key(check_prefix(prefix), field="prefix").rpartition("/")
        path = self._path(head) / name
        if path.is_symlink() or not path.is_dir():
            return 0
        count = sum(len(files) for _, _, files in os.walk(path))
        shutil.rmtree(path)
        return count

    def ensure_volume(self, *, create: bool) -> None:
        """Make the folder, or see that it is there."""
        if create:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.root.mkdir(mode=0o700)
            except FileExistsError:
                raise Conflict(
                    f"There is a volume “{self.name}” already.",
                    hint="Choose “existing” to use it, or another name.",
                ) from None
        elif not self.root.is_dir():
            raise Invalid.field("volume_name", f"there is no volume “{self.name}” on this machine")

    def reach(self) -> None:
        """This machine answers."""

    def discard_volume(self) -> None:
        """Remove the folder if it is empty."""
        with contextlib.suppress(OSError):
            (self.root / PART).rmdir()
        with contextlib.suppress(OSError):
            self.root.rmdir()

    def check(self) -> None:
        """See that the folder is there and writable."""
        if not (self.root.is_dir() and os.access(self.root, os.R_OK | os.W_OK | os.X_OK)):
            raise Unavailable(
                f"The folder of the volume “{self.name}” is gone or not writable.",
                hint="Ask the operator to bring it back.",
            )

    def access(self) -> dict[str, str | None]:
        """The path."""
        return {"path": str(self.root)}


class FolderWriter(Writer):
    """A file that is written under another name and renamed when it is whole."""

    def __init__(self, storage: FolderStorage, key: str, overwrite: bool, staged: Staged) -> None:
        self._storage, self._key, self._overwrite = storage, key, overwrite
        self.staged = staged

    def write(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self.staged.write(chunk)

    def commit(self, *, sync: bool = True) -> FileInfo:
        """Rename the file to its key; with ``sync`` not before it is on the disk."""
        part = self.staged.path
        if sync:
            self.staged.sync()
        target = self._storage._path(self._key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if self._overwrite:
                part.replace(target)
            else:
                # Unlike a rename, a link refuses a name that somebody took in the meantime.
                target.hardlink_to(part)
                part.unlink()
        except IsADirectoryError:
            raise _folder_there(self._key) from None
        except (FileExistsError, NotADirectoryError):
            if target.is_file():
                raise exists(self._key) from None
            raise Conflict(f"A part of “{self._key}” is a file, not a folder.") from None
        info = _describe(self._key, os.fstat(self.staged.file.fileno()))
        self.staged.file.close()
        assert info
        return info

    def abort(self) -> None:
        """Remove what was written."""
        self.staged.discard()


def exists(key: str) -> Conflict:
    """The error of a key that is taken."""
    return Conflict(f"“{key}” exists already.", hint="Choose another name, or allow to overwrite it.")


def _folder_there(key: str) -> Conflict:
    return Conflict(f"“{key}” is a folder.", hint="Choose another name for the file.")


def _describe(key: str, found: os.stat_result) -> FileInfo | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return FileInfo(key, "file", found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), etag)
