"""Data repos, and what can be done with data sets and files in them."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from a360mdk import tables
from a360mdk.base import Base
from a360mdk.cards import card
from a360mdk.exceptions import DataRepoError, DatasetError
from a360mdk.filesystem import FileSystem
from a360mdk.remote import open_remote
from a360mdk.transfer import copy
from a360runtime.paths import resolve

if TYPE_CHECKING:
    import pandas

    from a360mdk.main import A360AI

_RENEW_BEFORE = timedelta(minutes=5)


class DataRepo(Base):
    """A data repo of the project: a folder or an S3 bucket with data sets and artifacts.

    Attributes:
        id, name, description: as on the platform.
        volume_account: name of the credential account used.
        storage_provider: "local" or "aws".
        volume_name: folder or bucket.
        volume_region: region of the bucket.
        a360ai: the interface it came from.
    """

    id: str | None
    name: str | None
    description: str | None
    volume_account: str | None
    storage_provider: str | None
    volume_name: str
    volume_region: str | None
    a360ai: "A360AI | None"

    fields: ClassVar[dict[str, Any]] = {
        "id": None,
        "name": None,
        "description": None,
        "volume_account": None,
        "storage_provider": "local",
        "volume_name": "/tmp",  # noqa: S108 - the documented default
        "volume_region": None,
        "a360ai": None,
    }
    error = DataRepoError
    _filesystem: FileSystem | None = None

    def __repr__(self) -> str:
        return f"<DataRepo {self.name}: {self.storage_provider} {self.volume_name}>"

    def _repr_html_(self) -> str:
        facts = {
            "Description": self.description,
            "Storage": {"local": "folder", "aws": "S3 bucket"}.get(str(self.storage_provider)),
            "Volume": self.volume_name,
            "Region": self.volume_region,
            "Account": self.volume_account,
            "Identifier": self.id,
        }
        return card(f"Data repo {self.name}", facts)

    @property
    def filesystem(self) -> FileSystem:
        """Files of the repo; temporary credentials are renewed before they end."""
        if self._filesystem is None or _ends_soon(self._filesystem.expiration):
            self._filesystem = self._open()
        return self._filesystem

    def _open(self) -> FileSystem:
        if self.a360ai is None or self.id is None:
            return FileSystem(self.storage_provider or "local", self.volume_name)
        access = self.a360ai.client.get(f"/data-repos/{self.id}/access", DataRepoError)
        provider = access["storage_provider"]
        return FileSystem(
            provider,
            (access.get("path") if provider == "local" else None) or access["volume_name"],
            volume_account=self.volume_account,
            volume_region=access.get("region"),
            access_key=access.get("access_key"),
            secret_access_key=access.get("secret_access_key"),
            session_token=access.get("session_token"),
            expiration=access.get("expiration"),
            endpoint_url=access.get("endpoint_url"),
        )

    def list_datasets(
        self, subpath: str = "", exclude_projects: bool = True, full: bool = False
    ) -> "pandas.DataFrame":
        """List the files of a folder.

        Args:
            subpath: the folder; the repo itself when empty.
            exclude_projects: leave out the folder Projects, where the platform stores artifacts.
            full: also path, type, modification time and pyarrow's FileInfo.

        Returns:
            DataFrame with the columns base_name, extension, size (bytes; None of folders).
        """
        frame = self.filesystem.list_bucket(subpath, exclude_projects=exclude_projects)
        return frame if full else frame[["base_name", "extension", "size"]]

    def delete_dataset(self, dataset: str | None = None, *, key: str | None = None) -> bool:
        """Delete a data set, named by ``dataset`` or by ``key``.

        Args:
            dataset, key: its key in the repo; one of them.

        Raises:
            DatasetError: no name given, two different ones, or nothing there.
        """
        chosen = dataset if dataset is not None else key
        if not chosen or (dataset is not None and key is not None and dataset != key):
            raise DatasetError(
                "Nothing was deleted: delete_dataset needs one name.",
                "Neither dataset nor key names one, or they name two.",
                'Call delete_dataset("folder/data.csv").',
            )
        self._require(chosen)
        self.filesystem.delete_file(chosen)
        return True

    def load_dataset(
        self,
        key: str,
        source_format: str | None = None,
        target_format: str = "pandas",
        index: str | None = None,
    ) -> Any:
        """Load a data set.

        Args:
            key: its key in the repo.
            source_format: csv, json, parquet or xlsx; by the suffix of the key when None.
            target_format: "pandas", "numpy" or "torch".
            index: column that becomes the index.

        Raises:
            DatasetError: it is not there, or cannot be read as this format.
        """
        chosen = tables.source_format_of(key, source_format)
        self._require(key)
        with self.filesystem.get_object(key) as source:
            try:
                frame = tables.read(source, chosen)
            except DatasetError:
                raise
            except Exception as error:  # each reader raises classes of its own
                raise DatasetError(
                    f"{key} could not be read as {chosen}.",
                    f"{type(error).__name__}: {error}",
                    f"Look at the file with get_file({key!r}), or pass another source_format.",
                ) from error
        if index is not None:
            if index not in frame.columns:
                raise DatasetError(
                    f"{key} has no column {index!r} to use as its index.",
                    f"Its columns are {', '.join(map(str, frame.columns))}.",
                    "Pass one of these, or leave index out.",
                )
            frame = frame.set_index(index)
        return tables.to_target(frame, target_format)

    def write_dataset(
        self, data: Any, file_key: str, target_format: str | None = None, overwrite: bool = False
    ) -> bool:
        """Write a table to the repo.

        Args:
            data: DataFrame, Series, or an ndarray or tensor of one or two dimensions.
            file_key: key; gets the suffix of the format when it has none.
            target_format: "csv", "parquet" or "json"; by the suffix when None, parquet without one.
            overwrite: replace a data set of this key.

        Returns:
            True.

        Raises:
            DatasetError: it exists and overwrite is False, the format is unknown or disagrees with the
                suffix.
        """
        key, chosen = tables.target_of(file_key, target_format)
        frame = tables.to_frame(data)
        if not overwrite:
            self._require_free(key)
        with self.filesystem.writer(key) as sink:
            tables.write(frame, sink, chosen)
        return True

    def write_remote_dataset(
        self,
        uri: str,
        dataset: str,
        header: Any = "infer",
        names: Sequence[str] | None = None,
        *,
        overwrite: bool = True,
    ) -> bool:
        """Copy a remote data set into the repo.

        Args:
            uri: http(s), s3 or file address, or a path.
            dataset: key to store it under; its suffix decides the format.
            header: row of the column names; "infer" is the first row.
            names: column names to use instead.
            overwrite: replace a data set of this key. True, so that a notebook can be run again.

        Returns:
            True.
        """
        source_suffix = tables.suffix_of(urlsplit(uri).path)
        source_format = source_suffix if source_suffix in tables.READ else "csv"
        key, chosen = tables.target_of(dataset, None if tables.suffix_of(dataset) else source_suffix or None)
        if not overwrite:
            self._require_free(key)
        as_it_is = header == "infer" and names is None and source_format == chosen
        with open_remote(uri) as (source, size):
            if as_it_is:
                with self.filesystem.writer(key) as sink:
                    copy(source, sink, size, f"Copy {PurePosixPath(key).name}")
                return True
            try:
                frame = tables.read(source, source_format, header=header, names=names)
            except (ValueError, UnicodeError) as error:
                raise DatasetError(
                    f"{uri} could not be read as {source_format}.",
                    str(error),
                    "Check the address, header and names.",
                ) from error
        return self.write_dataset(frame, key, overwrite=True)

    def get_file(self, key: str, path: str | os.PathLike[str] | None = None) -> str:
        """Copy a file of the repo to this machine.

        Args:
            key: any file of the repo.
            path: folder or file name to copy to; the current folder when None.

        Returns:
            Path of the copy.

        Raises:
            DatasetError: there is no such file.
        """
        self._require(key)
        target = resolve(path) if path is not None else Path()
        if path is None or target.is_dir():
            target = target / PurePosixPath(key).name
        self.filesystem.write_file_from_remote(key, target)
        return str(target)

    def get_object(self, key: str, path: str | os.PathLike[str] | None = None) -> str:
        """Copy an object of the repo to this machine; the same as :meth:`get_file`."""
        return self.get_file(key, path)

    def _require(self, key: str) -> None:
        info = self.filesystem.info(key)
        if info.is_file:
            return
        what = "a folder, not a data set" if int(info.type) else "not in"
        where = f"the data repo {self.name}" if self.name else "the data repo"
        raise DatasetError(
            f"{key} is {what}{'' if int(info.type) else ' ' + where}.",
            "A key names one file, with all its folders and its suffix.",
            f"list_datasets({str(PurePosixPath(key).parent).replace('.', '', 1)!r}) shows what is there.",
            code="not_found",
        )

    def _require_free(self, key: str) -> None:
        if self.filesystem.info(key).is_file:
            raise DatasetError(
                f"{key} was not written.",
                f"The data repo {self.name or self.volume_name} already has a data set of this name.",
                "Pass overwrite=True to replace it, or choose another name.",
                code="exists",
            )


def _ends_soon(expiration: str | None) -> bool:
    if not expiration:
        return False
    ends = datetime.fromisoformat(expiration)
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    return datetime.now(UTC) > ends - _RENEW_BEFORE
