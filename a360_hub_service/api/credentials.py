"""Credentials of accounts outside the platform."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, RootModel, Tag
from sqlalchemy.orm import Session

from ..entities import Credential
from ..services import credentials
from . import accounts as a
from . import data_sources as d
from . import places as p
from .accounts import ADDRESS, REGION
from .problems import CHOICE, NO_CHOICE
from .routing import AsyncCall, Call, Form, Page, PageQuery, View
from .texts import DISPLAY_NAME

ROLE = r"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$"


class S3Inputs(Form):
    """What an S3 account needs (F097 to F100)."""

    account_id: str | None = Field(None, pattern="^[0-9]{12}$", description="AWS account number.")
    access_key: str = Field(min_length=1, max_length=256)
    access_secret: str = Field(min_length=1, max_length=256)
    region: str = Field(pattern=REGION)
    endpoint_url: str | None = Field(
        None, max_length=1000, pattern=ADDRESS, description="Address of an S3 server that is not AWS."
    )
    role_arn: str | None = Field(
        None, max_length=1000, pattern=ROLE, description="A role for short-lived keys of notebooks."
    )


class InputsEdit(a.AccountInputsEdit, p.PlaceInputsEdit, d.DataSourceInputsEdit):
    """What changes of an account; what is left out stays."""

    account_id: str | None = Field(None, pattern="^[0-9]{12}$")
    access_key: str = Field("", min_length=1, max_length=256)
    access_secret: str = Field("", min_length=1, max_length=256)
    region: str = Field("", pattern=REGION)
    endpoint_url: str | None = Field(None, max_length=1000, pattern=ADDRESS)
    role_arn: str | None = Field(None, max_length=1000, pattern=ROLE)


class _CredentialForm(Form):
    """What every new credential says (F084 to F087); data repos make their own (C03)."""

    name: str = Field(min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    description: str = Field(min_length=1, max_length=2000)
    groups: list[str] = Field(min_length=1, max_length=100, description="Groups whose members may use it.")


class _TokenForm(_CredentialForm):
    category: Literal["api_token"] = "api_token"


class OCIRegistryCredentialForm(_TokenForm):
    """A registry of images."""

    service: Literal["oci_registry"]
    inputs: a.OCIRegistryInputs


class AWSECRCredentialForm(_TokenForm):
    """A registry of images at AWS."""

    service: Literal["aws_ecr"]
    inputs: a.AWSECRInputs


class GitTokenCredentialForm(_TokenForm):
    """Repositories of scripts on a git server."""

    service: Literal["git_token"]
    inputs: a.GitTokenInputs


class GitHubAppCredentialForm(_TokenForm):
    """Repositories of scripts that a GitHub App is installed on."""

    service: Literal["github_app"]
    inputs: a.GitHubAppInputs


class KubernetesCredentialForm(_CredentialForm):
    """A cluster to publish on."""

    category: Literal["deployment_target"] = "deployment_target"
    service: Literal["kubernetes"]
    inputs: p.KubernetesInputs


class ClearbladeCredentialForm(_TokenForm):
    """An MQTT broker, as of ClearBlade, and a host at its edge."""

    service: Literal["clearblade"]
    inputs: p.ClearbladeInputs


class _DataSourceForm(_CredentialForm):
    category: Literal["data_source"] = "data_source"


class S3CredentialForm(_DataSourceForm):
    """Buckets."""

    service: Literal["aws_s3"] = "aws_s3"
    inputs: S3Inputs


class SQLiteCredentialForm(_DataSourceForm):
    """A data source that is a file."""

    service: Literal["sqlite"]
    inputs: d.SQLiteInputs


class PostgresCredentialForm(_DataSourceForm):
    """A data source in PostgreSQL."""

    service: Literal["postgres"]
    inputs: d.PostgresInputs


class MySQLCredentialForm(_DataSourceForm):
    """A data source in MySQL or MariaDB."""

    service: Literal["mysql"]
    inputs: d.MySQLInputs


class MSSQLCredentialForm(_DataSourceForm):
    """A data source in Microsoft SQL Server."""

    service: Literal["mssql"]
    inputs: d.MSSQLInputs


class SnowflakeCredentialForm(_DataSourceForm):
    """A data source in Snowflake."""

    service: Literal["snowflake"]
    inputs: d.SnowflakeInputs


class BigQueryCredentialForm(_DataSourceForm):
    """A data source in BigQuery."""

    service: Literal["bigquery"]
    inputs: d.BigQueryInputs


def _chosen(body: Any) -> Any:
    service = body.get("service", "aws_s3") if isinstance(body, dict) else getattr(body, "service", None)
    return f"{CHOICE}{service}" if isinstance(service, str) else None


class CredentialForm(
    RootModel[
        Annotated[
            Annotated[S3CredentialForm, Tag(f"{CHOICE}aws_s3")]
            | Annotated[OCIRegistryCredentialForm, Tag(f"{CHOICE}oci_registry")]
            | Annotated[KubernetesCredentialForm, Tag(f"{CHOICE}kubernetes")]
            | Annotated[ClearbladeCredentialForm, Tag(f"{CHOICE}clearblade")]
            | Annotated[AWSECRCredentialForm, Tag(f"{CHOICE}aws_ecr")]
            | Annotated[GitTokenCredentialForm, Tag(f"{CHOICE}git_token")]
            | Annotated[GitHubAppCredentialForm, Tag(f"{CHOICE}github_app")]
            | Annotated[SQLiteCredentialForm, Tag(f"{CHOICE}sqlite")]
            | Annotated[PostgresCredentialForm, Tag(f"{CHOICE}postgres")]
            | Annotated[MySQLCredentialForm, Tag(f"{CHOICE}mysql")]
            | Annotated[MSSQLCredentialForm, Tag(f"{CHOICE}mssql")]
            | Annotated[SnowflakeCredentialForm, Tag(f"{CHOICE}snowflake")]
            | Annotated[BigQueryCredentialForm, Tag(f"{CHOICE}bigquery")],
            Discriminator(
                _chosen,
                custom_error_type=NO_CHOICE,
                custom_error_message=f"is none of {', '.join(credentials.SHOWN)}",
            ),
        ]
    ]
):
    """A new credential: its service says which inputs it takes."""

    def spec(self) -> credentials.CredentialSpec:
        """What the use case takes."""
        return credentials.CredentialSpec(**self.root.model_dump(by_alias=True))


class CredentialEdit(Form):
    """What changes; what is left out stays, secrets too."""

    name: str = Field("", min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    description: str = Field("", min_length=1, max_length=2000)
    groups: list[str] = Field(default_factory=list, min_length=1, max_length=100)
    inputs: InputsEdit = Field(default_factory=InputsEdit)


class ConnectionView(View):
    """What the last test of a credential found (F093)."""

    at: datetime
    ok: bool
    message: str


class CredentialView(View):
    """A credential without its secrets."""

    id: str
    name: str
    description: str
    category: str
    service: str
    settings: dict[str, Any]
    groups: list[str]
    last_connection: ConnectionView | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class CredentialsQuery(PageQuery):
    """Which credentials, and in which order."""

    category: Literal["data_source", "data_repo", "api_token", "deployment_target"] | None = Field(
        None, description="All when left out."
    )
    sort: Literal["name", "service", "group", "last_connection"] = "name"


def list_credentials(call: Call) -> Page[CredentialView]:
    """List credentials"""
    query = call.query
    rows, cursor = credentials.list_credentials(
        call.session, category=query.category, sort=query.sort, limit=query.limit, cursor=query.cursor
    )
    return Page(items=[CredentialView.model_validate(row) for row in rows], next_cursor=cursor)


def create_credential(call: Call) -> CredentialView:
    """Add a credential"""
    row = credentials.create(call.session, call.context, call.actor, call.body.spec())
    return CredentialView.model_validate(row)


def get_credential(call: Call) -> CredentialView:
    """Show a credential without its secrets"""
    return CredentialView.model_validate(call.entity)


def edit_credential(call: Call) -> CredentialView:
    """Change a credential"""
    changes = call.body.model_dump(exclude_unset=True, by_alias=True)
    return CredentialView.model_validate(credentials.edit(call.session, call.context, call.entity, changes))


def delete_credential(call: Call) -> None:
    """Delete a credential"""
    credentials.delete(call.session, call.entity)


async def test_credential(call: AsyncCall) -> ConnectionView:
    """Test whether a credential works"""
    credential_id = call.ids["credential_id"]

    def prepared(session: Session) -> Callable[[], str | None]:
        return credentials.connection(session, call.context, session.get_one(Credential, credential_id))

    # The server may take its time: no transaction is open meanwhile.
    found = await call.run(credentials.test, await call.db(prepared, write=False))

    def stored(session: Session) -> None:
        session.get_one(Credential, credential_id).last_connection = found

    await call.db(stored)
    return ConnectionView.model_validate(found)
