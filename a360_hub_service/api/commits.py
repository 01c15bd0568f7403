"""Making commits of data repos: what is written, deleted, taken in or restored."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from ..backends.storage.base import Storage
from ..entities import DataCommit, DataRepo
from ..services import commits, restoring, versions
from ..services.commits import Change, CommitSpec
from .key_locks import LOCKS
from .routing import AsyncCall, Form, View
from .texts import Dimension
from .versions import At, CommitView, Message

Key = Annotated[str, Field(min_length=1, max_length=1024)]
CommitId = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{32}$",
        description="Made by the caller: the same commit sent twice is made once.",
    ),
]


class ChangeForm(Form):
    """What becomes of a file: a content that is kept in the data repo, or nothing without ``sha256``."""

    key: Key
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    size: Dimension | None = Field(None, description="Bytes of the content.")
    etag: str | None = Field(
        None,
        max_length=256,
        description="Of the file that is as wanted already, as the list of changes has it; on `main` only.",
    )

    prepared: str | None = Field(
        None,
        pattern="^[0-9a-f]{16}$",
        description="Name of a copy of the content that the caller has left among the unfinished files of a "
        "data repo in a folder: it becomes the file, and the service copies nothing.",
    )

    def change(self) -> Change:
        """What the use case takes."""
        return Change(self.key, self.sha256, self.size, self.etag, self.prepared)


class CommitForm(Form):
    """A new commit. On `main` the files of the data repo change with it."""

    id: CommitId | None = None
    branch: str = Field(versions.MAIN, min_length=1, max_length=64)
    kind: Literal["write", "delete", "take-in"] = "write"
    message: Message = ""
    overwrite: bool = Field(True, description="Whether files may exist already; if not, it is a conflict.")
    changes: list[ChangeForm] = Field(min_length=1, max_length=1000)

    def spec(self) -> CommitSpec:
        """What the use case takes."""
        changes = [change.change() for change in self.changes]
        more = {"id": self.id} if self.id else {}
        return CommitSpec(self.kind, changes, self.branch, self.message, **more)


class RestoreForm(Form):
    """What is to be as it was."""

    id: CommitId | None = None
    to: At
    branch: str = Field(versions.MAIN, min_length=1, max_length=64)
    keys: list[Key] | None = Field(
        None, max_length=1000, description="Files and folders; everything when left out."
    )
    message: Message = ""


class KeepForm(Form):
    """Files whose present contents are to be kept."""

    keys: list[Key] = Field(min_length=1, max_length=100)


class KeptView(View):
    """What a file holds, kept for a commit."""

    key: str
    sha256: str
    size: int
    etag: str


class KeptList(View):
    """Contents that are kept now."""

    items: list[KeptView]


async def create_commit(call: AsyncCall) -> CommitView:
    """Commit changes to a branch"""
    spec: CommitSpec = call.body.spec()
    commits.check(spec.changes)
    repo_id, on_main = call.ids["data_repo_id"], spec.branch == versions.MAIN

    def look(session: Session) -> tuple[Storage, DataCommit | None]:
        repo = session.get_one(DataRepo, repo_id)
        existing = commits.find(session, repo, spec.id)
        if not on_main and not existing:
            versions.resolve(session, repo, spec.branch)
            if not call.body.overwrite:
                commits.demand_new(session, repo, spec.branch, spec.changes)
        return call.context.storages.open(session, repo), existing

    async with LOCKS.hold(repo_id, (change.key for change in spec.changes) if on_main else ()):
        # Only now: the same commit, sent before, may just have been made.
        storage, existing = await call.db(look, write=False)
        if existing:
            return CommitView.model_validate(existing)
        await call.run(commits.check_contents, storage, spec.changes)
        if on_main:
            spec.changes = await call.run(
                lambda: commits.place(storage, spec.changes, overwrite=call.body.overwrite)
            )
        else:
            spec.changes = [Change(change.key, change.sha256, change.size) for change in spec.changes]
        return await record(call, spec)


async def record(call: AsyncCall, spec: CommitSpec) -> CommitView:
    """Record a commit whose files are as it says; one that says nothing new is the one before."""

    def work(session: Session) -> CommitView:
        repo = session.get_one(DataRepo, call.ids["data_repo_id"])
        if spec.kind == commits.TAKE_IN and spec.branch == versions.MAIN:
            spec.changes = commits.settle(session, repo, spec.changes)
            head = versions.resolve(session, repo, spec.branch)
            if not spec.changes and head:
                return CommitView.model_validate(head)
        return CommitView.model_validate(commits.make(session, call.actor, repo, spec))

    return await call.db(work)


async def restore(call: AsyncCall) -> CommitView:
    """Commit what files were as of another commit"""
    body, repo_id = call.body, call.ids["data_repo_id"]
    on_main = body.branch == versions.MAIN

    def plan(session: Session) -> tuple[Storage, restoring.Plan]:
        repo = session.get_one(DataRepo, repo_id)
        made = restoring.plan(session, repo, body.to, body.branch, body.keys, body.id)
        return call.context.storages.open(session, repo), made

    storage, planned = await call.db(plan, write=False)
    async with LOCKS.hold(repo_id, planned.keys if on_main else ()):
        before: Sequence[str] = planned.keys
        storage, planned = await call.db(plan, write=False)
        if planned.made is not None:
            return CommitView.model_validate(planned.made)
        planned = planned.only(before) if on_main else planned
        await call.run(commits.check_contents, storage, planned.changes)
        changes = planned.changes
        if on_main:
            changes = await call.run(restoring.carry_out, storage, planned)
        more = {"id": body.id} if body.id else {}
        message = body.message or f"Restore {body.to}"
        return await record(call, CommitSpec(commits.RESTORE, changes, body.branch, message, **more))


async def keep_contents(call: AsyncCall) -> KeptList:
    """Keep what files hold now, for a commit that takes them in"""
    keys = list(dict.fromkeys(call.body.keys))
    commits.check([Change(key) for key in keys])

    def opened(session: Session) -> Storage:
        return call.context.storages.open(session, session.get_one(DataRepo, call.ids["data_repo_id"]))

    storage = await call.db(opened, write=False)
    items = []
    for key in keys:
        kept, info = await call.run(storage.objects.keep, key)
        items.append(KeptView(key=key, sha256=kept.sha256, size=kept.size, etag=info.etag))
    return KeptList(items=items)
