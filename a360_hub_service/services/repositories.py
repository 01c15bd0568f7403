"""Repositories of scripts: the credentials that open private ones, and which of them a package takes
(rows F149 to F158, F292)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.base import BackendError
from ..backends.git import GitError, GitLogin
from ..backends.git.addresses import server_of
from ..backends.git.app import GitHubApp, app_login, check_app, check_private_key
from ..entities import Credential
from ..errors import Invalid, Unavailable
from .context import Actor, Context

GIT_TOKEN, GITHUB_APP = "git_token", "github_app"
SHOWN = {
    GIT_TOKEN: ("base_url", "username", "test_repository"),
    GITHUB_APP: ("base_url", "app_id", "api_url"),
}
SECRET = {GIT_TOKEN: ("token",), GITHUB_APP: ("private_key",)}


@dataclass(frozen=True, slots=True)
class RepositoryAccount:
    """A credential for repositories, as those see it who may use it."""

    id: str
    name: str
    description: str
    kind: str
    base_url: str


def check_inputs(service: str, inputs: dict[str, Any]) -> None:
    """See that the inputs of a credential fit together.

    Raises
    ------
    Invalid
        If they do not.
    """
    if service == GITHUB_APP:
        try:
            check_private_key(inputs.get("private_key") or "")
        except ValueError as error:
            raise Invalid.field(
                "inputs.private_key", str(error), hint="Paste the file GitHub made when you asked for a key."
            ) from None
    elif not _is_below(inputs.get("test_repository") or "", inputs.get("base_url") or ""):
        raise Invalid.field(
            "inputs.test_repository",
            "is not below the base address",
            hint="Name a repository that the token opens; it is read when the connection is tested.",
        )


def check(context: Context, row: Credential) -> Callable[[], str]:
    """What tries a credential and says what it found, or raises."""
    settings, secret = dict(row.settings), context.secrets.decrypt(row.secret)

    def connect() -> str:
        try:
            if row.service == GITHUB_APP:
                return check_app(_app(settings, secret), context.git.hosts)
            url = settings["test_repository"]
            context.git.check_access(url, _token(settings, secret))
        except BackendError as error:
            raise Unavailable(error.message, hint=error.hint) from error
        return f"The token opens {url}."

    return connect


def list_accounts(session: Session, actor: Actor) -> list[RepositoryAccount]:
    """The credentials for repositories that the caller's groups may use, by name."""
    query = select(Credential).where(Credential.service.in_(SHOWN)).order_by(Credential.name)
    return [
        RepositoryAccount(row.id, row.name, row.description, row.service, row.settings["base_url"])
        for row in session.scalars(query)
        if set(row.groups) & set(actor.groups)
    ]


def choose(session: Session, actor: Actor, url: str, name: str) -> str:
    """The identifier of the credential to fetch a repository with; empty when there is none for it.

    It is the one of this name or identifier, or else the only one of the caller's groups that is for this
    address; of several the one whose address says most.

    Raises
    ------
    Invalid
        If the caller may use none of this name, if it is for other addresses, or if several fit as well.
    """
    accounts = list_accounts(session, actor)
    if name:
        found = [each for each in accounts if name in (each.id, each.name)]
        if not found:
            offered = ", ".join(each.name for each in accounts) or "none"
            raise Invalid.field(
                "repository_account", "is none that you may use", hint=f"You may use: {offered}."
            )
        if not _is_below(url, found[0].base_url):
            raise Invalid.field(
                "repository_account",
                f"is for repositories below {found[0].base_url}",
                hint="Choose another one, or leave the field empty.",
            )
        return found[0].id
    fitting = [each for each in accounts if _is_below(url, each.base_url)]
    longest = max((len(each.base_url.rstrip("/")) for each in fitting), default=0)
    best = [each for each in fitting if len(each.base_url.rstrip("/")) == longest]
    if len(best) > 1:
        raise Invalid.field(
            "repository_account",
            f"several are for this repository: {', '.join(each.name for each in best)}",
            hint="Name the one to use.",
        )
    return best[0].id if best else ""


def login(
    context: Context, credential_id: str, url: str, *, named: bool, log: Callable[[str], None]
) -> GitLogin | None:
    """Who asks for a repository, with the credential as it is now; a new token of an App if one is needed.

    With `named` the form asked for this credential, and nothing else will do.

    Raises
    ------
    GitError
        If the credential is gone, or opens nothing here.
    """
    with context.database.session(write=False) as session:
        row = session.get(Credential, credential_id)
        if row is None or row.service not in SHOWN or not _is_below(url, row.settings["base_url"]):
            raise GitError(
                "The credential for the repository was deleted, or is for other repositories now.",
                hint="Package again with another one.",
                field="repository_account",
            )
        name, service, settings = row.name, row.service, dict(row.settings)
        secret = context.secrets.decrypt(row.secret)
    if service == GIT_TOKEN:
        log(f"Using the credential “{name}”.")
        return _token(settings, secret)
    found = app_login(_app(settings, secret), url, context.git.hosts)
    if found is not None:
        log(f"Using the GitHub App of the credential “{name}”.")
    elif named:
        raise GitError(
            f"The GitHub App of the credential “{name}” is not installed on {url}.",
            hint="An administrator of the organisation opens the App's page, chooses Configure, and selects "
            "the repository.",
            field="repository",
        )
    else:
        log(
            f"The GitHub App of the credential “{name}” is not installed on this repository; asking "
            "without it."
        )
    return found


def _token(settings: dict[str, Any], secret: dict[str, Any]) -> GitLogin:
    return GitLogin(server_of(settings["base_url"]), settings["username"], secret["token"])


def _app(settings: dict[str, Any], secret: dict[str, Any]) -> GitHubApp:
    server = server_of(settings["base_url"])
    return GitHubApp(server, settings["app_id"], secret["private_key"], settings.get("api_url") or "")


def _is_below(url: str, base: str) -> bool:
    """Is a repository's address on the server and below the path of a credential's?"""
    try:
        if server_of(url) != server_of(base):
            return False
        path, above = urlsplit(url).path, urlsplit(base).path.strip("/").lower()
    except ValueError:
        return False
    parts = path.lower().strip("/").split("/")
    wanted = above.split("/") if above else []
    return ".." not in parts and "%" not in path and parts[: len(wanted)] == wanted
