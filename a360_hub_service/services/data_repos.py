"""Data repos: the buckets and folders of a project (rows F178 to F211, F221)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from ..backends.storage.base import AWS, LOCAL, Storage
from ..entities import Artifact, Credential, DataRepo, Project, Run, new_id
from ..errors import Conflict, FieldError, Invalid
from . import volumes
from .context import Actor, Context
from .naming import check_name, check_volume_name
from .paging import page

NAME_LIMIT = 64
EXISTING, NEW = "existing", "new"


@dataclass(slots=True)
class DataRepoSpec:
    """What a new data repo is made of.

    Attributes
    ----------
    volume_account
        Identifier of a volume account; ``local`` is this machine.
    volume_option
        ``existing`` or ``new``.
    volume_region
        Buckets only; the account's region if left out.
    """

    name: str
    volume_name: str
    description: str = ""
    volume_account: str = volumes.THIS_MACHINE
    volume_option: str = NEW
    volume_region: str | None = None


def list_data_repos(
    session: Session, project: Project, *, limit: int, cursor: str | None
) -> tuple[Sequence[DataRepo], str | None]:
    """The data repos of a project, newest first."""
    query = select(DataRepo).where(DataRepo.project_id == project.id)
    return page(session, query, DataRepo.id, limit=limit, cursor=cursor)


def server(session: Session, context: Context, actor: Actor, spec: DataRepoSpec) -> Callable[[], None]:
    """What finds out whether the volume's server answers; it may take long and needs no session.

    Run it before the transaction of :func:`create`, in which a silent server would hold up everybody else.
    """
    account = volumes.find(session, context, actor, spec.volume_account)
    if account is None:
        return lambda: None
    keys = context.secrets.decrypt(account.secret)
    return context.storages.bucket(account.settings, keys, check_volume_name(spec.volume_name)).reach


def create(
    session: Session, context: Context, actor: Actor, project: Project, spec: DataRepoSpec, *, default: bool
) -> DataRepo:
    """Make a data repo with its volume and its credential (F077); all of them or none.

    Raises
    ------
    Invalid
        For names that break a rule, an account the caller may not use, or a region that is not the account's.
    Conflict
        If the name or the volume is taken.
    """
    if spec.volume_option not in (EXISTING, NEW):
        raise Invalid.field("volume_option", f"must be {EXISTING} or {NEW}")
    check_volume_name(spec.volume_name)
    _free_name(session, project.id, spec.name)
    account = volumes.find(session, context, actor, spec.volume_account)
    _free_volume(session, account, spec)
    repo = DataRepo(
        id=new_id(),
        project_id=project.id,
        name=spec.name,
        description=spec.description,
        is_default=default,
        volume_account=spec.volume_account,
        storage_provider=AWS if account else LOCAL,
        volume_name=spec.volume_name,
        volume_region=_region(account, spec.volume_region),
        created_by=actor.name,
    )
    session.add(repo)
    session.add(_derive(context, actor, project, repo, account))
    # What the database refuses is refused before a volume is made.
    session.flush()
    _ensure_volume(session, context.storages.open(session, repo), create=spec.volume_option == NEW)
    return repo


def edit(session: Session, repo: DataRepo, changes: dict[str, Any]) -> DataRepo:
    """Change the name or the description; the volume stays what it is."""
    if "name" in changes and changes["name"] != repo.name:
        if changes["name"].lower() != repo.name.lower():
            _free_name(session, repo.project_id, changes["name"])
        repo.name = changes["name"]
        session.get_one(Credential, repo.id).name = _credential_name(repo.project, repo)
    if "description" in changes:
        repo.description = changes["description"]
    return repo


def make_default(session: Session, repo: DataRepo) -> DataRepo:
    """Let new artifacts of the project go here (F186); the one before is none any more."""
    before = session.scalars(
        select(DataRepo).where(DataRepo.project_id == repo.project_id, DataRepo.is_default)
    )
    for other in before:
        other.is_default = False
    # One by one: the index that allows one default a project looks at every statement.
    session.flush()
    repo.is_default = True
    session.flush()
    return repo


def delete(session: Session, repo: DataRepo) -> None:
    """Forget a data repo; the volume and what is in it stay.

    Raises
    ------
    Conflict
        If it is the project's default, or runs have their artifacts in it.
    """
    if repo.is_default:
        raise Conflict(
            f"“{repo.name}” is the default data repo of its project.",
            hint="Make another one the default first.",
        )
    if runs := session.scalar(select(func.count(Run.id)).where(Run.data_repo_id == repo.id)):
        raise Conflict(
            f"The artifacts of {runs} run{'' if runs == 1 else 's'} are in “{repo.name}”.",
            hint="Their models would lose them; keep the data repo.",
        )
    _forget_credential(session, repo.id)
    session.delete(repo)


def run_of(session: Session, repo: DataRepo, key: str) -> str | None:
    """The run that a file, or a file of a folder, is an artifact of."""
    below = Artifact.file_key.startswith(f"{key}/", autoescape=True)
    query = (
        select(Run.id).join(Artifact).where(Run.data_repo_id == repo.id, (Artifact.file_key == key) | below)
    )
    return session.scalar(query.limit(1))


def forget_credentials(session: Session, project: Project) -> None:
    """Remove the credentials of a project's data repos; for deleting the project."""
    for repo_id in session.scalars(select(DataRepo.id).where(DataRepo.project_id == project.id)):
        _forget_credential(session, repo_id)


def _forget_credential(session: Session, repo_id: str) -> None:
    if credential := session.get(Credential, repo_id):
        session.delete(credential)


def _free_name(session: Session, project_id: str, name: str) -> None:
    if len(check_name("name", name)) > NAME_LIMIT:
        raise Invalid.field("name", f"has {len(name)} characters; at most {NAME_LIMIT} are possible")
    taken = select(DataRepo.id).where(
        DataRepo.project_id == project_id, func.lower(DataRepo.name) == name.lower()
    )
    if session.scalar(taken):
        raise Conflict(
            f"The project has a data repo “{name}” already.",
            hint="Choose another name.",
            errors=[FieldError("name", "is taken")],
        )


def _free_volume(session: Session, account: Credential | None, spec: DataRepoSpec) -> None:
    """Refuse a volume that is a data repo already, also when it was reached by another account."""
    provider = AWS if account else LOCAL
    endpoint = account.settings.get("endpoint_url") if account else None
    query = (
        select(Credential)
        .join(DataRepo, DataRepo.id == Credential.id)
        .where(DataRepo.volume_name == spec.volume_name, DataRepo.storage_provider == provider)
    )
    if any(row.settings.get("endpoint_url") == endpoint for row in session.scalars(query)):
        raise Conflict(
            f"The volume “{spec.volume_name}” is a data repo already.",
            hint="Choose another volume name.",
            errors=[FieldError("volume_name", "is taken")],
        )


def _region(account: Credential | None, wanted: str | None) -> str | None:
    if account is None:
        return None
    region: str = account.settings["region"]
    if wanted and wanted != region:
        raise Invalid.field(
            "volume_region",
            f"is not the region of the volume account, which is {region}",
            hint=f"Choose {region}, or another volume account.",
        )
    return region


def _credential_name(project: Project, repo: DataRepo) -> str:
    return f"{project.slug}/{repo.name}"


def _derive(
    context: Context, actor: Actor, project: Project, repo: DataRepo, account: Credential | None
) -> Credential:
    """The data repo's own credential (C02): a copy of the account's, scoped to the volume."""
    return Credential(
        # The same identifier: the two live and die together.
        id=repo.id,
        name=_credential_name(project, repo),
        description=f"Made with the data repo “{repo.name}”.",
        category=volumes.DATA_REPO,
        service=account.service if account else LOCAL,
        settings={**(account.settings if account else {}), "volume_name": repo.volume_name},
        secret=account.secret if account else context.secrets.encrypt({}),
        groups=list(account.groups) if account else [],
        created_by=actor.name,
    )


def _ensure_volume(session: Session, storage: Storage, *, create: bool) -> None:
    storage.ensure_volume(create=create)
    if not create:
        return

    def undo(_: Session) -> None:
        storage.discard_volume()

    def keep(_: Session) -> None:
        event.remove(session, "after_rollback", undo)

    event.listen(session, "after_rollback", undo, once=True)
    event.listen(session, "after_commit", keep, once=True)
