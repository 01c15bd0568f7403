"""Workspaces, their images and profiles."""

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.orm import Session

from spawner_profiles.catalogue import catalogue
from spawner_profiles.environments import is_ready
from spawner_profiles.sizes import Memory

from ..entities import Workspace
from ..errors import Conflict
from ..hub import workspaces as servers
from ..hub.client import Server
from ..services import workspaces
from .routing import AsyncCall, Call, Form, Page, View
from .texts import DISPLAY_NAME, MEMORY, Whole

GONE_SECONDS = 60.0
_FOLLOWERS: set[asyncio.Task[None]] = set()
_MemoryField = Annotated[
    Memory,
    Field(
        max_length=16,
        description="A number followed by Gi, from 0.25Gi to 4096Gi.",
        json_schema_extra=MEMORY,
    ),
]


class WorkspaceForm(Form):
    """A new workspace (F225 to F230)."""

    name: str = Field(min_length=1, max_length=64, json_schema_extra=DISPLAY_NAME)
    image: str = Field(min_length=1, max_length=64)
    cpu: float = Field(gt=0, le=512, description="Cores.")
    memory: _MemoryField
    gpus: Whole = Field(0, ge=0, le=64)

    def spec(self) -> workspaces.WorkspaceSpec:
        """What the use case takes."""
        return workspaces.WorkspaceSpec(**self.model_dump())


class WorkspaceEdit(Form):
    """Image and compute; what is left out stays."""

    image: str = Field("", min_length=1, max_length=64)
    cpu: float = Field(1, gt=0, le=512)
    memory: _MemoryField = "1Gi"
    gpus: Whole = Field(0, ge=0, le=64)


class LimitsView(View):
    """Which limits really hold where the workspace runs."""

    cpu_applied: bool
    memory_applied: bool
    note: str


class WorkspaceView(View):
    """A workspace; ``url`` is where JupyterLab is while it runs."""

    id: str
    project_id: str
    name: str
    owner: str
    server_name: str
    image: str
    cpu: float
    memory: str
    gpus: int
    status: servers.Status
    url: str | None
    limits: LimitsView | None
    message: str
    created_at: datetime


class ImageView(View):
    """A workspace image; the first workspace on one that is not ready builds it."""

    name: str
    flavor: str
    title: str
    description: str
    ready: bool


class ProfileView(View):
    """A size of workspace to choose from."""

    name: str
    title: str
    description: str
    cpu: float
    memory: str
    gpus: int
    image: str
    idle_hours: float


def _view(row: Workspace, server: Server | None) -> WorkspaceView:
    now = servers.condition(server, row.message, row.limits)
    known = {name: getattr(row, name) for name in WorkspaceView.model_fields if hasattr(row, name)}
    return WorkspaceView.model_validate(
        {**known, "status": now.status, "url": now.url, "limits": now.limits, "message": now.message}
    )


async def _page(call: AsyncCall, found: tuple[Any, str | None]) -> Page[WorkspaceView]:
    rows, cursor = found
    owners = sorted({row.owner for row in rows})
    known = dict(zip(owners, await asyncio.gather(*map(call.context.hub.servers, owners)), strict=True))
    views = [_view(row, known[row.owner].get(row.server_name)) for row in rows]
    return Page(items=views, next_cursor=cursor)


async def list_my_workspaces(call: AsyncCall) -> Page[WorkspaceView]:
    """List the caller's workspaces"""

    def work(session: Session) -> Any:
        return workspaces.list_mine(session, call.actor, limit=call.query.limit, cursor=call.query.cursor)

    return await _page(call, await call.db(work, write=False))


async def list_workspaces(call: AsyncCall) -> Page[WorkspaceView]:
    """List the workspaces of a project"""

    def work(session: Session) -> Any:
        project_id, query = call.ids["project_id"], call.query
        return workspaces.list_of_project(session, project_id, limit=query.limit, cursor=query.cursor)

    return await _page(call, await call.db(work, write=False))


def create_workspace(call: Call) -> WorkspaceView:
    """Create a workspace; start it to use it"""
    row = workspaces.create(call.session, call.actor, call.ids["project_id"], call.body.spec())
    return _view(row, None)


async def get_workspace(call: AsyncCall) -> WorkspaceView:
    """Show a workspace"""
    row = await call.db(lambda session: session.get_one(Workspace, call.ids["workspace_id"]), write=False)
    return _view(row, await call.context.hub.get_server(row.owner, row.server_name))


async def edit_workspace(call: AsyncCall) -> WorkspaceView:
    """Change image or compute of a stopped workspace"""
    row = await _own(call)
    server = await call.context.hub.get_server(row.owner, row.server_name)
    status = servers.condition(server, row.message, row.limits).status

    def work(session: Session) -> Workspace:
        found = workspaces.own(session, call.actor, row.id)
        return workspaces.edit(found, call.body.model_dump(exclude_unset=True), status)

    return _view(await call.db(work), server)


async def start_workspace(call: AsyncCall) -> WorkspaceView:
    """Start a workspace"""

    def work(session: Session) -> Any:
        row = workspaces.own(session, call.actor, call.ids["workspace_id"])
        return row, workspaces.start_options(session, row)

    row, options = await call.db(work, write=False)
    hub = call.context.hub
    await servers.start(hub, row.owner, row.server_name, options, name=row.name, token=call.token or "")

    async def note(message: str, limits: dict[str, Any] | None) -> None:
        await call.db(lambda session: workspaces.note(session, row.id, message, limits))

    await note("", None)
    # Nobody waits for it: the loop would drop a task that nothing refers to.
    task = asyncio.create_task(servers.follow(hub, row.owner, row.server_name, note))
    _FOLLOWERS.add(task)
    task.add_done_callback(_FOLLOWERS.discard)
    return await get_workspace(call)


async def stop_workspace(call: AsyncCall) -> WorkspaceView:
    """Stop a workspace; nothing in it is lost"""
    row = await _clearable(call)
    await call.context.hub.stop_server(row.owner, row.server_name)
    await call.db(lambda session: workspaces.note(session, row.id, "", None))
    return await get_workspace(call)


async def delete_workspace(call: AsyncCall) -> None:
    """Delete a workspace with its notebooks and files; artifacts stay in the data repo"""
    row = await _clearable(call)
    hub = call.context.hub
    await hub.stop_server(row.owner, row.server_name, remove=True)
    deadline = asyncio.get_running_loop().time() + GONE_SECONDS
    while await hub.get_server(row.owner, row.server_name) is not None:
        if asyncio.get_running_loop().time() > deadline:
            raise Conflict(f"“{row.name}” is still stopping.", hint="Delete it again in a moment.")
        await asyncio.sleep(0.2)
    await call.db(lambda session: workspaces.forget(session, row.id))


async def _own(call: AsyncCall) -> Workspace:
    return await call.db(
        lambda session: workspaces.own(session, call.actor, call.ids["workspace_id"]), write=False
    )


async def _clearable(call: AsyncCall) -> Workspace:
    return await call.db(
        lambda session: workspaces.clearable(session, call.actor, call.ids["workspace_id"]), write=False
    )


def list_images(call: Call) -> Page[ImageView]:
    """List workspace images"""
    # Without local environments the cluster pulls images itself.
    local = os.environ.get("A360_IMAGES")
    items = [
        ImageView(
            name=image.name,
            flavor=image.flavor,
            title=image.title,
            description=image.description,
            ready=is_ready(Path(local), image) if local else True,
        )
        for image in catalogue().images
    ]
    return Page(items=items)


def list_profiles(call: Call) -> Page[ProfileView]:
    """List sizes of workspaces; the first is the default"""
    return Page(items=[ProfileView.model_validate(profile) for profile in catalogue().profiles])
