"""Credentials of registries of images, and how the platform's own registry gets its login from them."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select
from traitlets import TraitError

from ..backends.base import BackendError
from ..backends.registries import Login, Registry
from ..database import Database
from ..entities import Credential
from ..errors import Invalid, Unavailable
from ..secrets import Secrets, SecretsError

OCI_REGISTRY = "oci_registry"
API_TOKEN = "api_token"  # noqa: S105
SHOWN = ("registry_url", "username")
SECRET = ("password",)

_HINT = "The operator corrects c.Registry.credential, or an administrator the credential."


def check_inputs(inputs: dict[str, Any]) -> None:
    """See that the address is one that passwords may be sent to.

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


def check(settings: dict[str, Any], secret: dict[str, Any]) -> Callable[[], None]:
    """What asks the registry of a credential whether it knows who asks."""

    def connect() -> None:
        url, username = settings["registry_url"], settings["username"]
        try:
            with Registry(url=url, username=username, password=secret["password"]).client(
                BackendError, timeout=10
            ) as client:
                client.check()
        except BackendError as error:
            raise Unavailable(error.message, hint=error.hint) from error

    return connect


def login_reader(database: Database, secrets: Secrets) -> Callable[[str, str], Login]:
    """What returns the login that the credential of a name holds for the registry at an address.

    It is read at each use, so a changed password counts from then on. It raises `BackendError`.
    """

    def read(name: str, url: str) -> Login:
        query = select(Credential).where(
            Credential.service == OCI_REGISTRY, func.lower(Credential.name) == name.lower()
        )
        with database.session(write=False) as session:
            row = session.scalar(query)
        if row is None:
            raise BackendError(f"There is no credential “{name}” of a registry of images.", hint=_HINT)
        if Registry(url=row.settings["registry_url"]).url != url:
            raise BackendError(
                f"The credential “{name}” is for {row.settings['registry_url']}, not for {url}.", hint=_HINT
            )
        try:
            return Login(row.settings["username"], secrets.decrypt(row.secret)["password"])
        except SecretsError as error:
            raise BackendError(f"The credential “{name}”: {error}.", hint=_HINT) from error

    return read
