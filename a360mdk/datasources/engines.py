"""SQLAlchemy engines of data sources: addresses, arguments of drivers, and sessions that only read."""

import importlib
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from a360mdk.datasources.login import Login, Secret, SecretBytes, scrub
from a360mdk.exceptions import DataSourceError
from a360runtime.paths import resolve

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

CONNECT_SECONDS = 10
_REFUSED = (
    "password",
    "denied",
    "authenticat",
    "login failed",
    "not authorized",
    "unauthorized",
    "invalid_grant",
    "jwt",
)


@dataclass(frozen=True)
class Driver:
    """What SQLAlchemy needs for a database, and how a notebook gets it."""

    module: str
    package: str
    extra: str


DRIVERS = {
    "postgres": Driver("psycopg", "psycopg[binary]", "postgres"),
    "mysql": Driver("pymysql", "pymysql", "mysql"),
    "mssql": Driver("pymssql", "pymssql", "mssql"),
    "snowflake": Driver("snowflake.sqlalchemy", "snowflake-sqlalchemy", "snowflake"),
    "bigquery": Driver("sqlalchemy_bigquery", "sqlalchemy-bigquery", "bigquery"),
}
_SQLALCHEMY = Driver("sqlalchemy", "sqlalchemy", "datasources")


def need_driver(database_type: str) -> None:
    """See that the packages for a database are there.

    Raises:
        DataSourceError: naming the extra that has what is missing.
    """
    for driver in (_SQLALCHEMY, DRIVERS.get(database_type, _SQLALCHEMY)):
        try:
            importlib.import_module(driver.module)
        except ImportError:
            missing = driver
            break
    else:
        return
    raise DataSourceError(
        f"This environment cannot connect to {database_type}.",
        f"The package {missing.package} is not installed (extra “{missing.extra}” of the kit).",
        f"Run !pip install '{missing.package}' in a cell and try again.",
        code="driver-missing",
    )


def url(login: Login) -> "URL":
    """The address of a database, without any secret."""
    from sqlalchemy import URL

    make = {"sqlite": _sqlite_url, "snowflake": _snowflake_url}.get(login.database_type)
    if make:
        return make(login)
    if login.database_type == "bigquery":
        return URL.create("bigquery", host=login.database, database=login.schema)
    name = {"postgres": "postgresql+psycopg", "mysql": "mysql+pymysql", "mssql": "mssql+pymssql"}
    host, query = login.host, {"charset": "utf8mb4"} if login.database_type == "mysql" else {}
    if host and host.startswith("/"):  # the socket of a server on this machine
        query["unix_socket" if login.database_type == "mysql" else "host"] = host
        host = None
    return URL.create(
        name[login.database_type],
        username=login.user,
        host=host,
        port=login.port,
        database=login.database,
        query=query,
    )


def _sqlite_url(login: Login) -> "URL":
    from sqlalchemy import URL

    if login.database in (None, "", ":memory:"):
        return URL.create("sqlite")
    path = str(resolve(str(login.database)).absolute())
    # Asked for read-only, a file that is missing is an error, and not made.
    return URL.create("sqlite", database=f"file:{quote(path)}", query={"mode": "ro", "uri": "true"})


def _snowflake_url(login: Login) -> "URL":
    from sqlalchemy import URL

    names = {"schema": login.schema, "warehouse": login.warehouse, "role": login.role}
    return URL.create(
        "snowflake",
        username=login.user,
        host=login.account,
        database=login.database,
        query={name: value for name, value in names.items() if value},
    )


def driver_arguments(login: Login, *, patient: bool = True) -> dict[str, Any]:
    """What the driver is told beside the address: secrets, encryption, and how long to wait for the server.

    Args:
        login: where and who.
        patient: whether statements may take as long as they like.
    """
    encrypted = login.ssl_mode != "prefer"
    given: dict[str, Any] = {"password": login.password} if login.password else {}
    match login.database_type:
        case "postgres":
            given |= {
                "connect_timeout": CONNECT_SECONDS,
                "sslmode": login.ssl_mode,
                "application_name": "a360",
            }
            if login.ssl_mode == "verify-full":
                given["sslrootcert"] = "system"
        case "mysql":
            given |= {"connect_timeout": CONNECT_SECONDS}
            if not patient:
                given |= {"read_timeout": CONNECT_SECONDS, "write_timeout": CONNECT_SECONDS}
            if encrypted:
                given["ssl"] = _ssl_context(verified=login.ssl_mode == "verify-full")
        case "mssql":
            given |= {"login_timeout": CONNECT_SECONDS, "appname": "a360"}
            given |= {"encryption": "require"} if encrypted else {}
            given |= {} if patient else {"timeout": CONNECT_SECONDS}
        case "snowflake":
            given |= {
                "login_timeout": CONNECT_SECONDS,
                "validate_default_parameters": True,
                **_snowflake_proof(login),
            }
    return given


def _ssl_context(*, verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _snowflake_proof(login: Login) -> dict[str, Any]:
    """How Snowflake is shown who asks, where it is not by password."""
    if login.private_key:
        return {"authenticator": "SNOWFLAKE_JWT", "private_key": _key_bytes(login)}
    if login.access_token:
        return {"authenticator": "PROGRAMMATIC_ACCESS_TOKEN", "token": login.access_token}
    if login.oauth_token:
        return {"authenticator": "oauth", "token": login.oauth_token}
    return {}


def _key_bytes(login: Login) -> SecretBytes:
    """The private key as Snowflake's driver takes it."""
    from cryptography.hazmat.primitives import serialization

    phrase = login.private_key_passphrase
    key = serialization.load_pem_private_key(
        (login.private_key or "").encode(), phrase.encode() if phrase else None
    )
    der, pkcs8 = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    return SecretBytes(key.private_bytes(der, pkcs8, serialization.NoEncryption()))


def session_statements(login: Login) -> list[str]:
    """What every new connection is told first: to read only, and which schema is meant."""
    match login.database_type:
        case "sqlite":
            return ["PRAGMA query_only = ON"]
        case "postgres":
            statements = ["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"]
            if login.schema:
                statements.append(f"SET search_path TO {quoted(login.schema)}")
            return statements
        case "mysql":
            return ["SET SESSION TRANSACTION READ ONLY"]
    return []  # these know read-only roles only


def quoted(name: str) -> str:
    """A name as an identifier of standard SQL."""
    return '"' + name.replace('"', '""') + '"'


def make_engine(login: Login, *, patient: bool = True) -> "Engine":
    """An engine that connects when it is first used.

    No secret is in its address, its arguments or the errors it raises: a listener adds them when it connects.

    Raises:
        DataSourceError: the driver is missing, or what it needs cannot be read.
    """
    need_driver(login.database_type)
    from sqlalchemy import create_engine, event

    more: dict[str, Any] = {}
    failure = None
    try:
        arguments = driver_arguments(login, patient=patient)
        if login.database_type == "bigquery" and login.service_account:
            more["credentials_info"] = json.loads(login.service_account)
        address = url(login)
        engine = create_engine(address, pool_pre_ping=True, pool_recycle=1800, hide_parameters=True, **more)
    except DataSourceError:
        raise
    except Exception as error:  # keys that are none, certificates: each driver has its own errors
        failure = refusal(login, error)
    if failure:
        raise failure

    @event.listens_for(engine, "do_connect")
    def connected(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
        return _open(login, dialect, cargs, {**cparams, **arguments})

    return engine


def _open(login: Login, dialect: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
    """Connect. A failure is told without the driver's frames, whose variables hold secrets."""
    connection, failure = None, None
    try:
        connection = dialect.connect(*cargs, **cparams)
        cursor = connection.cursor()
        for statement in session_statements(login):
            cursor.execute(statement)
        cursor.close()
        connection.commit()
    except Exception as error:
        if connection is not None:
            connection.close()
        failure = refusal(login, error)
    if failure:
        raise failure
    return connection


def refusal(login: Login, error: BaseException) -> DataSourceError:
    """Say that there is no connection, and why, in the words of the driver but without secrets."""
    why = reason(error, login.secrets)
    refused = any(mark in why.lower() for mark in _REFUSED)
    return DataSourceError(
        f"There is no connection to {login.place}.",
        why,
        "The credentials may be wrong or have expired: ask the client admin to test the data source."
        if refused
        else "Check that the database is there and can be reached from here; the client admin can test it.",
        code="refused" if refused else "unreachable",
    )


def reason(error: BaseException, secrets: list[Secret]) -> str:
    """The words of an error without secrets, and without what SQLAlchemy adds to the driver's."""
    told = getattr(error, "orig", None) or error
    parts = (
        [str(arg) for arg in told.args if not isinstance(arg, bytes)]
        if isinstance(told, OSError)
        else [str(told)]
    )
    return scrub(": ".join(parts).strip() or type(told).__name__, secrets)


def ping(engine: "Engine") -> None:
    """Connect and ask for one value.

    Raises:
        DataSourceError: there is no connection.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1").scalar()
