"""Deployment targets: clusters where members of a group may publish (F080, F111 to F126)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..backends.base import BackendError
from ..backends.targets.base import Target
from ..database import Database
from ..entities import Credential, Endpoint, utcnow
from ..errors import Conflict, FieldError, Invalid, Unavailable
from ..secrets import Secrets, SecretsError
from .context import Actor, Context

DEPLOYMENT_TARGET = "deployment_target"
KUBERNETES = "kubernetes"
RUNS_ON: Mapping[str, str] = {KUBERNETES: "kubernetes"}
"""Which target of the operator runs what is published on a service."""
SHOWN: Mapping[str, tuple[str, ...]] = {
    KUBERNETES: (
        "server",
        "cluster",
        "expose",
        "host",
        "ingress_class",
        "tls_secret",
        "gateway_ref",
        "notes",
    ),
}
SECRET: Mapping[str, tuple[str, ...]] = {KUBERNETES: ("kubeconfig",)}
FOUND: Mapping[str, tuple[str, ...]] = {KUBERNETES: ("server", "cluster", "notes")}
"""What is read from the inputs, and cannot be given."""
RUNNING = "running"


def check_inputs(context: Context, service: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Check what is said about a place, and return it made plain, with what was found in it.

    Raises
    ------
    Invalid
        If it is not accepted, or the operator does not offer such places.
    """
    try:
        return _target(context, service).account_inputs(inputs)
    except BackendError as error:
        field = f"inputs.{error.field}" if error.field else "inputs"
        raise Invalid.field(field, error.message, hint=error.hint) from error


def check_name(context: Context, name: str) -> None:
    """See that the form to publish can tell a place from the operator's targets.

    Raises
    ------
    Invalid
        If one of those is called so.
    """
    if name.lower() in context.targets:
        raise Invalid.field(
            "name", f"“{name}” is what the platform calls a target of its own", hint="Choose another name."
        )


def check(context: Context, row: Credential) -> Callable[[], None]:
    """What tells whether a place can be published to now (F116)."""
    target = _target(context, row.service).at(row.id)

    def connect() -> None:
        health = target.health()
        if not health.available:
            raise Unavailable(health.reason)

    return connect


def usable(session: Session, actor: Actor) -> Sequence[Credential]:
    """The places of the caller's groups, by name (F114)."""
    query = select(Credential).where(Credential.category == DEPLOYMENT_TARGET)
    found = [row for row in session.scalars(query) if set(row.groups) & set(actor.groups)]
    return sorted(found, key=lambda row: row.name.lower())


def find(session: Session, actor: Actor, name: str) -> Credential | None:
    """The place of this name that the caller may use; ``None`` if there is none, or none for the caller."""
    query = select(Credential).where(
        Credential.category == DEPLOYMENT_TARGET, func.lower(Credential.name) == name.lower()
    )
    row = session.scalar(query)
    return row if row is not None and set(row.groups) & set(actor.groups) else None


def note_use(session: Session, credential_id: str, message: str, *, ok: bool) -> None:
    """Write down that a place was used, and whether it answered (F115)."""
    row = session.get(Credential, credential_id)
    if row is not None:
        row.last_connection = {"at": utcnow().isoformat(), "ok": ok, "message": message}


def refuse_move(session: Session, row: Credential, settings: Mapping[str, Any]) -> None:
    """See that no endpoint loses the place it runs on.

    Raises
    ------
    Conflict
        If one runs there, and calls would not find it any more.
    """
    moved = [name for name in ("server", "expose", "host") if settings.get(name) != row.settings.get(name)]
    if moved and (count := _in_use(session, row)):
        field = "kubeconfig" if moved[0] == "server" else moved[0]
        raise Conflict(
            f"{count}; the {moved[0]} has to stay.",
            hint="Add another deployment target, or withdraw what runs there.",
            errors=[FieldError(f"inputs.{field}", "is in use")],
        )


def refuse_deletion(session: Session, row: Credential) -> None:
    """See that no endpoint runs there.

    Raises
    ------
    Conflict
        If one does.
    """
    if count := _in_use(session, row):
        raise Conflict(f"{count}.", hint="Withdraw what runs there first.")


def account_reader(database: Database, secrets: Secrets) -> Callable[[str], tuple[str, dict[str, Any]]]:
    """What returns secret input and settings of the place of an identifier.

    They are read at each use, so a change counts from then on. It raises `BackendError`.
    """

    def read(credential_id: str) -> tuple[str, dict[str, Any]]:
        with database.session(write=False) as session:
            row = session.get(Credential, credential_id)
        if row is None:
            raise BackendError("The deployment target was deleted.", hint="Choose another one.")
        try:
            return secrets.decrypt(row.secret)[SECRET[row.service][0]], row.settings
        except SecretsError as error:
            raise BackendError(
                f"The deployment target “{row.name}”: {error}.", hint="Enter it again."
            ) from error

    return read


def _in_use(session: Session, row: Credential) -> str:
    query = select(func.count()).where(Endpoint.deployment_target_id == row.id, Endpoint.desired == RUNNING)
    count = session.scalar(query) or 0
    if not count:
        return ""
    return "1 endpoint runs there" if count == 1 else f"{count} endpoints run there"


def _target(context: Context, service: str) -> Target:
    target = context.targets.get(RUNS_ON[service])
    if target is None:
        raise Invalid.field(
            "service",
            "is not offered in this installation",
            hint=f"The operator adds “{RUNS_ON[service]}” to c.A360HubService.targets.",
        )
    return target
