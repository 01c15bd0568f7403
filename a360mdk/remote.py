"""Reading data sets that live elsewhere."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from a360mdk.exceptions import DatasetError
from a360mdk.transfer import copy
from a360runtime.paths import resolve


@contextlib.contextmanager
def open_remote(uri: str) -> Iterator[tuple[Any, int | None]]:
    """Open a remote file for reading; seekable, as some formats need it.

    Args:
        uri: http(s), s3 or file address, or a path on this machine.

    Yields:
        The file object and its size in bytes (None when unknown).

    Raises:
        DatasetError: it is not there or cannot be reached.
    """
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
            yield source, source.size()
    else:
        path = Path(unquote(address.path)) if address.scheme == "file" else resolve(uri)
        try:
            file = path.open("rb")
        except OSError as error:
            raise _unreachable(uri, error) from error
        with file:
            yield file, path.stat().st_size


@contextlib.contextmanager
def _download(uri: str) -> Iterator[tuple[Any, int | None]]:
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
                stored = copy(response.raw, kept, total, f"Download {uri.rsplit('/', 1)[-1]}")
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _unreachable(uri, error) from error
        if total is not None and stored.size != total:
            raise _unreachable(uri, OSError(f"{stored.size} of {total} bytes arrived"))
        kept.seek(0)
        yield kept, stored.size


def _unreachable(uri: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{uri} could not be read.", str(error), "Check the address and that it can be reached."
    )
