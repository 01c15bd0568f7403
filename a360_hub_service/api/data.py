"""Volume accounts, data repos, and the lists of their files."""

from datetime import datetime

from pydantic import Field
from sqlalchemy.orm import Session

from ..backends.storage.base import LOCAL, Storage
from ..entities import DataRepo, Project
from ..services import data_repos, volumes
from ..services.paging import slice_by
from .files import FileView
from .routing import AsyncCall, Call, Form, Page, PageQuery, View
from .texts import DISPLAY_NAME


class VolumeAccountView(View):
    """Where volumes of data repos can be made."""

    id: str
    name: str
    description: str
    storage_provider: str


class DataRepoView(View):
    """A data repo."""

    id: str
    project_id: str
    name: str
    description: str
    volume_account: str
    storage_provider: str
    volume_name: str
    volume_region: str | None
    is_default: bool
    created_at: datetime


class DataRepoEdit(Form):
    """What changes; what is left out stays."""

    name: str = Field("", min_length=1, max_length=64, json_schema_extra=DISPLAY_NAME)
    description: str = Field("", max_length=2000)


class AccessView(View):
    """How code reaches the files of a data repo; keys of a role end at ``expiration``."""

    storage_provider: str
    volume_name: str
    path: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    expiration: str | None = None


class FilesQuery(PageQuery):
    """Which files, and in which order."""

    prefix: str = Field("", max_length=1024, description="The folder; empty for the data repo itself.")
    recursive: bool = Field(
        False, description="All files below the folder, rather than its files and folders."
    )
    sort: str = Field(
        "name",
        pattern="^-?(name|type|last_modified|size)$",
        description="`name`, `type` (folders first), `last_modified` or `size`; with “-” in reverse.",
    )
    cursor: str | None = Field(None, max_length=4096, description="`next_cursor` of the page before.")


def list_volume_accounts(call: Call) -> Page[VolumeAccountView]:
    """List the accounts in which the caller may make volumes"""
    accounts = volumes.list_accounts(call.session, call.context, call.actor)

    def rank(account: volumes.VolumeAccount) -> str:
        return f"{account.storage_provider != LOCAL:d} {account.name.lower()}\x1f{account.id}"

    items, cursor = slice_by(
        sorted(accounts, key=rank), rank, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[VolumeAccountView.model_validate(item) for item in items], next_cursor=cursor)


def list_data_repos(call: Call) -> Page[DataRepoView]:
    """List the data repos of a project"""
    rows, cursor = data_repos.list_data_repos(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[DataRepoView.model_validate(row) for row in rows], next_cursor=cursor)


async def create_data_repo(call: AsyncCall) -> DataRepoView:
    """Add a data repo to a project"""
    context, actor, spec = call.context, call.actor, call.body.spec()
    await call.run(await call.db(lambda s: data_repos.server(s, context, actor, spec), write=False))

    def work(session: Session) -> DataRepoView:
        project = session.get_one(Project, call.ids["project_id"])
        repo = data_repos.create(session, context, actor, project, spec, default=False)
        return DataRepoView.model_validate(repo)

    return await call.db(work)


def get_data_repo(call: Call) -> DataRepoView:
    """Show a data repo"""
    return DataRepoView.model_validate(call.entity)


def edit_data_repo(call: Call) -> DataRepoView:
    """Change the name or the description of a data repo"""
    repo = data_repos.edit(call.session, call.entity, call.body.model_dump(exclude_unset=True))
    call.session.flush()
    return DataRepoView.model_validate(repo)


def delete_data_repo(call: Call) -> None:
    """Forget a data repo; its volume stays"""
    data_repos.delete(call.session, call.entity)


def make_data_repo_default(call: Call) -> DataRepoView:
    """Make a data repo its project's default"""
    return DataRepoView.model_validate(data_repos.make_default(call.session, call.entity))


async def get_data_repo_access(call: AsyncCall) -> AccessView:
    """Show how code reaches the files of a data repo"""

    def repo_and_storage(session: Session) -> tuple[DataRepo, Storage]:
        repo = session.get_one(DataRepo, call.ids["data_repo_id"])
        return repo, call.context.storages.open(session, repo)

    repo, storage = await call.db(repo_and_storage, write=False)
    access = await call.run(storage.access)
    return AccessView(storage_provider=repo.storage_provider, volume_name=repo.volume_name, **access)


async def list_files(call: AsyncCall) -> Page[FileView]:
    """List files and folders of a data repo"""
    query = call.query

    def opened(session: Session) -> Storage:
        return call.context.storages.open(session, session.get_one(DataRepo, call.ids["data_repo_id"]))

    storage = await call.db(opened, write=False)

    def listed() -> Page[FileView]:
        listing = storage.list(
            query.prefix,
            recursive=query.recursive,
            sort=query.sort,
            limit=query.limit,
            cursor=query.cursor,
        )
        items = [FileView.model_validate(item) for item in listing.items]
        return Page(items=items, next_cursor=listing.next_cursor)

    page: Page[FileView] = await call.run(listed)
    return page
