"""Versions of the default data repo, as calls of ``a360ai``."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from a360mdk.versions import MAIN, Versions

if TYPE_CHECKING:
    import pandas

    from a360mdk.datarepo import DataRepo

MOST_TEXT = 4000


class DefaultVersions(ABC):
    """What ``a360ai`` does with versions: it asks the project's default data repo."""

    _reads: dict[str, str]
    _default_repo_id: str | None = None

    @property
    @abstractmethod
    def datarepo(self) -> "DataRepo":
        """The project's default data repo."""

    def list_commits(
        self, key: str | None = None, at: str = MAIN, limit: int | None = None
    ) -> "pandas.DataFrame":
        """List commits of the default data repo; see :meth:`DataRepo.list_commits`."""
        return self.datarepo.list_commits(key, at, limit)

    def compare_commits(self, base: str, to: str = MAIN) -> "pandas.DataFrame":
        """List the files that two commits do not agree on; see :meth:`DataRepo.compare_commits`."""
        return self.datarepo.compare_commits(base, to)

    def data_changes(self) -> "pandas.DataFrame":
        """List files that other tools have changed; see :meth:`DataRepo.data_changes`."""
        return self.datarepo.data_changes()

    def take_in(self, keys: Sequence[str] | str | None = None, message: str = "") -> str | None:
        """Commit what other tools have changed; see :meth:`DataRepo.take_in`."""
        return self.datarepo.take_in(keys, message)

    def restore(
        self, to: str, keys: Sequence[str] | str | None = None, branch: str = MAIN, message: str = ""
    ) -> str:
        """Make files what they were, as a new commit; see :meth:`DataRepo.restore`."""
        return self.datarepo.restore(to, keys, branch, message)

    def list_branches(self) -> "pandas.DataFrame":
        """List branches of the default data repo; see :meth:`DataRepo.list_branches`."""
        return self.datarepo.list_branches()

    def create_branch(self, name: str, at: str = MAIN) -> None:
        """Begin a branch of the default data repo; see :meth:`DataRepo.create_branch`."""
        self.datarepo.create_branch(name, at)

    def delete_branch(self, name: str) -> None:
        """Forget a branch of the default data repo; see :meth:`DataRepo.delete_branch`."""
        self.datarepo.delete_branch(name)

    def list_tags(self) -> "pandas.DataFrame":
        """List tags of the default data repo; see :meth:`DataRepo.list_tags`."""
        return self.datarepo.list_tags()

    def create_tag(self, name: str, at: str = MAIN) -> None:
        """Give a commit of the default data repo a name; see :meth:`DataRepo.create_tag`."""
        self.datarepo.create_tag(name, at)

    def delete_tag(self, name: str) -> None:
        """Forget a tag of the default data repo; see :meth:`DataRepo.delete_tag`."""
        self.datarepo.delete_tag(name)

    # What runs say they were trained on

    def remember_read(self, repo: Versions, key: str, commit_id: str) -> None:
        """Remember that a data set was read.

        Args:
            repo: where it is.
            key: the data set.
            commit_id: the commit that made it what was read.
        """
        name = key if self._default_repo_id in (None, repo.id) else f"{repo.name}:{key}"
        self._reads.pop(name, None)
        self._reads[name] = commit_id

    @property
    def data_read(self) -> str | None:
        """The data sets this kernel has read, each as ``name@commit``, in the order they were read."""
        text = ""
        for name, commit_id in reversed(self._reads.items()):
            longer = f"{name}@{commit_id}" + (f", {text}" if text else "")
            if len(longer) > MOST_TEXT:
                break
            text = longer
        return text or None
