"""Reading data sets that live elsewhere."""

import contextlib
import csv
import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from a360mdk import tables
from a360mdk.exceptions import DatasetError
from a360mdk.transfer import copy
from a360runtime.paths import resolve

_TYPES = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/json": "json",
    "application/x-ndjson": "json",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_SNIFFED = 65536
_SEPARATORS = ",;\t| "


@dataclass
class Remote:
    """A remote file that is open for reading; seekable, as some formats need it.

    Attributes:
        source: the file object.
        size: its bytes; None when unknown.
        source_format: csv, json, parquet or xlsx.
        separator: between the columns of a csv.
    """

    source: Any
    size: int | None
    source_format: str
    separator: str = ","


@contextlib.contextmanager
def open_remote(uri: str) -> Iterator[Remote]:
    """Open a remote file for reading.

    Its format is that of its suffix, of a name in its query, or of its media type, in this order; else csv.
    What a ``.gz`` holds is read like the file itself.

    Args:
        uri: http(s), s3 or file address, or a path on this machine.

    Raises:
        DatasetError: it is not there or cannot be reached.
    """
    with _opened(uri) as (source, size, media_type):
        name, packed = _name(uri)
        if packed:
            source, size = gzip.GzipFile(fileobj=source), None
        suffix = tables.suffix_of(name)
        chosen = suffix if suffix in tables.READ else _TYPES.get(media_type, "csv")
        separator = "," if chosen != "csv" or suffix == "csv" else _separator(source, suffix)
        yield Remote(source, size, chosen, separator)


def _name(uri: str) -> tuple[str, bool]:
    """The name of the file that an address means, and whether it is packed."""
    address = urlsplit(uri)
    names = [address.path, *(value for _, value in parse_qsl(address.query))]
    for name in names:
        packed = name.lower().endswith(".gz")
        plain = name[: -len(".gz")] if packed else name
        if packed or tables.suffix_of(plain) in tables.READ:
            return plain, packed
    return address.path, False


def _separator(source: Any, suffix: str) -> str:
    """What separates columns, in a text whose name does not say so."""
    if suffix == "tsv":
        return "\t"
    start = source.read(_SNIFFED)
    source.seek(0)
    try:
        return csv.Sniffer().sniff(start.decode("utf-8", "replace"), _SEPARATORS).delimiter
    except csv.Error:  # a single column, or no table at all
        return ","


@contextlib.contextmanager
def _opened(uri: str) -> Iterator[tuple[Any, int | None, str]]:
    address = urlsplit(uri)
    if address.scheme in ("http", "https"):
        with _download(uri) as opened:
            yield opened
    elif address.scheme in ("s3", "gs"):
        import pyarrow.fs

        try:
            filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
            source = filesystem.open_input_file(path)
        except (OSError, ValueError) as error:
            raise _unreachable(uri, error) from error
        with source:
            yield source, source.size(), ""
    else:
        path = Path(unquote(address.path)) if address.scheme == "file" else resolve(uri)
        try:
            file = path.open("rb")
        except OSError as error:
            raise _unreachable(uri, error) from error
        with file:
            yield file, path.stat().st_size, ""


@contextlib.contextmanager
def _download(uri: str) -> Iterator[tuple[Any, int | None, str]]:
    import requests
    from urllib3.exceptions import HTTPError

    with tempfile.TemporaryFile() as kept:
        try:
            with requests.get(uri, stream=True, timeout=(10, 60)) as response:
                response.raise_for_status()
                response.raw.decode_content = True
                encoded = response.headers.get("Content-Encoding")
                length = None if encoded else response.headers.get("Content-Length")
                total = int(length) if length else None
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                label = f"Download {urlsplit(uri).path.rsplit('/', 1)[-1]}"
                stored = copy(response.raw, kept, total, label)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _unreachable(uri, error) from error
        if total is not None and stored.size != total:
            raise _unreachable(uri, OSError(f"{stored.size} of {total} bytes arrived"))
        kept.seek(0)
        yield kept, stored.size, media_type


def _unreachable(uri: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{uri} could not be read.", str(error), "Check the address and that it can be reached."
    )
