"""Versions of data repos: branches, tags, and the files and differences of commits."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AliasPath, Field
from sqlalchemy.orm import Session

from ..backends.storage.base import Storage
from ..backends.storage.keys import check_key
from ..entities import DataBranch, DataCommit, DataRepo, DataTag
from ..errors import NotFound
from ..services import commits, versions
from ..services.paging import slice_by
from .routing import AsyncCall, Call, Form, Page, PageQuery, View

At = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="A branch, a tag, or the identifier of a commit or its first eight digits or more.",
    ),
]
Message = Annotated[str, Field(max_length=2000, description="What changes and why.")]


class CommitView(View):
    """A change of a data repo; ``keys`` has the first ten of the files it changed."""

    id: str
    parent_id: str | None
    branch: str
    kind: Literal["write", "delete", "upload", "take-in", "restore"]
    message: str
    change_count: int
    keys: list[str]
    created_by: str
    created_at: datetime


class EntryView(View):
    """A file as of a commit, and the commit that made it so."""

    key: str
    sha256: str
    size: int
    commit_id: str


class VersionView(View):
    """The version of one file; what nobody committed has no ``commit_id``."""

    key: str
    commit_id: str | None = None
    sha256: str | None = None
    size: int | None = None
    current: bool = Field(description="Whether the file in the data repo holds it.")


class DifferenceView(View):
    """A file that two commits do not agree on."""

    key: str
    change: Literal["added", "changed", "deleted"]
    base_sha256: str | None
    base_size: int | None
    sha256: str | None
    size: int | None


class ForeignView(View):
    """A file that another tool wrote or deleted since the last commit."""

    key: str
    change: Literal["added", "changed", "deleted"]
    size: int | None
    etag: str


class BranchView(View):
    """A branch; without a commit ``commit_id`` is null."""

    name: str
    commit_id: str | None = Field(validation_alias=AliasPath("head_id"))
    created_by: str
    created_at: datetime
    updated_at: datetime


class TagView(View):
    """A tag."""

    name: str
    commit_id: str
    created_by: str
    created_at: datetime


class NameForm(Form):
    """A new branch or tag."""

    name: str = Field(
        pattern=rf"^{versions.NAME.pattern}$",
        max_length=64,
        description="Letters, digits, dots, dashes, underscores.",
    )
    at: At = Field(versions.MAIN)


class AtQuery(PageQuery):
    """As of when."""

    at: At = Field(versions.MAIN)


class HistoryQuery(AtQuery):
    """Which commits: a branch's, or those up to a commit."""

    key: str = Field("", max_length=1024, description="Only those that changed this file.")


class TreeQuery(AtQuery):
    """Which files as of when."""

    prefix: str = Field("", max_length=1024, description="Only files of this folder.")
    cursor: str | None = Field(None, max_length=4096, description="`next_cursor` of the page before.")


class VersionQuery(Form):
    """Which file, as of when."""

    key: str = Field(min_length=1, max_length=1024)
    at: At | None = Field(None, description="What the file holds now when left out.")


class CompareQuery(PageQuery):
    """What is compared."""

    base: At
    to: At = Field(versions.MAIN)
    cursor: str | None = Field(None, max_length=4096, description="`next_cursor` of the page before.")


class ForeignQuery(PageQuery):
    """A page of the changes."""

    cursor: str | None = Field(None, max_length=4096, description="`next_cursor` of the page before.")


def list_commits(call: Call) -> Page[CommitView]:
    """List the commits of a branch, newest first"""
    query = call.query
    commit = versions.resolve(call.session, call.entity, query.at)
    rows, cursor = versions.history(
        call.session, commit, query.key or None, limit=query.limit, cursor=query.cursor
    )
    return Page(items=[CommitView.model_validate(row) for row in rows], next_cursor=cursor)


def get_commit(call: Call) -> CommitView:
    """Show a commit"""
    commit = call.session.get(DataCommit, call.ids["commit_id"])
    if commit is None or commit.data_repo_id != call.entity.id:
        raise NotFound("There is no such commit in the data repo.")
    return CommitView.model_validate(commit)


def list_tree(call: Call) -> Page[EntryView]:
    """List the files of a data repo as of a commit"""
    query = call.query
    commit = versions.resolve(call.session, call.entity, query.at)
    rows, cursor = versions.tree(call.session, commit, query.prefix, limit=query.limit, cursor=query.cursor)
    return Page(items=[EntryView.model_validate(row) for row in rows], next_cursor=cursor)


def compare_commits(call: Call) -> Page[DifferenceView]:
    """List what is different in one commit as against another"""
    query = call.query
    base, to = (versions.resolve(call.session, call.entity, at) for at in (query.base, query.to))
    rows, cursor = versions.compare(call.session, base, to, limit=query.limit, cursor=query.cursor)
    return Page(items=[DifferenceView.model_validate(row) for row in rows], next_cursor=cursor)


async def get_version(call: AsyncCall) -> VersionView:
    """Show which version of a file there is, now or as of a commit"""
    key, at = check_key(call.query.key), call.query.at

    def look(session: Session) -> tuple[Storage, VersionView | None]:
        repo = session.get_one(DataRepo, call.ids["data_repo_id"])
        commit = versions.resolve(session, repo, at or versions.MAIN)
        found = versions.entry(session, commit, key)
        storage = call.context.storages.open(session, repo)
        if found is None:
            return storage, None
        tags[found.commit_id] = found.etag
        return storage, VersionView(
            key=key, commit_id=found.commit_id, sha256=found.sha256, size=found.size, current=False
        )

    tags: dict[str, str | None] = {}
    storage, known = await call.db(look, write=False)
    if at is not None:
        if known is None:
            raise NotFound(
                f"There is no file “{key}” as of “{at}”.",
                hint="Look at the list of the files of that commit.",
            )
        return known
    info = await call.run(storage.stat, key)
    if info is None:
        raise NotFound(f"There is no file “{key}”.")
    if known is None or tags[str(known.commit_id)] != info.etag:
        return VersionView(key=key, size=info.size, current=True)
    return known.model_copy(update={"current": True})


async def list_changes(call: AsyncCall) -> Page[ForeignView]:
    """List files that other tools have changed since the last commit"""

    def known(session: Session) -> tuple[Storage, dict[str, str | None]]:
        repo = session.get_one(DataRepo, call.ids["data_repo_id"])
        return call.context.storages.open(session, repo), commits.known_tags(session, repo)

    storage, tags = await call.db(known, write=False)
    query = call.query

    def work() -> Page[ForeignView]:
        found = sorted(commits.foreign(storage, tags), key=lambda one: one.key)
        items, cursor = slice_by(found, lambda one: one.key, limit=query.limit, cursor=query.cursor)
        return Page(items=[ForeignView.model_validate(item) for item in items], next_cursor=cursor)

    page: Page[ForeignView] = await call.run(work)
    return page


def list_branches(call: Call) -> Page[BranchView]:
    """List the branches of a data repo"""
    rows, cursor = versions.list_branches(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[BranchView.model_validate(row) for row in rows], next_cursor=cursor)


def create_branch(call: Call) -> BranchView:
    """Begin a branch at a commit; no data are copied"""
    row: DataBranch = versions.create_branch(
        call.session, call.actor, call.entity, call.body.name, call.body.at
    )
    return BranchView.model_validate(row)


def delete_branch(call: Call) -> None:
    """Forget a branch; its commits stay"""
    versions.delete_branch(call.session, call.entity, call.ids["name"])


def list_tags(call: Call) -> Page[TagView]:
    """List the tags of a data repo"""
    rows, cursor = versions.list_tags(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[TagView.model_validate(row) for row in rows], next_cursor=cursor)


def create_tag(call: Call) -> TagView:
    """Give a commit a name that stays with it"""
    row: DataTag = versions.create_tag(call.session, call.actor, call.entity, call.body.name, call.body.at)
    return TagView.model_validate(row)


def delete_tag(call: Call) -> None:
    """Forget a tag; its commit stays"""
    versions.delete_tag(call.session, call.entity, call.ids["name"])
