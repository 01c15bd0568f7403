"""The cache of builds: kept below a size, and rid of what killed builds left, whenever none is running."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

SIZE_FILE = "size"
"""In a folder of installed dependencies: its bytes."""
_LOCK = ".in-use"
_LONG = 3600.0
_FOLDERS = ("packages", "cache/deps", "cache/oci", "cache/oci/contents", "cache/oci/layers")
_BLOBS = "cache/oci/blobs"

_Result = TypeVar("_Result")


def tidied(build: Callable[..., _Result]) -> Callable[..., _Result]:
    """Decorate the method of a builder that makes a package: nothing is trimmed meanwhile, but afterwards."""

    @wraps(build)
    def wrapped(self: Any, *arguments: Any) -> _Result:
        with _in_use(Path(self.home)):
            result = build(self, *arguments)
        self.tidy()
        return result

    return wrapped


def tidy(home: Path, most_bytes: int) -> None:
    """Remove leftovers, and what was not used for longest while there is more than `most_bytes`.

    Does nothing while any thread or process builds here: the last of them does it when it ends.
    """
    with _lock(home) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        _remove_leftovers(home)
        _trim(home / "cache", most_bytes)


@contextlib.contextmanager
def _in_use(home: Path) -> Iterator[None]:
    with _lock(home) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[Any]:
    folder = home / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        yield file


def _remove_leftovers(home: Path) -> None:
    """Remove folders that work was done in: their names begin with a dot, or are made up by Python."""
    found = [path for name in (*_FOLDERS, _BLOBS) for path in (home / name).glob(".*-*/")]
    found += [*(home / _BLOBS).glob("*/.*-*/"), *(home / "cache" / "locks").glob("tmp*/")]
    # Bases are also made by a command of the operator's, which does not say so here.
    bases = [*(home / "cache" / "base").glob(".*-*/"), *(home / "cache" / "base").glob("tmp*/")]
    found += [path for path in bases if time.time() - path.stat().st_mtime > _LONG]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)


def _trim(cache: Path, most_bytes: int) -> None:
    entries = []
    for path in (*(cache.parent / _BLOBS).rglob("*"), *(cache / "deps").glob("*/")):
        if path.name.startswith("."):
            continue
        with contextlib.suppress(OSError):
            if not path.is_dir():
                entries.append((path.stat().st_mtime, path.stat().st_size, path))
            elif path.parent.name == "deps":
                entries.append((path.stat().st_mtime, _size(path), path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most_bytes:
            return
        total -= size
        if path.is_dir():
            _remove_folder(path)
        else:
            path.unlink(missing_ok=True)


def _remove_folder(path: Path) -> None:
    """Remove a folder that is whole or absent: it gets another name first."""
    doomed = path.with_name(f".{path.name}-doomed")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)


def _size(folder: Path) -> int:
    """Return the bytes of a folder of dependencies, counted once."""
    file = folder / SIZE_FILE
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text("ascii"))
    total = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    times = folder.stat()
    file.write_text(str(total), "ascii")
    os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))
    return total
