"""Advisories an operator has on disk, brought into an index once and looked up by package from then on.

Taken are records of OSV (a folder, a zip or a tar of JSON or YAML files), the security tracker of Debian (one
JSON file), and the list of packages of a security suite of Debian.
"""

import contextlib
import gzip
import hashlib
import json
import lzma
import re
import sqlite3
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import Log
from a360_hub_service.backends.children import environment, finished, tied
from a360_hub_service.backends.images.resolve import made_once
from a360_hub_service.backends.images.stock import dpkg_packages
from a360_hub_service.backends.scanners.base import ScanError, Source
from a360_hub_service.backends.scanners.osv import trimmed

RECIPE = "1"
"""Of making an index: one that was made in another way is made again."""
_SUITE = re.compile(r"([a-z]+)-security")
_KINDS = (".json", ".yaml", ".yml")
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError)
_BROKEN_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, EOFError, zlib.error, RecursionError)
_USED = 3600
"""Seconds for which an index stays that newer advisories replaced."""
_LARGE = 4 * 1024 * 1024
"""Bytes of advisories up to which they are read in this process."""
_SECONDS = 1800
"""How long another process may read."""
_LARGEST = 1024 * 1024 * 1024
"""Bytes of one file in an archive; one that is larger is no record."""

Row = tuple[str, str, str]
"""Ecosystem, package and, as JSON, what an advisory says of it."""


@dataclass(frozen=True)
class Found:
    """What an index knows: which `ecosystems`, of when it is, and how many records nobody could read."""

    source: Source
    ecosystems: frozenset[str]
    broken: int


class Index:
    """Advisories of one place, in a file that is made anew when what lies there changes."""

    def __init__(self, file: Path, place: Path) -> None:
        self.file, self.place = file, place

    @property
    def found(self) -> Found:
        """What is in it."""
        with self._opened() as database:
            told = dict(database.execute("SELECT key, value FROM told"))
            names = {name for (name,) in database.execute("SELECT DISTINCT ecosystem FROM advisories")}
        date = datetime.fromisoformat(told["date"]) if told["date"] else None
        return Found(Source(told["name"], date), frozenset(names), int(told["broken"]))

    def entries(self, ecosystem: str, package: str) -> list[dict[str, Any]]:
        """What advisories say of a package."""
        query = "SELECT entry FROM advisories WHERE ecosystem = ? AND package = ? ORDER BY entry"
        with self._opened() as database:
            return [json.loads(entry) for (entry,) in database.execute(query, (ecosystem, package))]

    def _opened(self) -> closing[sqlite3.Connection]:
        return closing(sqlite3.connect(f"{self.file.absolute().as_uri()}?mode=ro", uri=True))


def open_index(place: Path, cache: Path, log: Log) -> Index:
    """Return the index of a place, made now if there is none of what lies there today. Raises `ScanError`."""
    try:
        key = _key(place)
        file = cache / f"{hashlib.sha256(str(place.absolute()).encode()).hexdigest()[:12]}-{key}.sqlite"

        def make(new: Path) -> None:
            log(f"Reading the advisories in {place.name}.")
            if sum(path.stat().st_size for path in _files(place)) > _LARGE:
                _write_elsewhere(place, new)
            else:
                _write(place, new)

        made_once(file, make)
        for old in cache.glob(f"{file.name[:12]}-*.sqlite"):
            # One that was made lately may be in use by another scan.
            with contextlib.suppress(FileNotFoundError):
                if old != file and time.time() - old.stat().st_mtime > _USED:
                    old.unlink()
    except (OSError, *_UNREADABLE, *_BROKEN_ARCHIVE) as error:
        raise ScanError(
            f"The advisories in {place} cannot be read: {error}.",
            hint="The operator has to put a whole copy there, or take it out of EmbeddedScanner.advisories.",
        ) from error
    return Index(file, place)


def _key(place: Path) -> str:
    """Return what changes when files are put there, taken away or changed."""
    total = hashlib.sha256(RECIPE.encode())
    for path in _files(place):
        status = path.stat()
        total.update(f"{path.relative_to(place)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return total.hexdigest()[:32]


def _files(place: Path) -> list[Path]:
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if path.suffix in _KINDS and path.is_file())
    if not place.is_file():
        raise ValueError("there is no such file or folder")
    return [place]


def _write_elsewhere(place: Path, new: Path) -> None:
    """Write the index in a process of its own: the service would not answer while a large file is parsed."""
    command = tied([sys.executable, "-P", "-m", __name__, str(place), str(new)])
    try:
        done = finished(command, _SECONDS, env=environment())
    except subprocess.TimeoutExpired:
        raise ValueError(f"it took longer than {_SECONDS} seconds") from None
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise ValueError(said or f"the reader ended with {done.returncode}")


def _write(place: Path, new: Path) -> None:
    reader = _Reader(place)
    with closing(sqlite3.connect(new)) as database, database:
        database.execute("CREATE TABLE advisories (ecosystem TEXT, package TEXT, entry TEXT)")
        database.execute("CREATE TABLE told (key TEXT PRIMARY KEY, value TEXT)")
        database.executemany("INSERT INTO advisories VALUES (?, ?, ?)", reader.rows())
        database.execute("CREATE INDEX by_package ON advisories (ecosystem, package)")
        if not database.execute("SELECT 1 FROM advisories LIMIT 1").fetchone():
            raise ValueError("it holds no advisory for PyPI or Debian")
        date = reader.newest.isoformat() if reader.newest else ""
        told = {"name": reader.name, "date": date, "broken": str(reader.broken)}
        database.executemany("INSERT INTO told VALUES (?, ?)", told.items())


class _Reader:
    """Reads a place of any kind, and remembers what there is to say about it."""

    def __init__(self, place: Path) -> None:
        self.place, self.broken = place, 0
        self.newest: datetime | None = None
        self.name = f"the advisories in {place.name}"

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the index."""
        if self.place.is_dir():
            files = ((path.name, path.read_bytes()) for path in _files(self.place))
            yield from self._records(files)
        elif zipfile.is_zipfile(self.place):
            with zipfile.ZipFile(self.place) as archive:
                files = ((each.filename, archive.read(each)) for each in archive.infolist() if _fits(each))
                yield from self._records(files)
        elif tarfile.is_tarfile(self.place):
            with tarfile.open(self.place) as tar:
                yield from self._records(_members(tar))
        elif self.place.suffix == ".json":
            yield from self._tracker(json.loads(self.place.read_bytes()))
        else:
            yield from self._suite(_unpacked(self.place).decode("utf-8", "replace"))

    def _records(self, files: Iterable[tuple[str, bytes]]) -> Iterator[Row]:
        for name, data in files:
            interruption.check()
            if PurePosixPath(name).suffix not in _KINDS:
                continue
            try:
                record = json.loads(data) if name.endswith(".json") else yaml.load(data, _YAML)  # noqa: S506
                entries = trimmed(record)
                self._see(record.get("modified"))
            except (*_UNREADABLE, RecursionError):
                self.broken += 1
                continue
            for ecosystem, package, entry in entries:
                yield ecosystem, package, json.dumps(entry, default=str)

    def _see(self, modified: Any) -> None:
        """Remember the newest change: an archive may have been copied long after it was made."""
        if modified is None:
            return
        when = modified if isinstance(modified, datetime) else datetime.fromisoformat(str(modified))
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        if when <= datetime.now(UTC):
            self.newest = max(when, self.newest or when)

    def _copied(self) -> None:
        # What says nothing of its own age is as old as its file.
        self.newest = datetime.fromtimestamp(self.place.stat().st_mtime, UTC)

    def _tracker(self, document: dict[str, dict[str, dict[str, Any]]]) -> Iterator[Row]:
        self.name = "Debian's security tracker"
        self._copied()
        for package, issues in document.items():
            interruption.check()
            for issue, told in issues.items():
                title = str(told.get("description") or "")[:300]
                for suite, state in told["releases"].items():
                    entry = {"id": issue, "title": title, "status": state["status"]}
                    entry |= {"fixed": state.get("fixed_version", ""), "word": state.get("urgency", "")}
                    yield f"tracker:{suite}", package, json.dumps(entry)

    def _suite(self, text: str) -> Iterator[Row]:
        if not (suite := _SUITE.search(str(self.place))):
            raise ValueError("it is none of the known kinds, or its name does not say which suite it is of")
        self.name = f"the packages of {suite[0]}"
        self._copied()
        for each in dpkg_packages(text):
            yield f"suite:{suite[1]}", each.name, json.dumps({"id": suite[0], "fixed": each.version})


def _fits(member: zipfile.ZipInfo) -> bool:
    return member.file_size < _LARGEST and member.filename.endswith(_KINDS)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for info in tar:
        file = tar.extractfile(info) if info.isfile() and info.name.endswith(_KINDS) else None
        if file and info.size < _LARGEST:
            yield info.name, file.read()


def _unpacked(place: Path) -> bytes:
    unpack = {".gz": gzip.decompress, ".xz": lzma.decompress}.get(place.suffix, bytes)
    return unpack(place.read_bytes())


if __name__ == "__main__":
    try:
        _write(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, *_UNREADABLE, *_BROKEN_ARCHIVE) as error:
        sys.exit(str(error))
