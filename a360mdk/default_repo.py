"""Data sets of the default data repo, as calls of ``a360ai``."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from a360mdk.default_versions import DefaultVersions

if TYPE_CHECKING:
    import pandas


class DefaultRepo(DefaultVersions):
    """What ``a360ai`` does with data sets: it asks the project's default data repo."""

    def list_datasets(
        self,
        subpath: str = "",
        exclude_projects: bool = True,
        full: bool = False,
        *,
        at: str | None = None,
    ) -> "pandas.DataFrame":
        """List files of the default data repo; see :meth:`DataRepo.list_datasets`."""
        return self.datarepo.list_datasets(subpath, exclude_projects, full, at=at)

    def delete_dataset(self, dataset: str | None = None, *, key: str | None = None) -> bool:
        """Delete a data set of the default data repo; see :meth:`DataRepo.delete_dataset`."""
        return self.datarepo.delete_dataset(dataset, key=key)

    def load_dataset(
        self,
        key: str,
        source_format: str | None = None,
        target_format: str = "pandas",
        index: str | None = None,
        *,
        at: str | None = None,
    ) -> Any:
        """Load a data set of the default data repo; see :meth:`DataRepo.load_dataset`."""
        return self.datarepo.load_dataset(key, source_format, target_format, index, at=at)

    def write_dataset(
        self,
        data: Any,
        file_key: str,
        target_format: str | None = None,
        overwrite: bool = False,
        *,
        branch: str = "main",
        message: str = "",
    ) -> bool:
        """Write a table to the default data repo; see :meth:`DataRepo.write_dataset`."""
        return self.datarepo.write_dataset(
            data, file_key, target_format, overwrite, branch=branch, message=message
        )

    def write_remote_dataset(
        self,
        uri: str,
        dataset: str,
        header: Any = "infer",
        names: Sequence[str] | None = None,
        *,
        overwrite: bool = True,
    ) -> bool:
        """Copy a remote data set into the default data repo; see :meth:`DataRepo.write_remote_dataset`."""
        return self.datarepo.write_remote_dataset(uri, dataset, header, names, overwrite=overwrite)

    def get_file(self, key: str, path: str | os.PathLike[str] | None = None, *, at: str | None = None) -> str:
        """Copy a file of the default data repo to this machine; see :meth:`DataRepo.get_file`."""
        return self.datarepo.get_file(key, path, at=at)

    def get_object(
        self, key: str, path: str | os.PathLike[str] | None = None, *, at: str | None = None
    ) -> str:
        """Copy an object of the default data repo to this machine; the same as :meth:`get_file`."""
        return self.datarepo.get_file(key, path, at=at)
