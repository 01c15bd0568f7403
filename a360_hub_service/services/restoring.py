"""Making files what they were: planned from commits, carried out whole or undone (row F221)."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from ..backends.storage.base import Storage
from ..entities import DataCommit, DataRepo
from ..errors import Conflict, Invalid
from . import versions
from .commits import Change, find, known_tags, place


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to become of files, and what they are: changes there and back.

    Attributes
    ----------
    made
        The commit, if nothing is to be done any more.
    """

    changes: Sequence[Change] = ()
    back: Sequence[Change] = ()
    made: DataCommit | None = None

    @property
    def keys(self) -> list[str]:
        """The files concerned."""
        return [change.key for change in self.changes]

    def only(self, keys: Sequence[str]) -> "Plan":
        """The part of the plan that is about some files."""
        wanted = set(keys)
        there, back = (
            [change for change in changes if change.key in wanted] for changes in (self.changes, self.back)
        )
        return replace(self, changes=there, back=back)


def plan(
    session: Session, repo: DataRepo, to: str, branch: str, keys: Sequence[str] | None, commit_id: str | None
) -> Plan:
    """What has to change on a branch so that files are as they were.

    Parameters
    ----------
    session, repo
        The data repo.
    to
        As of when: a branch, tag or commit.
    branch
        Where it is to be so.
    keys
        Files and folders; everything if ``None``.
    commit_id
        Of the commit to make; it may have been made already.

    Raises
    ------
    Invalid
        If a key is neither then nor now that of a file or folder.
    """
    if commit_id and (made := find(session, repo, commit_id)):
        return Plan(made=made)
    target = versions.resolve(session, repo, to)
    head = versions.resolve(session, repo, branch)
    if target is None:
        raise Conflict(f"There is no commit on “{to}” yet.", hint="Name a commit to go back to.")
    for number, key in enumerate(keys or ()):
        if not any(_is_there(session, commit, key) for commit in (target, head)):
            raise Invalid.field(f"keys.{number}", f"“{key}” is neither a file nor a folder of “{to}”")
    tags = known_tags(session, repo) if branch == versions.MAIN else {}
    there, back = [], []
    for one in versions.differences(session, head, target, keys):
        there.append(Change(one.key, one.sha256, one.size))
        back.append(Change(one.key, one.base_sha256, one.base_size, tags.get(one.key)))
    return Plan(there, back, made=head if not there else None)


def _is_there(session: Session, commit: DataCommit | None, key: str) -> bool:
    if versions.entry(session, commit, key) is not None:
        return True
    return bool(versions.tree(session, commit, key, limit=1, cursor=None)[0])


def carry_out(storage: Storage, planned: Plan) -> list[Change]:
    """Change the plain files; all of them, or as far as the storage lets us none.

    Raises
    ------
    Conflict
        If another tool has changed a file since it was committed: that would be lost.
    """
    for now in planned.back:
        info = storage.stat(now.key)
        if (info.etag if info else None) != now.etag:
            raise Conflict(
                f"“{now.key}” was changed by another tool and is in no commit.",
                hint="Take the changes in first, or delete the file.",
            )
    done: list[Change] = []
    try:
        for change in planned.changes:
            done += place(storage, [change])
    except BaseException:
        for now in planned.back[: len(done) + 1]:
            with contextlib.suppress(Exception):
                place(storage, [replace(now, etag=None)])
        raise
    return done
