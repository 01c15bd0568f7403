"""Credentials of accounts outside the platform."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, RootModel, Tag
from sqlalchemy.orm import Session

from ..entities import Credential
from ..services import credentials
from . import data_sources as d
from .problems import CHOICE, NO_CHOICE
from .routing import AsyncCall, Call, Form, Page, PageQuery, View
from .texts import DISPLAY_NAME

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
ADDRESS = rf"^https?://({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(:({_PORT}))?(/[A-Za-z0-9._~%/+-]*)?$"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_THIS_MACHINE = rf"(localhost|127(\.{_OCTET}){{3}}|\[::1\])"
# A registry's: passwords go over http to this machine only.
SERVER = rf"^(https://{_LABEL}(\.{_LABEL})*|http://{_THIS_MACHINE})(:({_PORT}))?/?$"
# A broker's. Which of its parts go together is checked with more words than a pattern has.
BROKER = rf"^mqtts?://({_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(:({_PORT}))?/?$"
# Whoever reaches an engine rules its machine: from afar it is reached through a tunnel that ends here.
ENGINE = rf"^(unix:///[A-Za-z0-9._/-]+|tcp://{_THIS_MACHINE}:({_PORT}))$"
ROLE = r"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$"
REGION = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"


HOST = rf"^{_LABEL}(\.{_LABEL})*$"
OBJECT = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
GATEWAY_REF = r"^([a-z0-9][a-z0-9-]*/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


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


class InputsEdit(d.DataSourceInputsEdit):
    """What changes of an account; what is left out stays."""

    account_id: str | None = Field(None, pattern="^[0-9]{12}$")
    access_key: str = Field("", min_length=1, max_length=256)
    access_secret: str = Field("", min_length=1, max_length=256)
    region: str = Field("", pattern=REGION)
    endpoint_url: str | None = Field(None, max_length=1000, pattern=ADDRESS)
    role_arn: str | None = Field(None, max_length=1000, pattern=ROLE)
    registry_url: str = Field("", min_length=1, max_length=1000, pattern=SERVER)
    username: str = Field("", min_length=1, max_length=255)
    kubeconfig: str = Field("", min_length=1, max_length=65536)
    expose: Literal["gateway", "ingress", "http_route"] = "gateway"
    ingress_class: str | None = Field(None, max_length=63, pattern=OBJECT)
    tls_secret: str | None = Field(None, max_length=253, pattern=OBJECT)
    gateway_ref: str | None = Field(None, max_length=300, pattern=GATEWAY_REF)
    broker_url: str = Field("", min_length=1, max_length=1000, pattern=BROKER)
    system_key: d.Token | None = None
    user_token: d.Token | None = None
    ca_certificate: str | None = Field(None, min_length=1, max_length=100_000)
    mqtt_version: Literal["3.1.1", "5"] = "3.1.1"
    answer_qos: Literal[1, 2] = 2
    engine_url: str | None = Field(None, max_length=1000, pattern=ENGINE)


class OCIRegistryInputs(Form):
    """What a registry of images needs (F305)."""

    registry_url: str = Field(
        max_length=1000, pattern=SERVER, description="Its address, as https://registry.example.org."
    )
    username: str = Field(min_length=1, max_length=255)
    password: str = Field(min_length=1, max_length=10_000, description="A password or an access token.")


class ClearbladeInputs(Form):
    """What a broker needs: a user with a password or, at ClearBlade, a system key with a user's token."""

    broker_url: str = Field(
        max_length=1000, pattern=BROKER, description="As mqtts://broker.example.org:8883; 1884 at ClearBlade."
    )
    username: str | None = Field(None, min_length=1, max_length=255)
    password: d.Password | None = None
    system_key: d.Token | None = None
    user_token: d.Token | None = None
    ca_certificate: str | None = Field(
        None, min_length=1, max_length=100_000, description="PEM of the CA of a broker with one of its own."
    )
    mqtt_version: Literal["3.1.1", "5"] = "3.1.1"
    answer_qos: Literal[1, 2] = Field(
        2, description="1 for brokers without quality 2; an answer may then arrive twice."
    )
    engine_url: str | None = Field(
        None,
        max_length=1000,
        pattern=ENGINE,
        description="The edge's Docker engine; this machine's if left out.",
    )


class _CredentialForm(Form):
    """What every new credential says (F084 to F087); data repos make their own (C03)."""

    name: str = Field(min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    description: str = Field(min_length=1, max_length=2000)
    groups: list[str] = Field(min_length=1, max_length=100, description="Groups whose members may use it.")


class OCIRegistryCredentialForm(_CredentialForm):
    """A registry of images."""

    category: Literal["api_token"] = "api_token"
    service: Literal["oci_registry"]
    inputs: OCIRegistryInputs


class KubernetesInputs(Form):
    """What a Kubernetes cluster needs, EKS included (F119 to F126)."""

    kubeconfig: str = Field(
        min_length=1,
        max_length=65536,
        description="One cluster, one user, one context, with all they need in it; YAML or JSON.",
    )
    expose: Literal["gateway", "ingress", "http_route"] = Field(
        "gateway", description="How calls come in: the platform's gateway, an Ingress or the Gateway API."
    )
    host: str | None = Field(None, max_length=253, pattern=HOST, description="Name callers use.")
    ingress_class: str | None = Field(None, max_length=63, pattern=OBJECT)
    tls_secret: str | None = Field(
        None, max_length=253, pattern=OBJECT, description="Secret with the certificate, in each namespace."
    )
    gateway_ref: str | None = Field(
        None, max_length=300, pattern=GATEWAY_REF, description="Gateway of the Gateway API: namespace/name."
    )


class KubernetesCredentialForm(_CredentialForm):
    """A cluster to publish on."""

    category: Literal["deployment_target"] = "deployment_target"
    service: Literal["kubernetes"]
    inputs: KubernetesInputs


class ClearbladeCredentialForm(_CredentialForm):
    """An MQTT broker, as of ClearBlade, and a host at its edge."""

    category: Literal["api_token"] = "api_token"
    service: Literal["clearblade"]
    inputs: ClearbladeInputs


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

    def prepared(session: Session) -> Callable[[], None]:
        return credentials.connection(session, call.context, session.get_one(Credential, credential_id))

    # The server may take its time: no transaction is open meanwhile.
    found = await call.run(credentials.test, await call.db(prepared, write=False))

    def stored(session: Session) -> None:
        session.get_one(Credential, credential_id).last_connection = found

    await call.db(stored)
    return ConnectionView.model_validate(found)
