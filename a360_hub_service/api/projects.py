"""Projects, collaborators and the caller."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..entities import DataRepo, Project, User
from ..services import data_repos, packaging, projects, workspaces
from ..services.paging import slice_by
from .routing import AsyncCall, Call, Form, Page, PageQuery, View
from .texts import DISPLAY_NAME, VOLUME_NAME

Kpi = Annotated[str, Field(json_schema_extra={"enum": [*projects.KPIS]})]


class MeView(View):
    """The caller."""

    name: str
    display_name: str
    groups: list[str]
    roles: list[str]


class UserView(View):
    """Somebody who can be added to a project."""

    name: str
    display_name: str
    groups: list[str]


class UsersQuery(PageQuery):
    """Which candidates."""

    search: str = Field("", max_length=100, description="Part of the name.")
    group: str | None = Field(None, max_length=255, description="Only members of this group.")


class DataRepoForm(Form):
    """A new data repo (F179 to F184)."""

    name: str = Field(min_length=1, max_length=64, json_schema_extra=DISPLAY_NAME)
    description: str = Field("", max_length=2000)
    volume_account: str = Field("local", min_length=1, max_length=32)
    volume_option: str = Field("new", pattern="^(new|existing)$")
    volume_name: str = Field(min_length=3, max_length=63, json_schema_extra=VOLUME_NAME)
    volume_region: str | None = Field(None, max_length=63)

    def spec(self) -> data_repos.DataRepoSpec:
        """What the use case takes."""
        return data_repos.DataRepoSpec(**self.model_dump())


class ProjectForm(Form):
    """A new project and its default data repo."""

    name: str = Field(min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    customer_name: str = Field(min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    goal: str = Field("", max_length=5000)
    business_process: str = Field("", max_length=5000)
    kpis: list[Kpi] = Field(default_factory=list, max_length=10)
    business_component: str = Field("", max_length=5000)
    business_function: str = Field("", max_length=5000)
    data_repo: DataRepoForm


class ProjectEdit(Form):
    """What changes; what is left out stays."""

    name: str = Field("", min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    customer_name: str = Field("", min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    goal: str = Field("", max_length=5000)
    business_process: str = Field("", max_length=5000)
    kpis: list[Kpi] = Field(default_factory=list, max_length=10)
    business_component: str = Field("", max_length=5000)
    business_function: str = Field("", max_length=5000)


class ProjectView(View):
    """A project."""

    id: str
    name: str
    slug: str
    customer_name: str
    goal: str
    business_process: str
    kpis: list[str]
    business_component: str
    business_function: str
    default_data_repo_id: str | None = None
    owner: str
    created_at: datetime
    updated_at: datetime


class CollaboratorView(View):
    """Somebody on a project."""

    user_name: str
    added_by: str
    created_at: datetime


def project_views(session: Session, found: Sequence[Project]) -> list[ProjectView]:
    """Projects with the identifiers of their default data repos."""
    query = select(DataRepo.project_id, DataRepo.id).where(
        DataRepo.project_id.in_([project.id for project in found]), DataRepo.is_default
    )
    defaults = {row.project_id: row.id for row in session.execute(query)}
    views = [ProjectView.model_validate(project) for project in found]
    for view in views:
        view.default_data_repo_id = defaults.get(view.id)
    return views


def _view(session: Session, project: Project) -> ProjectView:
    return project_views(session, [project])[0]


def get_me(call: Call) -> MeView:
    """Show who the caller is"""
    user = call.session.get(User, call.actor.name)
    return MeView(
        name=call.actor.name,
        display_name=(user.display_name if user else "") or call.actor.name,
        groups=sorted(call.actor.groups),
        roles=sorted(call.actor.roles),
    )


async def list_users(call: AsyncCall) -> Page[UserView]:
    """List people who can be added to projects"""
    found = await call.context.hub.list_users()
    working = await call.db(lambda session: projects.working_groups(session), write=False)
    wanted = [
        UserView(name=user.name, display_name=user.name, groups=sorted(user.groups))
        for user in sorted(found, key=lambda user: user.name)
        if working & set(user.groups)
        and call.query.search.lower() in user.name.lower()
        and (call.query.group is None or call.query.group in user.groups)
    ]
    items, cursor = slice_by(wanted, lambda user: user.name, limit=call.query.limit, cursor=call.query.cursor)
    return Page(items=items, next_cursor=cursor)


def list_projects(call: Call) -> Page[ProjectView]:
    """List the projects the caller works on"""
    rows, cursor = projects.list_projects(
        call.session, call.actor, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=project_views(call.session, rows), next_cursor=cursor)


async def create_project(call: AsyncCall) -> ProjectView:
    """Create a project with its default data repo"""
    context, actor = call.context, call.actor
    values = call.body.model_dump(exclude={"data_repo"})
    spec = projects.ProjectSpec(**values, data_repo=call.body.data_repo.spec())
    await call.run(await call.db(lambda s: data_repos.server(s, context, actor, spec.data_repo), write=False))

    def work(session: Session) -> ProjectView:
        project = projects.create(session, context, actor, spec)
        session.flush()
        return _view(session, project)

    return await call.db(work)


def get_project(call: Call) -> ProjectView:
    """Show a project"""
    return _view(call.session, call.entity)


def edit_project(call: Call) -> ProjectView:
    """Change a project"""
    projects.edit(call.session, call.entity, call.body.model_dump(exclude_unset=True))
    call.session.flush()
    return _view(call.session, call.entity)


async def delete_project(call: AsyncCall) -> None:
    """Delete a project with what was packaged of it; its volumes stay"""

    def work(session: Session) -> list[packaging.Made]:
        project = session.get_one(Project, call.ids["project_id"])
        made = packaging.made_of(session, project)
        projects.delete(session, project)
        return made

    await call.run(packaging.remove, call.context, await call.db(work))


def list_collaborators(call: Call) -> Page[CollaboratorView]:
    """List who works on a project"""
    rows, cursor = projects.list_collaborators(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[CollaboratorView.model_validate(row) for row in rows], next_cursor=cursor)


async def add_collaborator(call: AsyncCall) -> CollaboratorView:
    """Add somebody to a project"""
    name = call.ids["user_name"]
    user = await call.context.hub.get_user(name)

    def work(session: Session) -> CollaboratorView:
        project = session.get_one(Project, call.ids["project_id"])
        groups = None if user is None else user.groups
        row = projects.add_collaborator(session, call.actor, project, name, groups)
        session.flush()
        return CollaboratorView.model_validate(row)

    return await call.db(work)


async def remove_collaborator(call: AsyncCall) -> None:
    """Remove somebody from a project; their workspaces in it are stopped"""
    project_id, name = call.ids["project_id"], call.ids["user_name"]

    def servers(session: Session) -> list[str]:
        projects.removable(session, session.get_one(Project, project_id), name)
        return [row.server_name for row in workspaces.of_member(session, project_id, name)]

    for server in await call.db(servers, write=False):
        await call.context.hub.stop_server(name, server)
    await call.db(
        lambda session: projects.remove_collaborator(session, session.get_one(Project, project_id), name)
    )
