"""Workspaces: a person's places to work in a project (rows F223 to F239)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spawner_profiles.catalogue import Catalogue, catalogue
from spawner_profiles.options import WorkspaceOptions

from ..entities import Collaborator, Project, Workspace
from ..errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from ..hub.workspaces import Status, free_server_name
from .context import Actor
from .naming import check_name, slugify
from .paging import page

COMPUTE = ("image", "cpu", "memory", "gpus")


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """What a new workspace is made of; ``memory`` is a number followed by Gi."""

    name: str
    image: str
    cpu: float
    memory: str
    gpus: int = 0


def list_mine(
    session: Session, actor: Actor, *, limit: int, cursor: str | None
) -> tuple[Sequence[Workspace], str | None]:
    """The caller's workspaces in all projects, newest first."""
    query = select(Workspace).where(Workspace.owner == actor.name)
    return page(session, query, Workspace.id, limit=limit, cursor=cursor)


def list_of_project(
    session: Session, project_id: str, *, limit: int, cursor: str | None
) -> tuple[Sequence[Workspace], str | None]:
    """All workspaces of a project: collaborators see each other's (F190)."""
    query = select(Workspace).where(Workspace.project_id == project_id)
    return page(session, query, Workspace.id, limit=limit, cursor=cursor)


def create(session: Session, actor: Actor, project_id: str, spec: WorkspaceSpec) -> Workspace:
    """Keep a new workspace; nothing starts yet (F224 to F231).

    Raises
    ------
    Invalid
        For an image there is not, or more GPUs than any profile has.
    Conflict
        If the caller has a workspace of this name in the project.
    """
    check_name("name", spec.name)
    mine = Workspace.owner == actor.name
    # Compared here, since SQLite knows the lower case of ASCII letters only.
    names = session.scalars(select(Workspace.name).where(mine, Workspace.project_id == project_id))
    if spec.name.casefold() in {name.casefold() for name in names}:
        raise Conflict(
            f"You have a workspace “{spec.name}” in this project already.",
            hint="Choose another name.",
            errors=[FieldError("name", "is taken")],
        )
    taken = session.scalars(select(Workspace.server_name).where(mine))
    workspace = Workspace(
        project_id=project_id,
        name=spec.name,
        owner=actor.name,
        server_name=free_server_name(slugify(spec.name, limit=30), taken),
        image=_image(catalogue(), spec.image),
        cpu=spec.cpu,
        memory=spec.memory,
        gpus=_gpus(catalogue(), spec.gpus),
    )
    session.add(workspace)
    session.flush()
    return workspace


def edit(workspace: Workspace, changes: dict[str, Any], status: Status) -> Workspace:
    """Change image or compute; it counts from the next start (F236).

    Raises
    ------
    Conflict
        Unless the workspace is stopped.
    Invalid
        As for :func:`create`.
    """
    if status not in (Status.STOPPED, Status.FAILED):
        raise Conflict(
            f"“{workspace.name}” is {status}; image and compute change only while it is stopped.",
            hint="Stop it first; nothing in it is lost.",
        )
    if "image" in changes:
        changes = {**changes, "image": _image(catalogue(), changes["image"])}
    if "gpus" in changes:
        _gpus(catalogue(), changes["gpus"])
    for name in COMPUTE:
        if name in changes:
            setattr(workspace, name, changes[name])
    return workspace


def of_member(session: Session, project_id: str, user_name: str) -> Sequence[Workspace]:
    """The workspaces somebody has in a project."""
    query = select(Workspace).where(Workspace.project_id == project_id, Workspace.owner == user_name)
    return session.scalars(query).all()


def clearable(session: Session, actor: Actor, workspace_id: str) -> Workspace:
    """A workspace the caller may stop and delete: their own, or one whose owner has left the project.

    Raises
    ------
    NotFound, Forbidden
        As for :func:`own`.
    """
    workspace = session.get(Workspace, workspace_id)
    if workspace is not None:
        member = session.get(Collaborator, (workspace.project_id, workspace.owner))
        if member is None:
            return workspace
    return own(session, actor, workspace_id)


def own(session: Session, actor: Actor, workspace_id: str) -> Workspace:
    """The caller's own workspace.

    Raises
    ------
    NotFound
        If it was deleted meanwhile.
    Forbidden
        If it is another collaborator's: only its owner starts, stops, edits and deletes it.
    """
    workspace = session.get(Workspace, workspace_id)
    if workspace is None:
        raise NotFound("There is no such workspace any more.")
    if workspace.owner != actor.name:
        raise Forbidden(
            f"This workspace is {workspace.owner}'s.", hint="Make one of your own in this project."
        )
    return workspace


def start_options(session: Session, workspace: Workspace) -> WorkspaceOptions:
    """What the workspace is started with: its size, its project, and the idle time of the profile it fits."""
    project = session.get_one(Project, workspace.project_id)
    profile = catalogue().profile_for(workspace.cpu, workspace.memory, workspace.gpus)
    return WorkspaceOptions(
        workspace_id=workspace.id,
        project_id=project.id,
        project_name=project.name,
        image=_image(catalogue(), workspace.image),
        cpu=workspace.cpu,
        memory=workspace.memory,
        gpus=workspace.gpus,
        profile=profile.name,
        idle_seconds=max(1, round(profile.idle_hours * 3600)),
    )


def note(session: Session, workspace_id: str, message: str, limits: dict[str, Any] | None) -> None:
    """Keep what the Hub says about a start; a failure stays until the next one."""
    workspace = session.get(Workspace, workspace_id)
    if workspace is None:
        return
    workspace.message = message
    if limits is not None:
        workspace.limits = limits


def forget(session: Session, workspace_id: str) -> None:
    """Drop a workspace whose server and home are gone. Artifacts lie in data repos and stay (F239)."""
    workspace = session.get(Workspace, workspace_id)
    if workspace is not None:
        session.delete(workspace)


def _image(known: Catalogue, name: str) -> str:
    try:
        return known.image(name).name
    except ValueError as error:
        raise Invalid.field("image", str(error)) from None


def _gpus(known: Catalogue, count: int) -> int:
    most = max(profile.gpus for profile in known.profiles)
    if count > most:
        what = f"at most {most} GPUs can be had here" if most else "there are no GPUs here"
        raise Invalid.field("gpus", what, hint="Leave it at 0." if not most else "")
    return count
