"""Data repos, and what can be done with data sets and files in them."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from a360mdk import tables
from a360mdk.base import Base
from a360mdk.cards import card
from a360mdk.exceptions import DataRepoError, DatasetError
from a360mdk.filesystem import FileSystem
from a360mdk.remote import open_remote
from a360mdk.s3_access import ends_soon
from a360mdk.transfer import copy
from a360mdk.versions import MAIN, Versions
from a360mdk.writing import replacing
from a360runtime.paths import resolve

if TYPE_CHECKING:
    import pandas

    from a360mdk.main import A360AI


class DataRepo(Versions, Base):
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
        if self._filesystem is None or ends_soon(self._filesystem.expiration):
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
        self,
        subpath: str = "",
        exclude_projects: bool = True,
        full: bool = False,
        *,
        at: str | None = None,
    ) -> "pandas.DataFrame":
        """List the files of a folder.

        Args:
            subpath: the folder; the repo itself when empty.
            exclude_projects: leave out the folder Projects, where the platform stores artifacts.
            full: also path, type, modification time and pyarrow's FileInfo.
            at: as of this commit, tag or branch; full then adds path, type, commit_id and sha256.

        Returns:
            DataFrame with the columns base_name, extension, size (bytes; None of folders).
        """
        if at is not None:
            return self._list_tree(subpath, full, at)
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
        self.delete_file(chosen)
        return True

    def load_dataset(
        self,
        key: str,
        source_format: str | None = None,
        target_format: str = "pandas",
        index: str | None = None,
        *,
        at: str | None = None,
    ) -> Any:
        """Load a data set.

        Args:
            key: its key in the repo.
            source_format: csv, json, parquet or xlsx; by the suffix of the key when None.
            target_format: "pandas", "numpy" or "torch".
            index: column that becomes the index.
            at: as of this commit, tag or branch; what it holds now when None.

        Raises:
            DatasetError: it is not there, or cannot be read as this format.
        """
        chosen = tables.source_format_of(key, source_format)
        with self._reading(key, at) as source:
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
        self,
        data: Any,
        file_key: str,
        target_format: str | None = None,
        overwrite: bool = False,
        *,
        branch: str = MAIN,
        message: str = "",
    ) -> bool:
        """Write a table to the repo, as a commit.

        Args:
            data: DataFrame, Series, or an ndarray or tensor of one or two dimensions.
            file_key: key; gets the suffix of the format when it has none.
            target_format: "csv", "parquet" or "json"; by the suffix when None, parquet without one.
            overwrite: replace a data set of this key.
            branch: where to; on any but main no file of the repo changes.
            message: for the list of commits.

        Returns:
            True.

        Raises:
            DatasetError: it exists and overwrite is False, the format is unknown or disagrees with the
                suffix.
        """
        key, chosen = tables.target_of(file_key, target_format)
        frame = tables.to_frame(data)
        if not overwrite and branch == MAIN:
            self._require_free(key)
        with self.committing(key, overwrite, branch, message) as sink:
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
        """Copy a remote data set into the repo, as a commit that names the address.

        Args:
            uri: http(s), s3 or file address, or a path. What has no suffix of a format is read by its media
                type, else as csv, whatever separates its columns.
            dataset: key to store it under; its suffix decides the format.
            header: row of the column names; "infer" is the first row.
            names: column names to use instead; the first row is then data, unless header says otherwise.
            overwrite: replace a data set of this key. True, so that a notebook can be run again.

        Returns:
            True.
        """
        message = f"Copy of {uri}"[:2000]
        with open_remote(uri) as remote:
            given = None if tables.suffix_of(dataset) else remote.source_format
            key, chosen = tables.target_of(dataset, given if given in tables.WRITTEN else None)
            if not overwrite:
                self._require_free(key)
            as_it_is = header == "infer" and names is None and remote.separator == ","
            if as_it_is and remote.source_format == chosen:
                with self.committing(key, overwrite, message=message) as sink:
                    copy(remote.source, sink, remote.size, f"Copy {PurePosixPath(key).name}")
                return True
            try:
                frame = tables.read(
                    remote.source,
                    remote.source_format,
                    header=header,
                    names=names,
                    separator=remote.separator,
                )
            except (ValueError, UnicodeError, OSError) as error:
                raise DatasetError(
                    f"{uri} could not be read as {remote.source_format}.",
                    str(error),
                    "Check the address, header and names.",
                ) from error
        return self.write_dataset(frame, key, overwrite=overwrite, message=message)

    def get_file(self, key: str, path: str | os.PathLike[str] | None = None, *, at: str | None = None) -> str:
        """Copy a file of the repo to this machine.

        Args:
            key: any file of the repo.
            path: folder or file name to copy to; the current folder when None.
            at: as of this commit, tag or branch; what it holds now when None.

        Returns:
            Path of the copy.

        Raises:
            DatasetError: there is no such file.
        """
        target = resolve(path) if path is not None else Path()
        if path is None or target.is_dir():
            target = target / PurePosixPath(key).name
        with self._reading(key, at) as source:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as sink:
                copy(source, sink, source.size(), f"Download {PurePosixPath(key).name}")
        return str(target)

    def get_object(
        self, key: str, path: str | os.PathLike[str] | None = None, *, at: str | None = None
    ) -> str:
        """Copy an object of the repo to this machine; the same as :meth:`get_file`."""
        return self.get_file(key, path, at=at)

    def _reading(self, key: str, at: str | None) -> Any:
        """Open a file; one that no commit has is looked for where it would be."""
        return self.open_version(key, at, missing=self._require)

    def _list_tree(self, subpath: str, full: bool, at: str) -> "pandas.DataFrame":
        import pandas

        folder = f"{subpath.strip('/')}/" if subpath.strip("/") else ""
        rows: dict[str, dict[str, Any]] = {}
        for entry in self.tree(at, folder):
            name, _, deeper = entry["key"].removeprefix(folder).partition("/")
            path = f"{folder}{name}"
            known = {"base_name": name, "path": path, "extension": PurePosixPath(name).suffix.lstrip(".")}
            if deeper:
                rows[path] = {**known, "extension": "", "size": None, "type": "directory"}
            else:
                more = {"commit_id": entry["commit_id"], "sha256": entry["sha256"]}
                rows[path] = {**known, "size": entry["size"], "type": "file", **more}
        columns = ["base_name", "extension", "size"]
        columns += ["path", "type", "commit_id", "sha256"] if full else []
        return pandas.DataFrame(list(rows.values()), columns=columns)

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
