"""Files of data repos as streams."""

import asyncio
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from ..backends.storage.base import FileInfo, Storage
from ..backends.storage.keys import check_key
from ..entities import DataRepo
from ..errors import Conflict, NotFound
from ..services import data_repos
from .handlers import BaseHandler, Web, serialise
from .routing import Form, View
from .transfers import Upload, send_file


class FileView(View):
    """A file, or a folder of a list."""

    key: str
    name: str
    type: Literal["file", "directory"]
    size: int | None = Field(description="Bytes; null for folders.")
    last_modified: datetime | None


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
            if self.request.method == "PUT":
                await self._begin(query.overwrite)
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

    def _refuse_artifact(self, session: Session, repo: DataRepo, key: str) -> None:
        run_id = data_repos.run_of(session, repo, key)
        if run_id:
            raise Conflict(
                f"“{key}” belongs to the run {run_id}.",
                hint="Artifacts of runs are kept as they are; use another name.",
            )

    async def _begin(self, overwrite: bool) -> None:
        key = self.ids["key"]
        self.replaces = await self.web.run(self.storage.stat, key) is not None
        writer = await self.web.run(lambda: self.storage.writer(key, overwrite=overwrite))
        self.upload = Upload(self.web.run, writer, self.body_limit)
        if self.gone:
            await self.upload.abort()

    async def data_received(self, chunk: bytes) -> None:
        """Pass the body on; the connection is read no faster than the storage takes it."""
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
        await send_file(self, self.storage, self.ids["key"], self.ids["key"].rpartition("/")[2])

    async def head(self, **_: str) -> None:
        """Show size, version and time of a file"""
        self._demand()
        await send_file(self, self.storage, self.ids["key"], self.ids["key"].rpartition("/")[2], body=False)

    async def put(self, **_: str) -> None:
        """Upload a file; it appears when it is whole"""
        self._demand()
        assert self.upload
        try:
            info: FileInfo = await self.upload.commit()
        except BaseException:
            await self.upload.abort()
            raise
        self.set_status(200 if self.replaces else 201)
        self.set_header("Content-Type", "application/json")
        self.finish(serialise(FileView.model_validate(info)))

    async def delete(self, **_: str) -> None:
        """Delete a file, or a folder with all in it"""
        self._demand()
        await self.web.run(self._delete, self.ids["key"])
        self.set_status(204)

    def _demand(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _delete(self, key: str) -> None:
        if self.storage.delete(key) or (self.recursive and self.storage.delete_prefix(key)):
            return
        if self.storage.list(key, limit=1).items:
            raise Conflict(f"“{key}” is a folder.", hint="Ask for “recursive” to delete it with all in it.")
        raise NotFound(f"There is no file “{key}”.")
