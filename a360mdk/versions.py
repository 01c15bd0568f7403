"""Versions of a data repo: its commits, branches and tags, and what other tools did to its files."""

import contextlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from a360mdk.client import Client, Unreachable, decode, unreachable_text
from a360mdk.exceptions import DataRepoError, DatasetError, FileSystemError
from a360mdk.progress import Meter, watched
from a360mdk.transfer import HashingWriter
from a360mdk.writing import content_key

if TYPE_CHECKING:
    import pandas

    from a360mdk.filesystem import FileSystem
    from a360mdk.main import A360AI

MAIN = "main"
UNCOMMITTED = "uncommitted"
_ARTIFACTS = "Projects"
_BYTES_A_SECOND = 20_000_000  # at the least, of a store that copies
_AT_ONCE = 500


class Versions(ABC):
    """What a data repo does with versions. Each change of a file is a commit.

    Files as they are now are on the branch ``main``; other branches have none but those commits tell of. A
    commit is named by its id or the first eight characters of it or more, by a tag, or by a branch, whose
    newest commit counts.
    """

    id: str | None
    name: str | None
    a360ai: "A360AI | None"

    @property
    @abstractmethod
    def filesystem(self) -> "FileSystem":
        """Files of the repo."""

    # Looking

    def list_commits(
        self, key: str | None = None, at: str = MAIN, limit: int | None = None
    ) -> "pandas.DataFrame":
        """List commits, newest first.

        Args:
            key: only those that changed this file.
            at: the branch, or the commit to begin with.
            limit: how many at most.

        Returns:
            DataFrame with id, created_at, created_by, branch, kind, message, change_count and keys (the first
            ten).
        """
        import pandas

        query = {"at": at} | ({"key": key} if key else {})
        found = self._client.items(f"{self._path}/commits", DataRepoError, query)
        columns = ["id", "created_at", "created_by", "branch", "kind", "message", "change_count", "keys"]
        frame = pandas.DataFrame(
            list(islice(watched(found, "List commits", " commits"), limit)), columns=columns
        )
        frame["created_at"] = pandas.to_datetime(frame["created_at"], utc=True, format="ISO8601")
        return frame

    def compare_commits(self, base: str, to: str = MAIN) -> "pandas.DataFrame":
        """List the files that are different in one commit as against another.

        Args:
            base, to: commits, tags or branches.

        Returns:
            DataFrame with key, change ("added", "changed" or "deleted"), base_size and size.
        """
        import pandas

        query = {"base": base, "to": to}
        found = list(self._client.items(f"{self._path}/compare", DataRepoError, query))
        return pandas.DataFrame(found, columns=["key", "change", "base_size", "size"])

    def data_changes(self) -> "pandas.DataFrame":
        """List the files that other tools have written or deleted, and no commit knows.

        Returns:
            DataFrame with key, change ("added", "changed" or "deleted") and size.
        """
        import pandas

        return pandas.DataFrame(self._changes(), columns=["key", "change", "size"])

    def _changes(self) -> list[dict[str, Any]]:
        return list(self._client.items(f"{self._path}/changes", DataRepoError, {"limit": 1000}))

    # Branches and tags

    def list_branches(self) -> "pandas.DataFrame":
        """List branches: name, commit_id, created_by, created_at, updated_at."""
        import pandas

        columns = ["name", "commit_id", "created_by", "created_at", "updated_at"]
        found = self._client.items(f"{self._path}/branches", DataRepoError)
        return pandas.DataFrame(list(found), columns=columns)

    def create_branch(self, name: str, at: str = MAIN) -> None:
        """Begin a branch; no data are copied, however large they are.

        Args:
            name: letters, digits, dots, dashes and underscores.
            at: the commit, tag or branch it begins at.
        """
        self._client.post(f"{self._path}/branches", DataRepoError, {"name": name, "at": at})

    def delete_branch(self, name: str) -> None:
        """Forget a branch; its commits stay.

        Args:
            name: any but main.
        """
        self._client.call("DELETE", f"{self._path}/branches/{name}", DataRepoError)

    def list_tags(self) -> "pandas.DataFrame":
        """List tags: name, commit_id, created_by, created_at."""
        import pandas

        found = self._client.items(f"{self._path}/tags", DataRepoError)
        return pandas.DataFrame(list(found), columns=["name", "commit_id", "created_by", "created_at"])

    def create_tag(self, name: str, at: str = MAIN) -> None:
        """Give a commit a name that stays with it.

        Args:
            name: letters, digits, dots, dashes and underscores.
            at: the commit, tag or branch.
        """
        self._client.post(f"{self._path}/tags", DataRepoError, {"name": name, "at": at})

    def delete_tag(self, name: str) -> None:
        """Forget a tag; its commit stays.

        Args:
            name: the tag.
        """
        self._client.call("DELETE", f"{self._path}/tags/{name}", DataRepoError)

    # Changing

    def restore(
        self, to: str, keys: Sequence[str] | str | None = None, branch: str = MAIN, message: str = ""
    ) -> str:
        """Make files what they were, as a new commit; nothing is lost.

        Args:
            to: the commit, tag or branch to go back to.
            keys: files and folders; everything when None.
            branch: where.
            message: for the list of commits.

        Returns:
            Id of the commit; the newest one there is when nothing had to change.

        Raises:
            DataRepoError: no such commit or file; or a file was changed by another tool and is in no commit.
        """
        body: dict[str, Any] = {"id": uuid.uuid4().hex, "to": to, "branch": branch, "message": message}
        if keys is not None:
            body["keys"] = [keys] if isinstance(keys, str) else list(keys)
        answer = self._client.post(
            f"{self._path}/restore", DataRepoError, body, repeatable=True, seconds=600.0
        )
        return str(answer["id"])

    def take_in(self, keys: Sequence[str] | str | None = None, message: str = "") -> str | None:
        """Commit what other tools have written or deleted.

        Args:
            keys: only these files; all that ``data_changes`` lists when None.
            message: for the list of commits.

        Returns:
            Id of the last commit, or None when there was nothing to take in.
        """
        wanted = {keys} if isinstance(keys, str) else set(keys) if keys is not None else None
        found = [change for change in self._changes() if wanted is None or change["key"] in wanted]
        entries = []
        with Meter("Take in", sum(change["size"] or 0 for change in found)) as meter:
            for change in found:
                if change["change"] == "deleted":
                    entries.append({"key": change["key"], "etag": ""})
                    continue
                body = {"keys": [change["key"]]}
                seconds = _seconds(change["size"])
                answer = self._client.post(
                    f"{self._path}/contents", DataRepoError, body, repeatable=True, seconds=seconds
                )
                entries += answer["items"]
                meter.advance(change["size"] or 0)
        made = None
        for start in range(0, len(entries), _AT_ONCE):
            made = self._send_commit("take-in", entries[start : start + _AT_ONCE], message=message)
        return made

    # What reading and writing data sets needs

    @property
    def has_versions(self) -> bool:
        """Whether it is on the platform, which keeps its versions."""
        return self.id is not None and self.a360ai is not None

    def version(self, key: str, at: str | None) -> dict[str, Any] | None:
        """Which version of a file there is.

        Args:
            key: the file.
            at: a commit, tag or branch; now when None.

        Returns:
            The service's answer. None when there is no service to ask, or it does not answer, and the file
            itself will do.
        """
        if at is None and (not self.has_versions or _is_artifact(key)):
            return None
        query = {"key": key} | ({"at": at} if at is not None else {})
        try:
            found: dict[str, Any] = self._client.get(f"{self._path}/version", DatasetError, query)
        except DatasetError as error:
            if at is None and (isinstance(error.__cause__, Unreachable) or error.status == 404):
                return None
            raise
        return found

    def open_version(self, key: str, at: str | None, missing: Callable[[str], None]) -> Any:
        """Open a file for reading, and remember which version it was.

        What a commit holds is read where nobody changes it, not even while it is read.

        Args:
            key: the file.
            at: a commit, tag or branch; now when None.
            missing: raises if there is no such file; asked where no commit has it.
        """
        found = self.version(key, at)
        commit = found["commit_id"] if found else None
        if commit is None:
            missing(key)
        opened = self._open_content(key, found["sha256"] if found and commit else None, at)
        if self.a360ai is not None and found:
            self.a360ai.remember_read(self, key, commit or UNCOMMITTED)
        return opened

    def _open_content(self, key: str, sha256: str | None, at: str | None) -> Any:
        if sha256 is None:
            return self.filesystem.get_object(key)
        try:
            return self.filesystem.get_object(content_key(sha256))
        except FileSystemError as error:
            if error.code != "code 100" or at is not None:
                raise
            # Somebody removed what the platform keeps; the file itself is still there.
            return self.filesystem.get_object(key)

    def tree(self, at: str, folder: str) -> Iterator[dict[str, Any]]:
        """Yield the files of a folder as of a commit, as the service has them.

        Args:
            at: a commit, tag or branch.
            folder: the folder; empty for the repo itself.
        """
        query = {"at": at, "prefix": folder, "limit": 1000}
        yield from self._client.items(f"{self._path}/tree", DatasetError, query)

    @contextlib.contextmanager
    def committing(
        self, key: str, overwrite: bool, branch: str = MAIN, message: str = ""
    ) -> Iterator[HashingWriter]:
        """Open a file for writing; it appears, as a commit, at the end of the block, or not at all.

        Args:
            key: the file.
            overwrite: whether it may exist.
            branch, message: of the commit.
        """
        if not self.has_versions or _is_artifact(key):
            if branch != MAIN:
                raise DatasetError(*_NO_VERSIONS)
            with self.filesystem.writer(key) as sink:
                yield sink
            return
        with self.filesystem.content_writer(key, with_copy=branch == MAIN) as content:
            yield content.sink
            entry = {"key": key, **content.keep()}
            self._send_commit("write", [entry], overwrite=overwrite, branch=branch, message=message)

    def delete_file(self, key: str) -> None:
        """Delete a file, as a commit.

        Args:
            key: the file.
        """
        if not self.has_versions or _is_artifact(key):
            self.filesystem.delete_file(key)
        else:
            self._send_commit("delete", [{"key": key}])

    def _send_commit(self, kind: str, changes: list[dict[str, Any]], **more: Any) -> str:
        """Make a commit in one call; it has an id of ours, so a lost answer can be asked for again."""
        body = {"id": uuid.uuid4().hex, "kind": kind, "changes": changes, **more}
        names = ", ".join(change["key"] for change in changes[:3])
        names += f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        seconds = _seconds(sum(change.get("size") or 0 for change in changes))
        try:
            response = self._client.send(
                "POST", f"{self._path}/commits", body=body, repeatable=True, seconds=seconds
            )
        except Unreachable as lost:
            _, why, hint = unreachable_text(self._client.base_url, lost)
            what = f"It is not known whether the {kind} of {names} was committed: the answer was lost."
            if not lost.maybe_done:
                what = f"Nothing was changed: the {kind} of {names} could not be committed."
            else:
                hint = f"a360ai.list_commits() shows whether there is a commit {body['id'][:8]}. " + hint
            raise DatasetError(what, why, hint) from lost
        return str(decode(response, DatasetError)["id"])

    @property
    def _client(self) -> Client:
        if self.a360ai is None or self.id is None:
            raise DataRepoError(*_NO_VERSIONS)
        return self.a360ai.client

    @property
    def _path(self) -> str:
        return f"/data-repos/{self.id}"


_NO_VERSIONS = (
    "This data repo has no versions.",
    "It was made by hand, and versions are kept by the platform.",
    "Use a360ai, or a360ai.get_datarepo(name).",
)


def _is_artifact(key: str) -> bool:
    return key.partition("/")[0] == _ARTIFACTS


def _seconds(size: int | None) -> float:
    """How long to wait for an answer that comes when so many bytes are copied."""
    return 60 + (size or 0) / _BYTES_A_SECOND
