"""Accounts of registries of images and of git servers: their forms, and which of them the caller may use."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from ..services import registries, repositories
from .data_sources import KeyFile, Token
from .routing import Call, Form, Page, View

LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
ADDRESS = rf"^https?://({LABEL}(\.{LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(:({PORT}))?(/[A-Za-z0-9._~%/+-]*)?$"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
THIS_MACHINE = rf"(localhost|127(\.{_OCTET}){{3}}|\[::1\])"
# Passwords go over http to this machine only.
_SERVER = rf"(https://{LABEL}(\.{LABEL})*|http://{THIS_MACHINE})(:({PORT}))?"
SERVER = rf"^{_SERVER}/?$"
_PLACE = rf"^{_SERVER}(/[A-Za-z0-9._~/+-]*)?$"
REGION = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
_PREFIX = r"^[a-z0-9]([a-z0-9._/-]{0,198}[a-z0-9])?$"

Server = Annotated[str, Field(max_length=1000, pattern=SERVER)]
Place = Annotated[str, Field(max_length=1000, pattern=_PLACE)]
Prefix = Annotated[
    str | None,
    Field(
        max_length=200,
        pattern=_PREFIX,
        description="First part of the names of repositories: a360 if left out.",
    ),
]
UserName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[!-9;-~]+$")]
AppId = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9._-]+$"),
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    ),
]


class OCIRegistryInputs(Form):
    """What a registry of images needs (F305)."""

    registry_url: Server = Field(description="Its address, as https://registry.example.org.")
    username: str = Field(min_length=1, max_length=255)
    password: str = Field(min_length=1, max_length=10_000, description="A password or an access token.")
    prefix: Prefix = None


class AWSECRInputs(Form):
    """What AWS's registry of images needs (F304)."""

    registry_url: Server = Field(
        description="Its address, as https://123456789012.dkr.ecr.eu-west-1.amazonaws.com."
    )
    region: str = Field(pattern=REGION)
    access_key: str = Field(min_length=1, max_length=256)
    access_secret: str = Field(min_length=1, max_length=256)
    prefix: Prefix = None
    create_repositories: bool = Field(
        True, description="May the platform make repositories that are missing?"
    )
    endpoint_url: str | None = Field(
        None, max_length=1000, pattern=ADDRESS, description="Of ECR's API, if not AWS's own."
    )


class GitTokenInputs(Form):
    """What repositories on a git server need; the token should be able to read and nothing more."""

    base_url: Place = Field(description="The server, or a part of it: https://git.example.org/team.")
    username: UserName = Field(
        "x-access-token",
        description="What the server wants beside the token; GitHub takes any, GitLab oauth2.",
    )
    token: Token
    test_repository: Place = Field(
        pattern=r"\.git$", description="A repository that the token opens, for testing the connection."
    )


class GitHubAppInputs(Form):
    """What a GitHub App needs that is installed on the repositories (F149 to F151)."""

    base_url: Place = Field(
        "https://github.com", description="GitHub, or an Enterprise server, or an owner there."
    )
    app_id: AppId = Field(description="App ID or client ID, from the App's page.")
    private_key: KeyFile = Field(description="PEM, as GitHub makes it for the App.")
    api_url: Place | None = Field(None, description="Of the API, if not GitHub's usual one.")


class AccountInputsEdit(Form):
    """What may change of these accounts; null takes an input away."""

    registry_url: Server = Field("", min_length=1)
    username: UserName = ""
    prefix: Prefix = None
    create_repositories: bool | None = None
    base_url: Place = ""
    test_repository: Place = ""
    token: Token = ""
    app_id: AppId = ""
    api_url: Place | None = None


class RegistryView(View):
    """A registry that the caller may have images pushed to."""

    type: Literal["ecr", "oci"]
    url: str
    name: str


class RepositoryAccountView(View):
    """A credential that the caller may have repositories fetched with."""

    id: str
    name: str
    description: str
    kind: Literal["git_token", "github_app"]
    base_url: str


def list_registries(call: Call) -> Page[RegistryView]:
    """List the registries that the caller may have images pushed to"""
    found = registries.offered(call.session, call.context, call.actor)
    return Page(items=[RegistryView.model_validate(each) for each in found])


def list_repository_accounts(call: Call) -> Page[RepositoryAccountView]:
    """List the credentials that the caller may have repositories fetched with"""
    found = repositories.list_accounts(call.session, call.actor)
    return Page(items=[RepositoryAccountView.model_validate(each) for each in found])
