"""Layers of images: folders as compressed tar files that are the same byte for byte each time."""

import gzip
import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from a360_hub_service.backends import interruption
from a360_hub_service.backends.images.serving import TIME
from a360_hub_service.backends.registries import Descriptor

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_LEVEL = 1
"""Of compression. 6 takes three times as long, and what it makes is an eighth smaller."""
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Layer:
    """A layer: what registries know of it, and the digest of its tar file before it was compressed."""

    descriptor: Descriptor
    diff_id: str


def write_layer(folders: Iterable[tuple[Path, str]], target: Path) -> Layer:
    """Write the contents of folders into the file `target`, each under its path in the image ("app/site").

    All belongs to root and is readable for everybody; times are fixed, names in order. Raises `OSError`.
    """
    found: dict[str, Path | None] = {}
    for folder, name in folders:
        parts = name.split("/")
        found |= {"/".join(parts[:length]): None for length in range(1, len(parts) + 1)}
        found |= {f"{name}/{inside}": path for inside, path in _walk(folder)}
    with target.open("wb") as file:
        packed = _Hashing(file)
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=_LEVEL, mtime=0) as stream:
            plain = _Hashing(stream)
            out = cast("IO[bytes]", plain)
            with tarfile.open(fileobj=out, mode="w|", bufsize=_BLOCK, format=tarfile.GNU_FORMAT) as tar:
                for name, path in sorted(found.items()):
                    interruption.check()
                    _add(tar, name, path)
    return Layer(Descriptor(LAYER, packed.digest, packed.size), plain.digest)


def pack(source: Path, target: Path) -> Layer:
    """Compress a tar file that is a layer. Raises `OSError`."""
    with target.open("wb") as file, source.open("rb") as tar:
        packed = _Hashing(file)
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=_LEVEL, mtime=0) as stream:
            plain = _Hashing(stream)
            while piece := tar.read(_BLOCK):
                plain.write(piece)
    return Layer(Descriptor(LAYER, packed.digest, packed.size), plain.digest)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), path


def _add(tar: tarfile.TarFile, name: str, path: Path | None) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = TIME
    if path is None or (path.is_dir() and not path.is_symlink()):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    elif path.is_symlink():
        info.type, info.mode, info.linkname = tarfile.SYMTYPE, 0o777, os.readlink(path)
        tar.addfile(info)
    else:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            info.size, info.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
            tar.addfile(info, file)


class _Hashing:
    """Writes on, and knows the digest and the size of what was written."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file, self._hash, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"
