"""Writing files of a data repo: each appears whole, or not at all."""

import contextlib
import os
import secrets
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from a360mdk import s3_metadata
from a360mdk.progress import Meter
from a360mdk.transfer import HashingWriter, Stored, copy

PART = ".a360-part"  # ending of files being written; never listed
HIDDEN = ".a360"  # folder of the contents of all versions; never listed
_IN_MEMORY = 16_000_000


def content_key(sha256: str) -> str:
    """Where a data repo keeps a content; the service knows this place too.

    Args:
        sha256: of the content, in hexadecimal.
    """
    return f"{HIDDEN}/objects/{sha256[:2]}/{sha256}"


@dataclass(frozen=True)
class NewContent:
    """A content that is being written.

    Attributes:
        sink: where its bytes go.
        keep: keeps it, once all are written, and returns what a commit says of it.
    """

    sink: HashingWriter
    keep: Callable[[], dict[str, Any]]


class Writing(ABC):
    """How a file system writes."""

    local: bool
    bucket: str

    @property
    @abstractmethod
    def arrow(self) -> Any:
        """The pyarrow filesystem underneath."""

    @abstractmethod
    def path(self, key: str) -> str:
        """Full path of a key for pyarrow."""

    @abstractmethod
    def info(self, key: str) -> Any:
        """Return pyarrow's FileInfo of a key."""

    @abstractmethod
    def _errors(self, subject: str) -> contextlib.AbstractContextManager[None]:
        """Turn what the store says into a FileSystemError."""

    @abstractmethod
    def _boto3(self) -> dict[str, Any]:
        """Arguments of a boto3 client."""

    @contextlib.contextmanager
    def writer(self, file_key: str) -> Iterator[HashingWriter]:
        """Open a file for writing that appears whole at the end of the block, or not at all.

        A folder gets a temporary file beside the target and a rename; a bucket gets one upload of what was
        collected (in memory up to 16 MB, in a temporary file beyond).

        Args:
            file_key: the key it gets.
        """
        if self.local:
            target = Path(self.path(file_key))
            with self._errors(file_key):
                target.parent.mkdir(parents=True, exist_ok=True)
            with self._errors(file_key), replacing(target) as file, Meter(f"Write {target.name}") as meter:
                yield HashingWriter(file, meter)
            return
        with _collected() as (sink, collected):
            yield sink
            collected.seek(0)
            self._store(collected, sink.tell(), file_key, None)

    @contextlib.contextmanager
    def content_writer(self, label: str, with_copy: bool = True) -> Iterator["NewContent"]:
        """Open a content for writing, which the data repo keeps under its checksum once it is told to.

        No file of the data repo changes: a commit makes one of it, within the block. A bucket is sent what it
        does not have; in a folder a copy is written at the same time, for the commit to use.

        Args:
            label: what it is to be, for the progress bar and errors.
            with_copy: whether the commit will need one.
        """
        if not self.local:
            with _collected() as (sink, collected):

                def send() -> dict[str, Any]:
                    stored = sink.stored()
                    key = content_key(stored.sha256)
                    collected.seek(0)
                    if self.info(key).size != stored.size:
                        self._store(collected, stored.size, key, None, PurePosixPath(label).name)
                    return asdict(stored)

                yield NewContent(sink, send)
            return
        root = Path(self.bucket)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._errors(label))
            file = stack.enter_context(_staged(root))
            twin = stack.enter_context(_staged(root)) if with_copy else None
            meter = stack.enter_context(Meter(f"Write {PurePosixPath(label).name}"))
            sink = HashingWriter(file, meter, twin)
            yield NewContent(sink, lambda: _keep(root, sink, file, twin))

    def _store(
        self,
        source: BinaryIO,
        size: int,
        file_key: str,
        metadata: Mapping[str, str] | None,
        name: str | None = None,
    ) -> Stored:
        label = f"Upload {name or PurePosixPath(file_key).name}"
        path = self.path(file_key)
        if self.local:
            with self._errors(file_key):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with replacing(Path(path)) as sink:
                    return copy(source, sink, size, label)
        if metadata and not s3_metadata.STANDARD.issuperset(metadata):
            with self._errors(file_key):
                key = path.removeprefix(f"{self.bucket}/")
                return s3_metadata.upload(source, size, self.bucket, key, metadata, self._boto3(), label)
        with self._errors(name or file_key):
            stream = self.arrow.open_output_stream(path, metadata=dict(metadata) if metadata else None)
            try:
                return copy(source, stream, size, label)
            except BaseException:
                # pyarrow cannot abort an upload: end it, then take away the half object.
                with contextlib.suppress(OSError):
                    stream.close()
                    self.arrow.delete_file(path)
                raise
            finally:
                if not stream.closed:
                    stream.close()


def _keep(root: Path, sink: HashingWriter, file: BinaryIO, twin: BinaryIO | None) -> dict[str, Any]:
    """Give a content its name; what is left for the commit to say."""
    stored = sink.stored()
    sink.flush()
    target = root / content_key(stored.sha256)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(file.name).replace(target)
    if twin is None:
        return asdict(stored)
    twin.flush()
    return asdict(stored) | {"prepared": Path(twin.name).name.removesuffix(PART)}


@contextlib.contextmanager
def _collected() -> Iterator[tuple[HashingWriter, BinaryIO]]:
    """Yield a sink and the file it collects in."""
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as collected:
        file = cast(BinaryIO, collected)
        yield HashingWriter(file), file


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Write a temporary file beside ``target`` and rename it there when the block ends well."""
    part = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}{PART}")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _staged(root: Path) -> Iterator[BinaryIO]:
    """Write a file out of sight. The lock on it tells the service, which sweeps, that somebody is writing."""
    folder = root / PART
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / f"{secrets.token_hex(8)}{PART}"
    try:
        with part.open("xb") as file:
            with contextlib.suppress(ImportError, OSError):
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
