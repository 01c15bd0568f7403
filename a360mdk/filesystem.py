"""The storage behind a data repo: a folder or an S3 bucket, through pyarrow."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from a360mdk.exceptions import ConfigurationError, FileSystemError
from a360mdk.s3_access import Keys, assume_role, ends_soon
from a360mdk.storage_errors import storage_error
from a360mdk.transfer import Stored, copy
from a360mdk.writing import HIDDEN, PART, Writing, replacing
from a360runtime.paths import resolve

if TYPE_CHECKING:
    import pandas

PROJECTS = "Projects"


class FileSystem(Writing):
    """Files of one data repo, by keys such as ``folder/data.parquet``.

    Args:
        storage_provider: "local" or "aws" (any S3 server).
        volume_name: folder, or bucket.
        volume_account: name of the credential account, for information.
        volume_region: region of the bucket.
        access_key: access key id.
        secret_access_key: its secret.
        session_token: present with temporary credentials.
        target_arn: role of the temporary credentials; assumed here, and anew before its keys end, when no
            session_token is given.
        expiration: ISO time at which temporary credentials end.
        local: storage on this machine; implied by the provider "local".
        endpoint_url: address of an S3 server that is not AWS.

    Raises:
        ConfigurationError: another storage provider.
    """

    file_types = ("target does not exist", "unknown", "file", "directory")

    def __init__(
        self,
        storage_provider: str,
        volume_name: str,
        volume_account: str | None = None,
        volume_region: str | None = None,
        access_key: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        target_arn: str | None = None,
        expiration: str | None = None,
        local: bool = False,
        *,
        endpoint_url: str | None = None,
    ) -> None:
        if storage_provider not in ("local", "aws"):
            raise ConfigurationError(
                f"The storage provider {storage_provider!r} is unknown.",
                "Files are in a folder, or in a bucket of any S3 server.",
                'Use "local" or "aws".',
            )
        self.local = local or storage_provider == "local"
        self.storage_provider = "local" if self.local else storage_provider
        self.bucket = os.path.abspath(resolve(volume_name)) if self.local else volume_name
        self.account = volume_account
        self.region = volume_region
        self.access_key = access_key
        self.secret_access_key = secret_access_key
        self.expiration = expiration
        self._session_token = session_token
        self._target_arn = target_arn
        self._endpoint_url = endpoint_url
        self._arrow: Any = None
        self._assumed: Keys | None = None

    def __repr__(self) -> str:
        return f"<FileSystem {self.storage_provider}: {self.bucket}>"

    @property
    def arrow(self) -> Any:
        """The pyarrow filesystem underneath."""
        if self._arrow is None or (self._assumed and ends_soon(self._assumed.expiration)):
            self._arrow = self._connect()
        return self._arrow

    def _connect(self) -> Any:
        import pyarrow.fs

        if self.local:
            return pyarrow.fs.LocalFileSystem()
        options: dict[str, Any] = {"region": self.region, "connect_timeout": 10, "request_timeout": 60}
        if self._endpoint_url:
            address = urlsplit(self._endpoint_url)
            options |= {"endpoint_override": address.netloc, "scheme": address.scheme}
        options |= self._keys().for_pyarrow()
        return pyarrow.fs.S3FileSystem(
            **{name: value for name, value in options.items() if value is not None}
        )

    def _keys(self) -> Keys:
        """What to sign with: the given keys, or those of the role, for reading and writing alike."""
        given = Keys(self.access_key, self.secret_access_key, self._session_token, self.expiration)
        if not self._target_arn or self._session_token:
            return given
        if self._assumed is None or ends_soon(self._assumed.expiration):
            self._assumed = assume_role(self._target_arn, given, self.region, self._endpoint_url)
        return self._assumed

    def path(self, key: str) -> str:
        """Full path of a key for pyarrow.

        Args:
            key: like ``folder/data.parquet``.

        Raises:
            FileSystemError: the key is empty, or leads out of the repo.
        """
        parts = PurePosixPath(str(key)).parts
        if not parts or parts[0] == "/" or ".." in parts or "\\" in str(key) or "\0" in str(key):
            raise FileSystemError(
                f"{str(key)!r} is not a key of a file in a data repo.",
                "A key is a relative path with forward slashes and no '..'.",
                'Write it like "folder/data.parquet".',
            )
        return "/".join([self.bucket, *parts])

    # Folders and single files

    def create_dir(self, directory: str) -> None:
        """Create a folder, with the folders above it.

        Args:
            directory: its key.
        """
        with self._errors(directory):
            self.arrow.create_dir(self.path(directory), recursive=True)

    def delete_dir(self, directory: str) -> None:
        """Delete a folder and all in it.

        Args:
            directory: its key.
        """
        with self._errors(directory):
            self.arrow.delete_dir(self.path(directory))

    def delete_dir_contents(self, directory: str) -> None:
        """Empty a folder.

        Args:
            directory: its key.
        """
        with self._errors(directory):
            self.arrow.delete_dir_contents(self.path(directory))

    def delete_file(self, file: str) -> None:
        """Delete a file.

        Args:
            file: its key.
        """
        with self._errors(file):
            self.arrow.delete_file(self.path(file))

    def info(self, key: str) -> Any:
        """Return pyarrow's FileInfo of a key, whether it exists or not.

        Args:
            key: of a file or folder.
        """
        with self._errors(key):
            return self.arrow.get_file_info(self.path(key))

    def is_file(self, key: str) -> bool:
        """Whether a file of this key exists.

        Args:
            key: of a file or folder.
        """
        return bool(self.info(key).is_file)

    def get_file_info(self, file: str) -> dict[str, Any]:
        """Return what pyarrow knows of a file, as a dictionary.

        Args:
            file: its key.
        """
        return describe(self.info(file))

    def get_object(self, file: str) -> Any:
        """Open a file for reading: a seekable ``pyarrow.NativeFile``.

        Args:
            file: its key.
        """
        with self._errors(file):
            return self.arrow.open_input_file(self.path(file))

    def list_bucket(
        self, subpath: str = "", recursive: bool = False, exclude_projects: bool = True
    ) -> "pandas.DataFrame":
        """List a folder.

        Args:
            subpath: the folder; the repo itself when empty.
            recursive: with all folders below.
            exclude_projects: leave out what the platform stores itself.

        Returns:
            DataFrame with base_name, extension, size, path, type, mtime and file_info.

        Raises:
            FileSystemError: "core 15": wrong credentials; "code 100": path missing or wrong region.
        """
        import pandas

        rows = [describe(info) for info in self.entries(subpath, recursive, exclude_projects)]
        columns = ["base_name", "extension", "size", "path", "type", "mtime", "file_info"]
        return pandas.DataFrame(rows, columns=columns)

    def entries(
        self, subpath: str = "", recursive: bool = False, exclude_projects: bool = True
    ) -> Iterator[Any]:
        """Yield pyarrow's FileInfo of what is in a folder, in the order of names.

        Args:
            subpath, recursive, exclude_projects: as of :meth:`list_bucket`.
        """
        subpath = subpath.strip("/")
        base = self.path(subpath) if subpath else self.bucket
        left_out = {f"{self.bucket}/{HIDDEN}"} | (
            {f"{self.bucket}/{PROJECTS}"} if exclude_projects else set()
        )
        with self._errors(subpath or self.bucket):
            # One folder after the other at the top, so that what is left out is not even asked for.
            infos = self._select(base, recursive and bool(subpath))
            if base == self.bucket:
                infos = [info for info in infos if info.path not in left_out]
                for info in infos[:] if recursive else ():
                    infos += self._select(info.path, True) if info.type.name == "Directory" else ()
        for info in sorted(infos, key=lambda entry: entry.path):
            if not info.base_name.endswith(PART):
                yield info

    def _select(self, base: str, recursive: bool) -> list[Any]:
        import pyarrow.fs

        return list(self.arrow.get_file_info(pyarrow.fs.FileSelector(base, recursive=recursive)))

    # Whole files

    def write_dataset(self, data_object: Any, file_key: str, target_format: str = "parquet") -> None:
        """Write an array, Series, DataFrame or tensor as parquet, csv or json.

        Args:
            data_object: an array, Series, DataFrame or tensor.
            file_key: the key, with its suffix.
            target_format: "parquet", "csv" or "json".
        """
        from a360mdk import tables

        frame = tables.to_frame(data_object)
        with self.writer(file_key) as sink:
            tables.write(frame, sink, target_format)

    def write_file_from_remote(self, file_key: str, path: str | os.PathLike[str]) -> Stored:
        """Download a file to a local path; a file there is replaced only when the download is whole.

        Args:
            file_key: what to download.
            path: the local file.
        """
        target = resolve(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.get_object(file_key) as source, replacing(target) as sink, self._errors(file_key):
            return copy(source, sink, source.size(), f"Download {PurePosixPath(file_key).name}")

    def write_file_to_remote(
        self, file: str | os.PathLike[str], file_key: str, metadata: Mapping[str, str] | None = None
    ) -> Stored:
        """Upload a local file; a bucket keeps the metadata with the object, a folder has no place for it.

        Args:
            file: what to upload.
            file_key: the key it gets.
            metadata: text by name, kept with an object of a bucket.
        """
        source_path = resolve(file)
        try:
            size = source_path.stat().st_size
            source = source_path.open("rb")
        except OSError as error:
            raise FileSystemError(
                f"{source_path} cannot be read.", str(error), "Check the path of the file to upload."
            ) from error
        with source:
            return self._store(source, size, file_key, metadata)

    def _boto3(self) -> dict[str, Any]:
        return {
            "region_name": self.region,
            "endpoint_url": self._endpoint_url,
            **self._keys().for_boto3(),
        }

    @contextlib.contextmanager
    def _errors(self, subject: str) -> Iterator[None]:
        """Turn what the store says into a FileSystemError with a cause a person can act on."""
        try:
            yield
        except OSError as error:
            raise storage_error(error, subject, self.bucket, self.local) from error


def describe(info: Any) -> dict[str, Any]:
    """Return pyarrow's FileInfo as a dictionary."""
    names = {0: "target does not exist", 1: "unknown", 2: "file", 3: "directory"}
    return {
        "path": info.path,
        "base_name": info.base_name,
        "extension": info.extension,
        "size": info.size,
        "type": names.get(int(info.type), "unknown"),
        "mtime": info.mtime,
        "file_info": info,
    }
