"""Files of data repos as streams."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from ..backends.storage.base import FileInfo, Storage
from ..backends.storage.keys import check_key
from ..entities import DataCommit, DataRepo
from ..errors import Conflict, NotFound
from ..services import commits, data_repos, versions
from ..services.commits import Change, CommitSpec
from .handlers import BaseHandler, Web, serialise
from .key_locks import LOCKS
from .routing import Form, View
from .transfers import Content, Readable, Upload, send_file


class FileView(View):
    """A file, or a folder of a list."""

    key: str
    name: str
    type: Literal["file", "directory"]
    size: int | None = Field(description="Bytes; null for folders.")
    last_modified: datetime | None


class DownloadQuery(Form):
    """Which version of a file."""

    at: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="A branch, tag or commit; what the file holds now when left out.",
    )


class UploadQuery(Form):
    """How to store a file."""

    overwrite: bool = Field(True, description="Replace a file of this key; if not, it is a conflict.")


class DeleteQuery(Form):
    """What to delete."""

    recursive: bool = Field(False, description="If the key is a folder: delete it with all in it.")


class FileHandler(BaseHandler):
    """One file of a data repo."""

    operations = {"GET": "download_file", "HEAD": "head_file", "PUT": "upload_file", "DELETE": "delete_file"}

    def initialize(self, web: Web, routes: dict[str, Any] | None = None) -> None:
        """Take the parts."""
        super().initialize(web, routes)
        self.upload: Upload | None = None
        self.failure: Exception | None = None
        self.gone = False
        self.replaces = False
        self.aborting: asyncio.Future[None] | None = None
        if self.request.method == "PUT":
            self.body_limit = web.context.settings.max_upload_bytes

    def compute_etag(self) -> None:
        """Leave tags to the storage: tornado would make one of what is in memory."""

    async def admit(self) -> None:
        """Open the storage, and for uploads the file, once the caller is known to be allowed."""
        await super().admit()
        try:
            query: Any = self.route.query.model_validate(self.query_arguments())
            self.storage: Storage = await self.web.run(self._open)
            self.recursive = getattr(query, "recursive", False)
            self.overwrite = getattr(query, "overwrite", True)
            if at := getattr(query, "at", None):
                self.source = await self.web.run(self._version, at)
            else:
                self.source = self.storage
            if self.request.method == "PUT":
                await self._begin()
        except Exception as error:
            if "Content-Length" not in self.request.headers:
                raise
            # An answer before the end of the body cuts the connection, maybe before the sender reads it.
            self.failure = error

    def _open(self) -> Storage:
        key = check_key(self.ids["key"])
        with self.web.context.database.session(write=False) as session:
            repo = session.get_one(DataRepo, self.ids["data_repo_id"])
            if self.request.method in ("PUT", "DELETE"):
                self._refuse_artifact(session, repo, key)
            return self.web.context.storages.open(session, repo)

    def _version(self, at: str) -> Readable:
        key = self.ids["key"]
        with self.web.context.database.session(write=False) as session:
            commit = versions.resolve(session, session.get_one(DataRepo, self.ids["data_repo_id"]), at)
            found = versions.entry(session, commit, key)
            if found is None or found.sha256 is None:
                raise NotFound(f"There is no file “{key}” as of “{at}”.")
            made = session.get_one(DataCommit, found.commit_id)
            return Content(self.storage.objects, found.sha256, found.size or 0, made.created_at)

    def _refuse_artifact(self, session: Session, repo: DataRepo, key: str) -> None:
        run_id = data_repos.run_of(session, repo, key)
        if run_id:
            raise Conflict(
                f"“{key}” belongs to the run {run_id}.",
                hint="Artifacts of runs are kept as they are; use another name.",
            )

    async def _begin(self) -> None:
        key, storage = self.ids["key"], self.storage
        self.replaces = await self.web.run(storage.stat, key) is not None
        await self.web.run(storage.demand_free, key, self.overwrite)
        if commits.is_versioned(key):
            writer: Any = await self.web.run(storage.objects.writer)
        else:
            writer = await self.web.run(lambda: storage.writer(key, overwrite=self.overwrite))
        self.upload = Upload(self.web.run, writer, self.body_limit)
        if self.gone:
            await self.upload.abort()

    async def data_received(self, chunk: bytes) -> None:
        """Pass the body on; the connection is read no faster than the storage takes it."""
        self.web.used()
        if self.upload is None or self.failure is not None:
            return
        try:
            await self.upload.feed(chunk)
        except Exception as error:
            await self.upload.abort()
            self.failure = error
            if "Content-Length" not in self.request.headers and not self._finished:
                # Nobody knows how much is still to come: answer now, which ends the connection.
                self._handle_request_exception(error)

    def on_connection_close(self) -> None:
        """Forget an upload whose sender is gone."""
        super().on_connection_close()
        self.gone = True
        if self.upload:
            self.aborting = asyncio.ensure_future(self.upload.abort())

    async def get(self, **_: str) -> None:
        """Download a file, or a part of it"""
        self._demand()
        await send_file(self, self.source, self.ids["key"], self.ids["key"].rpartition("/")[2])

    async def head(self, **_: str) -> None:
        """Show size, version and time of a file"""
        self._demand()
        await send_file(self, self.source, self.ids["key"], self.ids["key"].rpartition("/")[2], body=False)

    async def put(self, **_: str) -> None:
        """Upload a file; it appears when it is whole"""
        self._demand()
        assert self.upload
        key = self.ids["key"]
        try:
            stored = await self.upload.commit()
        except BaseException:
            await self.upload.abort()
            raise
        if commits.is_versioned(key):
            async with self._held([key]):
                change = Change(key, stored.sha256, stored.size)
                stored = await self.web.run(self._place, change)
        self.set_status(200 if self.replaces else 201)
        self.set_header("Content-Type", "application/json")
        self.finish(serialise(FileView.model_validate(stored)))

    async def delete(self, **_: str) -> None:
        """Delete a file, or a folder with all in it"""
        self._demand()
        key = self.ids["key"]
        tracked = await self.web.run(self._tracked, key)
        async with self._held([key, *tracked]):
            await self.web.run(self._delete, key)
            if tracked:
                await self.web.run(self._record, commits.DELETE, [Change(one) for one in tracked])
        self.set_status(204)

    def _held(self, keys: list[str]) -> AbstractAsyncContextManager[None]:
        return LOCKS.hold(self.ids["data_repo_id"], keys)

    def _place(self, change: Change) -> FileInfo:
        """Let the file appear, and commit it."""
        done = commits.place(self.storage, [change], overwrite=self.overwrite)
        self._record(commits.UPLOAD, done)
        info = self.storage.stat(change.key)
        if info is None:
            raise Conflict(f"“{change.key}” was deleted as soon as it was written.")
        return info

    def _record(self, kind: str, changes: list[Change]) -> None:
        assert self.actor
        with self.web.context.database.session() as session:
            repo = session.get(DataRepo, self.ids["data_repo_id"])
            if repo is None:
                raise NotFound("There is no such data repo any more.")
            commits.make(session, self.actor, repo, CommitSpec(kind, changes))

    def _tracked(self, key: str) -> list[str]:
        """Which files of ``main`` go with a file or folder."""
        with self.web.context.database.session(write=False) as session:
            repo = session.get_one(DataRepo, self.ids["data_repo_id"])
            head = versions.resolve(session, repo, versions.MAIN)
            if versions.entry(session, head, key):
                return [key]
            if not self.recursive:
                return []
            return [entry.key for entry in session.scalars(versions.entries(head, versions.below(key)))]

    def _demand(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _delete(self, key: str) -> None:
        if self.storage.delete(key) or (self.recursive and self.storage.delete_prefix(key)):
            return
        if self.storage.list(key, limit=1).items:
            raise Conflict(f"“{key}” is a folder.", hint="Ask for “recursive” to delete it with all in it.")
        raise NotFound(f"There is no file “{key}”.")
