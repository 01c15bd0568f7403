"""Data sources: what notebooks may read, and the forms of their credentials."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from ..services import data_sources
from .routing import Call, Form, Page, PageQuery, View
from .texts import Port

_EDGE = r"[!-~\u00a1-\uffff]"
Name = Annotated[
    # As it is written: blanks around a name would be part of it.
    str,
    StringConstraints(strip_whitespace=False, pattern=rf"^{_EDGE}([ -~\u00a1-\uffff]{{0,253}}{_EDGE})?$"),
]
File = Annotated[str, StringConstraints(strip_whitespace=False, pattern=r"^/[^\x00-\x1f]{1,1023}$")]
Host = Annotated[
    str,
    StringConstraints(
        strip_whitespace=False,
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,40}|/[!-~]{1,106})$",
    ),
    Field(description="Name or address of the server, or the folder of its socket."),
]
Account = Annotated[
    str,
    StringConstraints(strip_whitespace=False, pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9])?$"),
]
Password = Annotated[str, StringConstraints(strip_whitespace=False, pattern=r"^[^\x00]{1,1024}$")]
Token = Annotated[str, StringConstraints(strip_whitespace=False, pattern=r"^[!-~]{1,8192}$")]
KeyFile = Annotated[str, Field(min_length=1, max_length=20_000)]
Encryption = Literal["prefer", "require", "verify-full"]
Type = Literal["sqlite", "postgres", "mysql", "mssql", "snowflake", "bigquery"]
_SCHEMA = Field(None, alias="schema", description="Where names without a schema are looked up.")


class SQLiteInputs(Form):
    """A file that workspaces see."""

    database: File


class MySQLInputs(Form):
    """A MySQL or MariaDB server."""

    host: Host
    port: Port | None = None
    database: Name | None = None
    user: Name
    password: Password | None = None
    ssl_mode: Encryption = "prefer"


class PostgresInputs(MySQLInputs):
    """A PostgreSQL server."""

    database: Name
    schema_: Name | None = _SCHEMA


class MSSQLInputs(PostgresInputs):
    """A Microsoft SQL Server; its driver checks no certificates."""

    ssl_mode: Literal["prefer", "require"] = "prefer"


class SnowflakeInputs(Form):
    """A Snowflake account; one of password, private key, access token and OAuth token proves who asks."""

    account: Account
    user: Name
    database: Name | None = None
    schema_: Name | None = _SCHEMA
    warehouse: Name | None = None
    role: Name | None = None
    password: Password | None = None
    private_key: KeyFile | None = Field(None, description="PEM.")
    private_key_passphrase: Password | None = None
    access_token: Token | None = Field(None, description="A programmatic access token.")
    oauth_token: Token | None = None


class BigQueryInputs(Form):
    """A project of BigQuery."""

    database: Name = Field(description="The project.")
    schema_: Name | None = Field(None, alias="schema", description="The data set.")
    service_account: KeyFile = Field(description="The key file of a service account, as JSON.")


class DataSourceInputsEdit(Form):
    """What may change of a data source; null takes an input away."""

    host: Host | None = None
    port: Port | None = None
    # Of files and of names alike; what a type takes is told when its inputs are put together.
    database: Name | None = None
    schema_: Name | None = _SCHEMA
    user: Name | None = None
    password: Password | None = None
    ssl_mode: Encryption | None = None
    account: Account | None = None
    warehouse: Name | None = None
    role: Name | None = None
    private_key: KeyFile | None = None
    private_key_passphrase: Password | None = None
    access_token: Token | None = None
    oauth_token: Token | None = None
    service_account: KeyFile | None = None


class DataSourceView(View):
    """A data source that the caller may use."""

    model_config = ConfigDict(serialize_by_alias=True)

    id: str
    name: str
    description: str
    datasource_type: str
    database: str | None
    schema_: str | None = Field(alias="schema")
    warehouse: str | None


class DataSourceAccessView(View):
    """What a notebook connects with; the values are secret."""

    model_config = ConfigDict(serialize_by_alias=True)

    id: str
    name: str
    datasource_type: str
    host: str | None = None
    port: int | None = None
    database: str | None = None
    schema_: str | None = _SCHEMA
    warehouse: str | None = None
    account: str | None = None
    role: str | None = None
    user: str | None = None
    ssl_mode: str | None = None
    password: str | None = None
    private_key: str | None = None
    private_key_passphrase: str | None = None
    access_token: str | None = None
    oauth_token: str | None = None
    service_account: str | None = None


class DataSourcesQuery(PageQuery):
    """Which data sources."""

    type: Type | None = Field(None, description="All when left out.")


def list_data_sources(call: Call) -> Page[DataSourceView]:
    """List the data sources of the caller's groups"""
    query = call.query
    rows, cursor = data_sources.list_data_sources(
        call.session, call.actor, datasource_type=query.type, limit=query.limit, cursor=query.cursor
    )
    return Page(items=[DataSourceView.model_validate(row) for row in rows], next_cursor=cursor)


def connect_to_data_source(call: Call) -> DataSourceAccessView:
    """Show what a notebook connects to a data source with"""
    found = data_sources.connect(call.session, call.context, call.actor, call.ids["data_source_id"])
    return DataSourceAccessView.model_validate(found)
