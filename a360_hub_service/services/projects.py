"""Projects and their collaborators (rows F166 to F200)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..database import insert_first
from ..entities import Collaborator, Endpoint, GroupRole, Job, Model, Project, User, Workspace
from ..errors import Conflict, FieldError, Invalid, NotFound
from ..policy import Role
from . import data_repos
from .context import Actor, Context
from .naming import check_name, slugify
from .paging import page

KPIS = (
    "Time to deployment",
    "Models in Production",
    "Models deployed per month",
    "Cost savings",
    "API calls",
)
EDITABLE = (
    "name",
    "customer_name",
    "goal",
    "business_process",
    "kpis",
    "business_component",
    "business_function",
)


@dataclass(slots=True)
class ProjectSpec:
    """What a new project is made of; the data repo is compulsory (F178)."""

    name: str
    customer_name: str
    data_repo: data_repos.DataRepoSpec
    goal: str = ""
    business_process: str = ""
    kpis: list[str] = field(default_factory=list)
    business_component: str = ""
    business_function: str = ""


def list_projects(
    session: Session, actor: Actor, *, limit: int, cursor: str | None
) -> tuple[Sequence[Project], str | None]:
    """The projects the caller works on, newest first (F166)."""
    mine = select(Collaborator.project_id).where(Collaborator.user_name == actor.name)
    return page(session, select(Project).where(Project.id.in_(mine)), Project.id, limit=limit, cursor=cursor)


def create(session: Session, context: Context, actor: Actor, spec: ProjectSpec) -> Project:
    """Make a project with its default data repo (F170 to F185); both or none.

    Raises
    ------
    Invalid
        For names and KPIs that break a rule.
    Conflict
        If the name is taken.
    """
    _check_kpis(spec.kpis)
    project = Project(
        name=_free_name(session, spec.name),
        slug=_free_slug(session, spec.name),
        customer_name=check_name("customer_name", spec.customer_name),
        goal=spec.goal,
        business_process=spec.business_process,
        kpis=spec.kpis,
        business_component=spec.business_component,
        business_function=spec.business_function,
        owner=actor.name,
        collaborators=[Collaborator(user_name=actor.name, added_by=actor.name)],
    )
    session.add(project)
    session.flush()
    data_repos.create(session, context, actor, project, spec.data_repo, default=True)
    return project


def edit(session: Session, project: Project, changes: dict[str, object]) -> Project:
    """Change what may change (F187); the slug stays, since addresses of endpoints hold it."""
    name = str(changes.get("name", project.name))
    if name.lower() != project.name.lower():
        _free_name(session, name)
    if "customer_name" in changes:
        check_name("customer_name", str(changes["customer_name"]))
    if isinstance(kpis := changes.get("kpis"), list):
        _check_kpis(kpis)
    for field_name in EDITABLE:
        if field_name in changes:
            setattr(project, field_name, changes[field_name])
    return project


def delete(session: Session, project: Project) -> None:
    """Forget a project (F188). Its volumes stay where they are: they are the customer's.

    What was packaged is listed by :func:`.packaging.made_of` before and removed after the transaction.

    Raises
    ------
    Conflict
        While endpoints, jobs or workspaces of it are alive.
    """
    of_project = Model.project_id == project.id
    endpoints = select(func.count(Endpoint.id)).join(Model).where(of_project)
    jobs = select(func.count(Job.id)).join(Model).where(of_project)
    alive = {
        "published models": endpoints.where(Endpoint.desired == "running"),
        "running jobs": jobs.where(Job.status.in_(("queued", "running"))),
        "workspaces": select(func.count(Workspace.id)).where(Workspace.project_id == project.id),
    }
    found = [f"{count} {what}" for what, query in alive.items() if (count := session.scalar(query))]
    if found:
        raise Conflict(
            f"“{project.name}” still has {', '.join(found)}.",
            hint="Withdraw its models, let its jobs end and delete its workspaces first.",
        )
    session.execute(sql_delete(Endpoint).where(Endpoint.model_id.in_(select(Model.id).where(of_project))))
    data_repos.forget_credentials(session, project)
    session.delete(project)


def list_collaborators(
    session: Session, project: Project, *, limit: int, cursor: str | None
) -> tuple[Sequence[Collaborator], str | None]:
    """Who works on the project, by name."""
    query = select(Collaborator).where(Collaborator.project_id == project.id)
    return page(session, query, Collaborator.user_name, limit=limit, cursor=cursor, descending=False)


def add_collaborator(
    session: Session, actor: Actor, project: Project, user_name: str, groups: Sequence[str] | None
) -> Collaborator:
    """Give somebody the project (F189, F190); twice is once.

    Parameters
    ----------
    groups
        The user's Hub groups, ``None`` if the Hub knows no such user.

    Raises
    ------
    Invalid
        If there is no such user, or none with a role that works in projects.
    """
    if groups is None:
        raise Invalid("There is no such user.", errors=[FieldError("user_name", "unknown")])
    roles = set(session.scalars(select(GroupRole.role).where(GroupRole.group_name.in_(groups))))
    if not roles & {Role.DATA_SCIENTIST, Role.ML_ENGINEER}:
        raise Invalid(
            f"{user_name} has no role that works in projects.",
            hint="An administrator can add them to a group with the role Data Scientist or ML Engineer.",
            errors=[FieldError("user_name", "has no role that works in projects")],
        )
    know_user(session, user_name)
    if session.get(Collaborator, (project.id, user_name)) is None:
        insert_first(session, Collaborator(project_id=project.id, user_name=user_name, added_by=actor.name))
    return session.get_one(Collaborator, (project.id, user_name))


def know_user(session: Session, name: str) -> None:
    """Keep a user of the Hub among ours; whoever is known stays as they are."""
    if session.get(User, name) is None:
        insert_first(session, User(name=name, display_name=name))


def remove_collaborator(session: Session, project: Project, user_name: str) -> None:
    """Take the project from somebody; stop their workspaces first.

    Raises
    ------
    NotFound, Conflict
        As for :func:`removable`.
    """
    # One after the other: two who remove each other would leave nobody.
    session.execute(select(Project.id).where(Project.id == project.id).with_for_update())
    session.delete(removable(session, project, user_name))


def removable(session: Session, project: Project, user_name: str) -> Collaborator:
    """A collaborator who can be removed.

    Raises
    ------
    NotFound
        If they are not on the project.
    Conflict
        For the last one (F200).
    """
    found = session.get(Collaborator, (project.id, user_name))
    if found is None:
        raise NotFound(f"{user_name} is not on this project.")
    count = session.scalar(select(func.count()).where(Collaborator.project_id == project.id))
    if count == 1:
        raise Conflict("A project needs somebody.", hint="Add another collaborator first.")
    return found


def working_groups(session: Session) -> frozenset[str]:
    """Groups whose roles work in projects."""
    roles = (Role.DATA_SCIENTIST.value, Role.ML_ENGINEER.value)
    return frozenset(session.scalars(select(GroupRole.group_name).where(GroupRole.role.in_(roles))))


def _free_name(session: Session, name: str) -> str:
    check_name("name", name)
    if session.scalar(select(Project.id).where(func.lower(Project.name) == name.lower())):
        raise Conflict(
            f"There is a project “{name}” already.",
            hint="Choose another name.",
            errors=[FieldError("name", "is taken")],
        )
    return name


def _free_slug(session: Session, name: str) -> str:
    slug = base = slugify(name, limit=40)
    number = 2
    while session.scalar(select(Project.id).where(Project.slug == slug)):
        slug, number = f"{base}-{number}", number + 1
    return slug


def _check_kpis(kpis: Sequence[object]) -> None:
    unknown = [kpi for kpi in kpis if kpi not in KPIS]
    if unknown:
        raise Invalid.field("kpis", f"unknown: {unknown[0]}", hint=f"Choose from: {', '.join(KPIS)}.")
