"""Versions of data repos, looked at: commits, files as of one, differences, branches and tags (row F221)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select
from sqlalchemy.orm import Session, aliased

from ..database import insert_first
from ..entities import DataBranch, DataCommit, DataEntry, DataRepo, DataTag, new_id
from ..errors import Conflict, FieldError, Invalid, NotFound
from .context import Actor
from .paging import decode_cursor, encode_cursor, page

MAIN = "main"
Kind = TypeVar("Kind", DataBranch, DataTag)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ID = re.compile(r"[0-9a-f]{32}")
PREFIX = re.compile(r"[0-9a-f]{8,31}")
MOST_LINES = 100
"""Most branches of branches: a question about files asks about every line of a commit's past."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that two commits do not agree on; what one of them does not hold is ``None``."""

    key: str
    base_sha256: str | None
    base_size: int | None
    sha256: str | None
    size: int | None

    @property
    def change(self) -> str:
        """``added``, ``changed`` or ``deleted``."""
        if self.base_sha256 is None:
            return "added"
        return "changed" if self.sha256 else "deleted"


def resolve(session: Session, repo: DataRepo, at: str) -> DataCommit | None:
    """The commit that a branch, a tag, an identifier or the beginning of one names.

    Returns
    -------
    DataCommit
        ``None`` for a branch without commits; ``main`` is one from the start.

    Raises
    ------
    NotFound
        If there is no such thing in the data repo.
    """
    if branch := find_branch(session, repo, at):
        return session.get(DataCommit, branch.head_id) if branch.head_id else None
    if at == MAIN:
        return None
    if tag := _named(session, repo, DataTag, at):
        return session.get_one(DataCommit, tag.commit_id)
    if ID.fullmatch(at) or PREFIX.fullmatch(at):
        query = select(DataCommit).where(
            DataCommit.data_repo_id == repo.id, DataCommit.id.startswith(at, autoescape=True)
        )
        found = list(session.scalars(query.limit(2)))
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(f"Several commits begin with {at}.", hint="Use more of its digits.")
    raise NotFound(
        f"The data repo “{repo.name}” has no commit, branch or tag “{at}”.",
        hint="Look at the lists of its branches, tags and commits.",
    )


def find_branch(session: Session, repo: DataRepo, name: str) -> DataBranch | None:
    """A branch by its name; ``main`` exists only once something was committed to it."""
    return _named(session, repo, DataBranch, name)


def _named(session: Session, repo: DataRepo, kind: type[Kind], name: str) -> Kind | None:
    return session.scalar(select(kind).where(kind.data_repo_id == repo.id, kind.name == name))


def past(commit: DataCommit | None, entity: Any = DataEntry) -> ColumnElement[bool]:
    """The condition that an entry, or a commit, is of a commit's past, itself included."""
    if commit is None:
        return false()
    lines = [*commit.ancestry, (commit.line_id, commit.depth)]
    return or_(*(and_(entity.line_id == line, entity.depth <= depth) for line, depth in lines))


def _latest(commit: DataCommit | None, condition: ColumnElement[bool] | None = None) -> Any:
    """Of each key the depth of its last change."""
    query = select(DataEntry.key, func.max(DataEntry.depth).label("depth")).where(past(commit))
    if condition is not None:
        query = query.where(condition)
    return query.group_by(DataEntry.key).subquery()


def entries(commit: DataCommit | None, condition: ColumnElement[bool] | None = None) -> Select[DataEntry]:
    """The query for the files as of a commit, of those keys that meet a condition."""
    latest = _latest(commit, condition)
    return (
        select(DataEntry)
        .join(latest, and_(DataEntry.key == latest.c.key, DataEntry.depth == latest.c.depth))
        .where(past(commit), DataEntry.sha256.is_not(None))
    )


def below(prefix: str) -> ColumnElement[bool] | None:
    """The condition that a key is in a folder."""
    folder = prefix.strip("/")
    return DataEntry.key.startswith(f"{folder}/", autoescape=True) if folder else None


def tree(
    session: Session, commit: DataCommit | None, prefix: str, *, limit: int, cursor: str | None
) -> tuple[Sequence[DataEntry], str | None]:
    """The files as of a commit, in the order of their keys."""
    query = entries(commit, below(prefix))
    return page(session, query, DataEntry.key, limit=limit, cursor=cursor, descending=False)


def entry(session: Session, commit: DataCommit | None, key: str) -> DataEntry | None:
    """One file as of a commit."""
    query = select(DataEntry).where(DataEntry.key == key, past(commit))
    found = session.scalar(query.order_by(DataEntry.depth.desc()).limit(1))
    return found if found is not None and found.sha256 is not None else None


def history(
    session: Session, commit: DataCommit | None, key: str | None, *, limit: int, cursor: str | None
) -> tuple[Sequence[DataCommit], str | None]:
    """A commit and those before it, newest first; with a key only those that changed it."""
    query = select(DataCommit).where(past(commit, DataCommit))
    if key:
        changed = select(DataEntry.commit_id).where(DataEntry.key == key, past(commit))
        query = query.where(DataCommit.id.in_(changed))
    if cursor is not None:
        value = decode_cursor(cursor)
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise Invalid.field("cursor", "is not one that this list gave")
        query = query.where(DataCommit.depth < int(value))
    rows = list(session.scalars(query.order_by(DataCommit.depth.desc()).limit(limit + 1)))
    more = len(rows) > limit
    return rows[:limit], encode_cursor(str(rows[limit - 1].depth)) if more else None


def compare(
    session: Session, base: DataCommit | None, other: DataCommit | None, *, limit: int, cursor: str | None
) -> tuple[list[Difference], str | None]:
    """What is different in one commit as against another, in the order of keys."""
    query = _differences(base, other)
    key = query.selected_columns.key
    if cursor is not None:
        query = query.where(key > decode_cursor(cursor))
    rows = [Difference(*row) for row in session.execute(query.order_by(key).limit(limit + 1))]
    more = len(rows) > limit
    return rows[:limit], encode_cursor(rows[limit - 1].key) if more else None


def differences(
    session: Session, base: DataCommit | None, other: DataCommit | None, keys: Sequence[str] | None = None
) -> list[Difference]:
    """All that is different, or what is of some keys; a folder stands for what is in it."""
    found = [Difference(*row) for row in session.execute(_differences(base, other))]
    if keys is None:
        return found
    folders = tuple(f"{key.rstrip('/')}/" for key in keys)
    return [one for one in found if one.key in keys or one.key.startswith(folders)]


def _differences(base: DataCommit | None, other: DataCommit | None) -> Select[Any]:
    before, after = (entries(commit).subquery() for commit in (base, other))
    old, new = aliased(DataEntry, before), aliased(DataEntry, after)
    either = select(old.key.label("key")).union(select(new.key)).subquery()
    key = either.c.key
    return (
        select(key, old.sha256, old.size, new.sha256, new.size)
        .select_from(either)
        .outerjoin(old, old.key == key)
        .outerjoin(new, new.key == key)
        .where(old.sha256.is_distinct_from(new.sha256))
    )


# Branches and tags


def list_branches(
    session: Session, repo: DataRepo, *, limit: int, cursor: str | None
) -> tuple[Sequence[DataBranch], str | None]:
    """The branches of a data repo, by name."""
    return _by_name(session, repo, DataBranch, limit, cursor)


def create_branch(session: Session, actor: Actor, repo: DataRepo, name: str, at: str) -> DataBranch:
    """Begin a branch at a commit; no file is copied."""
    _free(session, repo, name)
    commit = resolve(session, repo, at)
    if commit is not None and len(commit.ancestry) >= MOST_LINES:
        raise Conflict(f"“{at}” is a branch of {MOST_LINES} branches.", hint="Restore it on main first.")
    branch = DataBranch(
        data_repo_id=repo.id,
        name=name,
        line_id=new_id(),
        head_id=commit.id if commit else None,
        created_by=actor.name,
    )
    if not insert_first(session, branch):
        raise _taken(name)
    return branch


def delete_branch(session: Session, repo: DataRepo, name: str) -> None:
    """Forget a branch; its commits stay, and can be named by their identifiers."""
    if name == MAIN:
        raise Conflict(f"“{MAIN}” is what the files of the data repo are.", hint="Delete files instead.")
    branch = find_branch(session, repo, name)
    if branch is None:
        raise NotFound(f"There is no branch “{name}”.")
    session.delete(branch)


def list_tags(
    session: Session, repo: DataRepo, *, limit: int, cursor: str | None
) -> tuple[Sequence[DataTag], str | None]:
    """The tags of a data repo, by name."""
    return _by_name(session, repo, DataTag, limit, cursor)


def create_tag(session: Session, actor: Actor, repo: DataRepo, name: str, at: str) -> DataTag:
    """Give a commit a name."""
    _free(session, repo, name)
    commit = resolve(session, repo, at)
    if commit is None:
        raise Conflict(f"There is no commit on “{at}” yet.", hint="Write a data set first.")
    tag = DataTag(data_repo_id=repo.id, name=name, commit_id=commit.id, created_by=actor.name)
    if not insert_first(session, tag):
        raise _taken(name)
    return tag


def delete_tag(session: Session, repo: DataRepo, name: str) -> None:
    """Forget a tag; its commit stays."""
    tag = _named(session, repo, DataTag, name)
    if tag is None:
        raise NotFound(f"There is no tag “{name}”.")
    session.delete(tag)


def _by_name(
    session: Session, repo: DataRepo, kind: type[Kind], limit: int, cursor: str | None
) -> tuple[Sequence[Kind], str | None]:
    query = select(kind).where(kind.data_repo_id == repo.id)
    return page(session, query, kind.name, limit=limit, cursor=cursor, descending=False)


def _free(session: Session, repo: DataRepo, name: str) -> None:
    if not NAME.fullmatch(name):
        raise Invalid.field(
            "name",
            "must have 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    if ID.fullmatch(name) or PREFIX.fullmatch(name):
        raise Invalid.field("name", "looks like the identifier of a commit")
    if name == MAIN or _named(session, repo, DataTag, name) or find_branch(session, repo, name):
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"There is a branch or tag “{name}” already.",
        hint="Choose another name, or delete the one there is.",
        errors=[FieldError("name", "is taken")],
    )
