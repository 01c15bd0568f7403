"""Credentials: accounts outside the platform, given to groups (rows F075 to F102)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..entities import Credential, DataRepo, GroupRole, utcnow
from ..errors import A360Error, Conflict, FieldError, Invalid
from . import volumes
from .context import Actor, Context
from .naming import check_name
from .paging import slice_by

# What of a service's inputs may be shown, and what is encrypted and never shown again.
SHOWN: dict[str, tuple[str, ...]] = {volumes.S3: ("account_id", "region", "endpoint_url", "role_arn")}
SECRET: dict[str, tuple[str, ...]] = {volumes.S3: ("access_key", "access_secret")}
# What says where volumes are; changing it under a data repo would lose its files.
PLACE = ("region", "endpoint_url")
SORTS = ("name", "service", "group", "last_connection")


@dataclass(slots=True)
class CredentialSpec:
    """What a new credential is made of; ``inputs`` are those of its service."""

    name: str
    description: str
    category: str
    service: str
    groups: list[str]
    inputs: dict[str, Any] = field(default_factory=dict)


def list_credentials(
    session: Session, *, category: str | None, sort: str, limit: int, cursor: str | None
) -> tuple[Sequence[Credential], str | None]:
    """Credentials of one category or all, sorted as F090 to F093 have it."""
    query = select(Credential)
    if category:
        query = query.where(Credential.category == category)

    def rank(row: Credential) -> str:
        tested = (row.last_connection or {}).get("at", "")
        value = {"service": row.service, "group": ", ".join(row.groups), "last_connection": tested}
        return f"{value.get(sort, row.name).lower()}\x1f{row.id}"

    rows = sorted(session.scalars(query), key=rank)
    return slice_by(rows, rank, limit=limit, cursor=cursor)


def create(session: Session, context: Context, actor: Actor, spec: CredentialSpec) -> Credential:
    """Store a credential; its secret inputs are encrypted.

    Raises
    ------
    Conflict
        If the name is taken.
    Invalid
        For unknown groups.
    """
    _free_name(session, spec.name)
    _check_groups(session, spec.groups)
    row = Credential(
        name=spec.name,
        description=spec.description,
        category=spec.category,
        service=spec.service,
        settings={name: spec.inputs.get(name) for name in SHOWN[spec.service]},
        secret=context.secrets.encrypt({name: spec.inputs[name] for name in SECRET[spec.service]}),
        groups=sorted(set(spec.groups)),
        created_by=actor.name,
    )
    session.add(row)
    session.flush()
    return row


def edit(session: Session, context: Context, row: Credential, changes: dict[str, Any]) -> Credential:
    """Change what is given; the copies that data repos have follow (C02).

    Raises
    ------
    Conflict
        For credentials of data repos, and for moving an account that data repos are in.
    """
    _refuse_derived(row, "changed")
    repos = _repos_of(session, row)
    if "name" in changes and changes["name"].lower() != row.name.lower():
        _free_name(session, changes["name"])
    if "groups" in changes:
        _check_groups(session, changes["groups"])
        changes["groups"] = sorted(set(changes["groups"]))
    inputs = changes.pop("inputs", {})
    moved = [name for name in PLACE if name in inputs and inputs[name] != row.settings.get(name)]
    if moved and repos:
        raise Conflict(
            f"{_count(repos)} in this account; its {moved[0]} has to stay.",
            hint="Add another credential for the other place.",
            errors=[FieldError(moved[0], "is in use")],
        )
    for name, value in changes.items():
        setattr(row, name, value)
    row.settings = {name: inputs.get(name, row.settings.get(name)) for name in SHOWN[row.service]}
    if new := {name: inputs[name] for name in SECRET[row.service] if inputs.get(name)}:
        row.secret = context.secrets.encrypt({**context.secrets.decrypt(row.secret), **new})
    for repo in repos:
        derived = session.get_one(Credential, repo.id)
        derived.secret, derived.groups = row.secret, row.groups
        derived.settings = {**row.settings, "volume_name": repo.volume_name}
    session.flush()
    return row


def delete(session: Session, row: Credential) -> None:
    """Forget a credential.

    Raises
    ------
    Conflict
        While data repos need it, and for credentials of data repos, which go with them.
    """
    _refuse_derived(row, "deleted")
    if repos := _repos_of(session, row):
        raise Conflict(
            f"{_count(repos)} in this account.", hint="Delete the data repos, or their projects, first."
        )
    session.delete(row)


def connection(session: Session, context: Context, row: Credential) -> Callable[[], None]:
    """What tests a credential: it may take long, needs no session, and raises if the test fails (F094)."""
    if row.category == volumes.DATA_REPO:
        return context.storages.open(session, session.get_one(DataRepo, row.id)).check
    return context.storages.account(row.settings, context.secrets.decrypt(row.secret)).check


def test(connect: Callable[[], None]) -> dict[str, Any]:
    """Try a connection: when that was, whether it worked, and why not."""
    try:
        connect()
    except A360Error as error:
        message = f"{error.detail} {error.hint}".strip()
        return {"at": utcnow().isoformat(), "ok": False, "message": message}
    return {"at": utcnow().isoformat(), "ok": True, "message": "The connection works."}


def _refuse_derived(row: Credential, what: str) -> None:
    if row.category == volumes.DATA_REPO:
        raise Conflict(
            f"“{row.name}” belongs to a data repo and cannot be {what} by itself.",
            hint="It follows its volume account, and goes with the data repo.",
        )


def _repos_of(session: Session, row: Credential) -> Sequence[DataRepo]:
    return session.scalars(select(DataRepo).where(DataRepo.volume_account == row.id)).all()


def _count(repos: Sequence[DataRepo]) -> str:
    return "1 data repo is" if len(repos) == 1 else f"{len(repos)} data repos are"


def _free_name(session: Session, name: str) -> None:
    check_name("name", name)
    if session.scalar(select(Credential.id).where(func.lower(Credential.name) == name.lower())):
        raise Conflict(
            f"There is a credential “{name}” already.",
            hint="Choose another name.",
            errors=[FieldError("name", "is taken")],
        )


def _check_groups(session: Session, groups: Sequence[str]) -> None:
    known = set(session.scalars(select(GroupRole.group_name).distinct()))
    if unknown := sorted(set(groups) - known):
        raise Invalid.field(
            "groups", f"there is no group “{unknown[0]}”", hint=f"Groups are: {', '.join(sorted(known))}."
        )
