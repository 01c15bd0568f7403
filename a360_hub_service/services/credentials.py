"""Credentials: accounts outside the platform, given to groups (rows F075 to F102)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..backends.datasources import KINDS, DatabaseCheck, check_inputs
from ..entities import Credential, DataRepo, GroupRole, utcnow
from ..errors import A360Error, Conflict, FieldError, Invalid
from . import brokers, deployment_targets, registries, repositories, volumes
from .context import Actor, Context
from .endpoints import RUNNING
from .naming import check_name
from .paging import slice_by

# What of a service's inputs may be shown, and what is encrypted and never shown again.
SHOWN: dict[str, tuple[str, ...]] = {
    volumes.S3: ("account_id", "region", "endpoint_url", "role_arn"),
    **registries.SHOWN,
    **repositories.SHOWN,
    **deployment_targets.SHOWN,
    brokers.CLEARBLADE: brokers.SHOWN,
    **{name: kind.shown for name, kind in KINDS.items()},
}
SECRET: dict[str, tuple[str, ...]] = {
    volumes.S3: ("access_key", "access_secret"),
    **registries.SECRET,
    **repositories.SECRET,
    **deployment_targets.SECRET,
    brokers.CLEARBLADE: brokers.SECRET,
    **{name: kind.secret for name, kind in KINDS.items()},
}
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
        For unknown groups, and for inputs that do not fit together.
    """
    _free_name(session, spec.name)
    _check_groups(session, spec.groups)
    if spec.category == deployment_targets.DEPLOYMENT_TARGET:
        deployment_targets.check_name(context, spec.name)
    inputs = _checked(context, spec.service, spec.inputs)
    row = Credential(
        name=spec.name,
        description=spec.description,
        category=spec.category,
        service=spec.service,
        settings={name: inputs.get(name) for name in SHOWN[spec.service]},
        secret=context.secrets.encrypt({name: inputs.get(name) for name in SECRET[spec.service]}),
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
    Invalid
        For unknown groups, for inputs of other services, and for those that do not fit together.
    """
    _refuse_derived(row, "changed")
    repos = _repos_of(session, row)
    if "name" in changes and changes["name"].lower() != row.name.lower():
        _free_name(session, changes["name"])
        if row.category == deployment_targets.DEPLOYMENT_TARGET:
            deployment_targets.check_name(context, changes["name"])
    if "groups" in changes:
        _check_groups(session, changes["groups"])
        changes["groups"] = sorted(set(changes["groups"]))
    inputs = changes.pop("inputs", {})
    _check_known(row.service, inputs)
    if row.service == brokers.CLEARBLADE:
        inputs = {**brokers.cleared(inputs), **inputs}
    moved = [name for name in PLACE if name in inputs and inputs[name] != row.settings.get(name)]
    if moved and repos:
        raise Conflict(
            f"{_count(repos)} in this account; its {moved[0]} has to stay.",
            hint="Add another credential for the other place.",
            errors=[FieldError(moved[0], "is in use")],
        )
    for name, value in changes.items():
        setattr(row, name, value)
    secret = _changed_secret(row.service, context.secrets.decrypt(row.secret), inputs)
    found = _checked(context, row.service, {**row.settings, **inputs, **secret})
    settings = {name: found.get(name) for name in SHOWN[row.service]}
    if row.category == deployment_targets.DEPLOYMENT_TARGET:
        deployment_targets.refuse_move(session, row, settings)
    row.settings = settings
    row.secret = context.secrets.encrypt({name: found.get(name) for name in SECRET[row.service]})
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
        While data repos or endpoints need it, and for credentials of data repos, which go with them.
    """
    _refuse_derived(row, "deleted")
    if repos := _repos_of(session, row):
        raise Conflict(
            f"{_count(repos)} in this account.", hint="Delete the data repos, or their projects, first."
        )
    deployment_targets.refuse_deletion(session, row)
    if slugs := brokers.in_use(session, row, RUNNING):
        raise Conflict(
            f"The endpoint {slugs[0]} is at this broker with this credential.",
            hint="Withdraw it first, or give the credential other inputs.",
        )
    session.delete(row)


def connection(session: Session, context: Context, row: Credential) -> Callable[[], str | None]:
    """What tests a credential and may say what it found: it may take long, and needs no session (F094).

    It raises if the test fails.
    """
    if row.category == volumes.DATA_REPO:
        return context.storages.open(session, session.get_one(DataRepo, row.id)).check
    if row.service in KINDS:
        return DatabaseCheck(row.service, {**row.settings, **context.secrets.decrypt(row.secret)})
    if row.category == deployment_targets.DEPLOYMENT_TARGET:
        return deployment_targets.check(context, row)
    if row.service == brokers.CLEARBLADE:
        return brokers.check(row.settings, context.secrets.decrypt(row.secret))
    if row.service in registries.SHOWN:
        return registries.check(row.service, row.settings, context.secrets.decrypt(row.secret))
    if row.service in repositories.SHOWN:
        return repositories.check(context, row)
    return context.storages.account(row.settings, context.secrets.decrypt(row.secret)).check


def test(connect: Callable[[], str | None]) -> dict[str, Any]:
    """Try a connection: when that was, whether it worked, and why not."""
    try:
        found = connect()
    except A360Error as error:
        message = f"{error.detail} {error.hint}".strip()
        return {"at": utcnow().isoformat(), "ok": False, "message": message}
    return {"at": utcnow().isoformat(), "ok": True, "message": f"The connection works. {found or ''}".strip()}


def _checked(context: Context, service: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs as they are stored: most as they were given, if they fit together."""
    if service in KINDS:
        check_inputs(KINDS[service], inputs)
    elif service in registries.SHOWN:
        registries.check_inputs(inputs)
    elif service in repositories.SHOWN:
        repositories.check_inputs(service, inputs)
    elif service == brokers.CLEARBLADE:
        brokers.check_inputs(inputs)
    elif service in deployment_targets.RUNS_ON:
        return deployment_targets.check_inputs(context, service, inputs)
    return inputs


def _check_known(service: str, inputs: dict[str, Any]) -> None:
    found = deployment_targets.FOUND.get(service, ())
    known = [name for name in (*SHOWN[service], *SECRET[service]) if name not in found]
    if unknown := [name for name in inputs if name not in known]:
        raise Invalid(
            f"A credential of {service} has no {', '.join(unknown)}.",
            hint=f"It has {', '.join(known)}.",
            errors=[FieldError(f"inputs.{name}", f"is no input of {service}") for name in unknown],
        )


def _changed_secret(service: str, present: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """The secret inputs after a change; a new proof of who asks replaces the one before."""
    given = {name: inputs[name] for name in SECRET[service] if name in inputs}
    proofs = KINDS[service].proofs if service in KINDS else ()
    if any(given.get(name) for name in proofs):
        present = {**present, **dict.fromkeys((*proofs, "private_key_passphrase"))}
    merged = {**present, **given}
    return {name: merged.get(name) for name in SECRET[service]}


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
