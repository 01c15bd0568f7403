"""Commits of data repos: what is written, deleted, taken in or restored (row F221).

A commit to ``main`` changes plain files first and is recorded then. Whoever calls holds the keys concerned,
so that files and commits change in the same order. If the service dies in between, the file is one that
nobody committed: it is listed among the changes and can be taken in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.storage.base import FileInfo, Storage
from ..backends.storage.keys import check_key
from ..database import insert_first
from ..entities import DataBranch, DataCommit, DataEntry, DataRepo, new_id
from ..errors import Conflict, Invalid, NotFound
from . import versions
from .context import Actor
from .versions import MAIN

ARTIFACTS = "Projects"
"""The folder of artifacts: they never change, and belong to their runs."""
WRITE, DELETE, UPLOAD, TAKE_IN, RESTORE = "write", "delete", "upload", "take-in", "restore"
LISTED_KEYS = 10


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a key: a content that is kept, or nothing if ``sha256`` is ``None``.

    Attributes
    ----------
    etag
        Of the plain file that holds the content already; without one the content is copied there.
    prepared
        Name of a copy for the plain file, see :meth:`Objects.place`.
    """

    key: str
    sha256: str | None = None
    size: int | None = None
    etag: str | None = None
    prepared: str | None = None


@dataclass(slots=True)
class CommitSpec:
    """A commit that is to be made; sent twice with the same identifier it is made once."""

    kind: str
    changes: Sequence[Change]
    branch: str = MAIN
    message: str = ""
    id: str = field(default_factory=new_id)


def is_versioned(key: str) -> bool:
    """Whether a key has versions: all have but the artifacts of runs."""
    return key.partition("/")[0] != ARTIFACTS


def check(changes: Sequence[Change]) -> None:
    """See that every key is one, named once, and no artifact."""
    seen: set[str] = set()
    for number, change in enumerate(changes):
        where = f"changes.{number}.key"
        check_key(change.key, field=where)
        if not is_versioned(change.key):
            raise Invalid.field(where, f"artifacts of runs, under {ARTIFACTS}/, have no versions")
        if change.key in seen:
            raise Invalid.field(where, f"“{change.key}” stands there twice")
        seen.add(change.key)


def find(session: Session, repo: DataRepo, commit_id: str) -> DataCommit | None:
    """A commit of a data repo.

    Raises
    ------
    Conflict
        If the identifier is that of another data repo's.
    """
    commit = session.get(DataCommit, commit_id)
    if commit is not None and commit.data_repo_id != repo.id:
        raise Conflict("A commit of another data repo has this identifier.", hint="Use a new one.")
    return commit


def check_contents(storage: Storage, changes: Iterable[Change]) -> None:
    """See that every content is kept in the data repo, whole."""
    for number, change in enumerate(changes):
        if change.sha256 is not None:
            size = storage.objects.size(change.sha256)
            if size is None or size != change.size:
                raise Invalid.field(
                    f"changes.{number}.sha256",
                    "is not kept in the data repo" if size is None else f"has {size:,} bytes",
                    hint="Write the content first.",
                )


def place(storage: Storage, changes: Iterable[Change], *, overwrite: bool = True) -> list[Change]:
    """Let the plain files be what a commit to ``main`` says; call it outside a transaction.

    Returns
    -------
    list of Change
        The changes with the tags their files have now.
    """
    done = []
    for change in changes:
        if change.sha256 is None:
            if change.etag is None:
                storage.delete(change.key)
            elif storage.stat(change.key) is not None:
                raise Conflict(f"“{change.key}” is there again.", hint="Look at the changes again.")
            done.append(Change(change.key))
            continue
        if change.etag is not None:
            info = storage.stat(change.key)
            if info is None or info.etag != change.etag:
                raise Conflict(f"“{change.key}” has just been changed.", hint="Look at the changes again.")
        else:
            info = storage.objects.place(
                change.sha256, change.key, overwrite=overwrite, prepared=change.prepared
            )
        done.append(Change(change.key, change.sha256, info.size, info.etag))
    return done


def make(session: Session, actor: Actor, repo: DataRepo, spec: CommitSpec) -> DataCommit:
    """Record a commit as the newest of its branch."""
    branch = _lock(session, actor, repo, spec.branch)
    if existing := find(session, repo, spec.id):
        return existing
    parent = session.get(DataCommit, branch.head_id) if branch.head_id else None
    depth = parent.depth + 1 if parent else 1
    commit = DataCommit(
        id=spec.id,
        data_repo_id=repo.id,
        line_id=branch.line_id,
        depth=depth,
        parent_id=parent.id if parent else None,
        ancestry=_ancestry(parent, branch.line_id),
        branch=branch.name,
        kind=spec.kind,
        message=spec.message,
        change_count=len(spec.changes),
        keys=[change.key for change in spec.changes[:LISTED_KEYS]],
        created_by=actor.name,
    )
    session.add(commit)
    session.flush()
    session.add_all(
        DataEntry(
            line_id=branch.line_id,
            depth=depth,
            commit_id=commit.id,
            key=change.key,
            sha256=change.sha256,
            size=change.size,
            etag=change.etag,
        )
        for change in spec.changes
    )
    branch.head_id = commit.id
    session.flush()
    return commit


def _lock(session: Session, actor: Actor, repo: DataRepo, name: str) -> DataBranch:
    if name == MAIN and versions.find_branch(session, repo, MAIN) is None:
        main = DataBranch(data_repo_id=repo.id, name=MAIN, line_id=new_id(), created_by=actor.name)
        insert_first(session, main)
    query = select(DataBranch).where(DataBranch.data_repo_id == repo.id, DataBranch.name == name)
    locked = query.with_for_update().execution_options(populate_existing=True)
    branch = session.scalar(locked)
    if branch is None:
        raise NotFound(f"There is no branch “{name}”.", hint="Create it first.")
    return branch


def _ancestry(parent: DataCommit | None, line_id: str) -> list[Any]:
    if parent is None:
        return []
    if parent.line_id == line_id:
        return parent.ancestry
    return [*parent.ancestry, (parent.line_id, parent.depth)]


def demand_new(session: Session, repo: DataRepo, branch: str, changes: Iterable[Change]) -> None:
    """See that none of the keys is on a branch other than ``main``, whose plain files are asked instead."""
    head = versions.resolve(session, repo, branch)
    for change in changes:
        if versions.entry(session, head, change.key) is not None:
            raise Conflict(
                f"“{change.key}” exists already on the branch “{branch}”.",
                hint="Choose another name, or allow to overwrite it.",
            )


# Files that others have written


@dataclass(frozen=True, slots=True)
class Foreign:
    """A file that is not what ``main`` says: ``added``, ``changed`` or ``deleted`` by another tool."""

    key: str
    change: str
    size: int | None = None
    etag: str = ""


def foreign(storage: Storage, known: dict[str, str | None]) -> Iterator[Foreign]:
    """Compare the files of a data repo with the tags they had when they were committed.

    Parameters
    ----------
    storage
        The data repo's.
    known
        Key -> tag, of :func:`known_tags`.
    """
    missing = set(known)
    for info in _files(storage):
        if not is_versioned(info.key):
            continue
        missing.discard(info.key)
        if info.key not in known:
            yield Foreign(info.key, "added", info.size, info.etag)
        elif known[info.key] != info.etag:
            yield Foreign(info.key, "changed", info.size, info.etag)
    for key in missing:
        yield Foreign(key, "deleted")


def _files(storage: Storage) -> Iterator[FileInfo]:
    cursor: str | None = None
    while True:
        listing = storage.list(recursive=True, limit=1000, cursor=cursor)
        yield from listing.items
        if listing.next_cursor is None:
            return
        cursor = listing.next_cursor


def known_tags(session: Session, repo: DataRepo) -> dict[str, str | None]:
    """Of every file of ``main``: its key, and the tag it had when it was committed."""
    query = versions.entries(versions.resolve(session, repo, MAIN))
    return {row.key: row.etag for row in session.scalars(query)}


def settle(session: Session, repo: DataRepo, changes: Iterable[Change]) -> list[Change]:
    """Drop what is on ``main`` already; of files that were only touched the new tag is remembered."""
    head = versions.resolve(session, repo, MAIN)
    left = []
    for change in changes:
        known = versions.entry(session, head, change.key)
        if known is None and change.sha256 is None:
            continue
        if known is not None and known.sha256 == change.sha256:
            known.etag = change.etag
        else:
            left.append(change)
    return left
