"""Credentials of registries of images: the platform's login in its own, and those that forms name
(rows F304, F305)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from traitlets import TraitError

from ..backends.base import BackendError
from ..backends.registries import Login, Registry
from ..backends.registries.ecr import EcrRegistry
from ..database import Database
from ..entities import Credential, Package
from ..errors import Invalid, Unavailable
from ..secrets import Secrets, SecretsError
from .context import Actor, Context

OCI_REGISTRY, AWS_ECR = "oci_registry", "aws_ecr"
API_TOKEN = "api_token"  # noqa: S105
SHOWN = {
    OCI_REGISTRY: ("registry_url", "username", "prefix"),
    AWS_ECR: ("registry_url", "region", "prefix", "endpoint_url", "create_repositories"),
}
SECRET = {OCI_REGISTRY: ("password",), AWS_ECR: ("access_key", "access_secret")}
TYPES = {"ecr": AWS_ECR, "oci": OCI_REGISTRY}
"""What forms call the services that hold credentials of registries."""
OWN, NONE = "", "none"
"""In place of a credential's identifier: the platform's own registry, and no registry at all."""

_HINT = "The operator corrects c.Registry.credential, or an administrator the credential."


@dataclass(frozen=True, slots=True)
class Offered:
    """A registry the caller may have images pushed to; ``credential`` is :data:`OWN` or an identifier."""

    type: str
    url: str
    name: str
    credential: str


def check_inputs(inputs: dict[str, Any]) -> None:
    """See that the address is one that passwords may be sent to, and that names can begin with the prefix.

    Raises
    ------
    Invalid
        If it is not.
    """
    try:
        Registry(url=inputs.get("registry_url") or "https://")
    except TraitError as error:
        raise Invalid.field(
            "inputs.registry_url",
            "is no address of a registry; http is for the machine of the platform only",
            hint="Write https://host or https://host:port, without a path.",
        ) from error
    try:
        Registry(prefix=inputs.get("prefix") or "a360")
    except TraitError as error:
        raise Invalid.field(
            "inputs.prefix",
            "is no beginning of names of repositories",
            hint="Small letters, digits, single . _ - between them, /.",
        ) from error


def check(service: str, settings: dict[str, Any], secret: dict[str, Any]) -> Callable[[], str]:
    """What asks the registry of a credential whether it knows who asks."""

    def connect() -> str:
        try:
            with _registry(service, settings, secret).client(BackendError, timeout=10) as client:
                client.check()
        except BackendError as error:
            raise Unavailable(error.message, hint=error.hint) from error
        return f"The registry {settings['registry_url']} knows the account."

    return connect


def login_reader(database: Database, secrets: Secrets) -> Callable[[str, str], Login]:
    """What returns the login that the credential of a name holds for the registry at an address.

    It is read at each use, so a changed password counts from then on. It raises `BackendError`.
    """

    def read(name: str, url: str) -> Login:
        query = select(Credential).where(
            Credential.service.in_(SHOWN), func.lower(Credential.name) == name.lower()
        )
        with database.session(write=False) as session:
            row = session.scalar(query)
        if row is None:
            raise BackendError(f"There is no credential “{name}” of a registry of images.", hint=_HINT)
        found = _opened(row, secrets)
        if found.url != url:
            raise BackendError(
                f"The credential “{name}” is for {row.settings['registry_url']}, not for {url}.", hint=_HINT
            )
        login = found.login()
        assert login is not None
        return login

    return read


def holding_reader(database: Database, secrets: Secrets, own: Registry) -> Callable[[str], Registry | None]:
    """What returns the registry that an image of a package was pushed to; ``None`` for the platform's own."""

    def read(reference: str) -> Registry | None:
        with database.session(write=False) as session:
            query = select(Package).where(Package.reference == reference).order_by(Package.id.desc())
            package = session.scalars(query).first()
        place = package.form.get("registry", OWN) if package else OWN
        return None if place in (OWN, NONE) else read_registry(database, secrets, own, place)

    return read


def read_registry(database: Database, secrets: Secrets, own: Registry, credential_id: str) -> Registry:
    """The registry of a credential, as it is now.

    Raises
    ------
    BackendError
        If it was deleted, or its secret cannot be read.
    """
    with database.session(write=False) as session:
        row = session.get(Credential, credential_id)
    if row is None or row.service not in SHOWN:
        raise BackendError(
            "The credential of the registry was deleted.", hint="Package again, into another registry."
        )
    found = _opened(row, secrets)
    found.platform, found.base_hosts = own, own.base_hosts
    found.timeout, found.chunk_bytes = own.timeout, own.chunk_bytes
    return found


def offered(session: Session, context: Context, actor: Actor) -> list[Offered]:
    """The registries that the caller may have images pushed to: their groups', and the platform's own."""
    names = {service: name for name, service in TYPES.items()}
    query = select(Credential).where(Credential.service.in_(SHOWN)).order_by(Credential.name)
    found = [
        Offered(names[row.service], Registry(url=row.settings["registry_url"]).url, row.name, row.id)
        for row in session.scalars(query)
        if set(row.groups) & set(actor.groups)
    ]
    if context.registry.configured:
        found.append(Offered("oci", context.registry.url, "The platform's own", OWN))
    return found


def choose(session: Session, context: Context, actor: Actor, registry_type: str, url: str) -> Offered | None:
    """The registry a form means; ``None`` for none.

    A form that says nothing means the AWS registry that is offered, or else the platform's own (F304).

    Raises
    ------
    Invalid
        If the caller may use no such registry, or if several are meant.
    """
    if registry_type == NONE:
        if url:
            raise Invalid.field("registry_url", "has no meaning without a registry", hint="Leave it out.")
        return None
    known = offered(session, context, actor)
    wanted = registry_type or ("ecr" if not url and any(each.type == "ecr" for each in known) else "")
    fitting = [each for each in known if not wanted or each.type == wanted]
    if url:
        address = url.rstrip("/") if "://" in url else f"https://{url.rstrip('/')}"
        fitting = [each for each in fitting if each.url == address]
    elif wanted != "ecr" and any(each.credential == OWN for each in fitting):
        fitting = [each for each in fitting if each.credential == OWN]
    elif not wanted:
        return None
    if not fitting:
        listed = ", ".join(f"{each.url} ({each.type})" for each in known) or "none"
        field = "registry_url" if url else "registry_type"
        raise Invalid.field(
            field,
            f"you may use no such registry; offered is: {listed}",
            hint="Ask an administrator to give one of your groups a credential for it.",
        )
    if len({each.url for each in fitting}) > 1:
        listed = ", ".join(each.url for each in fitting)
        raise Invalid.field("registry_url", f"several are offered: {listed}", hint="Name the one to use.")
    return fitting[0]


def _opened(row: Credential, secrets: Secrets) -> Registry:
    try:
        secret = secrets.decrypt(row.secret)
    except SecretsError as error:
        raise BackendError(f"The credential “{row.name}”: {error}.", hint=_HINT) from error
    return _registry(row.service, row.settings, secret)


def _registry(service: str, settings: dict[str, Any], secret: dict[str, Any]) -> Registry:
    place = {"url": settings["registry_url"], "prefix": settings.get("prefix") or "a360"}
    if service == OCI_REGISTRY:
        return Registry(**place, username=settings["username"], password=secret["password"])
    return EcrRegistry(
        **place,
        region=settings["region"],
        endpoint_url=settings.get("endpoint_url") or "",
        creates=settings.get("create_repositories") is not False,
        access_key=secret["access_key"],
        access_secret=secret["access_secret"],
    )
