"""Contents of a folder of this machine."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...errors import Conflict, NotFound
from .base import CHUNK, FileInfo
from .objects import ContentWriter, Kept, Objects, object_key
from .staging import Staged

if TYPE_CHECKING:
    from .folder import FolderStorage

_COPIED_AT_ONCE = 1 << 30
_NOT_IN_THE_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


class FolderObjects(Objects):
    """Contents under the hidden folder of a volume; copies are the kernel's, and clones where it can."""

    def __init__(self, storage: "FolderStorage") -> None:
        self.storage: FolderStorage = storage

    def _path(self, sha256: str) -> Path:
        return self.storage.root / object_key(sha256)

    def size(self, sha256: str) -> int | None:
        """Bytes of a content."""
        try:
            return self._path(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, sha256: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a content."""
        with self._open(sha256) as file:
            file.seek(offset)
            left = os.fstat(file.fileno()).st_size - offset if length is None else length
            while left > 0 and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    def _open(self, sha256: str) -> BinaryIO:
        try:
            return self._path(sha256).open("rb", buffering=0)
        except FileNotFoundError:
            raise NotFound(f"The data repo does not hold the content {sha256} any more.") from None

    def writer(self) -> "FolderContentWriter":
        """Begin a content."""
        self.storage.check()
        return FolderContentWriter(self.storage.root)

    def place(
        self, sha256: str, key: str, *, overwrite: bool = True, prepared: str | None = None
    ) -> FileInfo:
        """Copy a content to a key, or let it have the copy that was prepared."""
        with self._open(sha256) as source:
            size = os.fstat(source.fileno()).st_size
            staged = Staged.prepared(self.storage.root, prepared, size) if prepared else None
            writer = self.storage.writer(key, overwrite=overwrite, staged=staged)
            try:
                if staged is None:
                    copy_file(source, writer.staged.file)
                # No waiting for the disk: should it lose the copy, the content itself is still kept.
                return writer.commit(sync=False)
            except BaseException:
                writer.abort()
                raise

    def keep(self, key: str) -> tuple[Kept, FileInfo]:
        """Copy what a file holds."""
        before = self.storage.stat(key)
        writer = self.writer()
        try:
            for chunk in self.storage.read(key):
                writer.write(chunk)
            after = self.storage.stat(key)
            if before is None or after is None or before.etag != after.etag:
                raise Conflict(f"“{key}” is being changed.", hint="Try again when nobody writes it.")
            return writer.commit(), after
        finally:
            writer.abort()


class FolderContentWriter(ContentWriter):
    """A content in a file that gets its name when it is whole."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root, self._staged = root, Staged.begin(root)

    def _write(self, chunk: bytes) -> None:
        self._staged.write(chunk)

    def _keep(self, kept: Kept) -> None:
        target = self._root / object_key(kept.sha256)
        if not target.exists():
            self._staged.sync()
            target.parent.mkdir(parents=True, exist_ok=True)
            # The same content under the same name: it does not matter who is first.
            self._staged.path.replace(target)
            self._staged.file.close()
        self._staged.discard()

    def abort(self) -> None:
        """Remove what was written."""
        self._staged.discard()


def copy_file(source: BinaryIO, target: BinaryIO) -> None:
    """Copy a whole file to another, empty one: by the file system itself if it can, else by the kernel."""
    left = os.fstat(source.fileno()).st_size
    try:
        while left > 0:
            copied = os.copy_file_range(source.fileno(), target.fileno(), min(left, _COPIED_AT_ONCE))
            if not copied:
                break
            left -= copied
        else:
            return
    except OSError as error:
        if error.errno not in _NOT_IN_THE_KERNEL:
            raise
    with contextlib.suppress(OSError):
        target.truncate(0)
    source.seek(0)
    target.seek(0)
    shutil.copyfileobj(source, target, CHUNK)
