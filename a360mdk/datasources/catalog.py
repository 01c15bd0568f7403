"""DESCRIBE and SHOW, also where a database has no such statements."""

import re
from typing import TYPE_CHECKING, Any

from a360mdk.datasources import sql
from a360mdk.datasources.engines import quoted
from a360mdk.datasources.sql import Refused, Token

if TYPE_CHECKING:
    import pandas
    from sqlalchemy import Connection

NATIVE = ("mysql", "snowflake")
"""Databases that have both statements themselves."""
SHOWN = ("TABLES", "VIEWS", "COLUMNS", "SCHEMAS", "DATABASES")
_DATABASES = {
    "postgres": "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname",
    "mssql": "SELECT name FROM sys.databases ORDER BY name",
    "sqlite": "SELECT name FROM pragma_database_list ORDER BY seq",
}


def is_native(found: list[Token], database_type: str) -> bool:
    """Whether the database answers the statement by itself."""
    if database_type in NATIVE:
        return True
    # PostgreSQL shows settings.
    asked = found[1].word if len(found) > 1 else ""
    return database_type == "postgres" and found[0].word == "SHOW" and asked not in ("", *SHOWN)


def answer(
    connection: "Connection", found: list[Token], database_type: str, schema: str | None
) -> "pandas.DataFrame":
    """Answer DESCRIBE or SHOW from what SQLAlchemy knows of the database.

    Raises:
        Refused: the statement is none of those that are understood.
    """
    import pandas

    if found[0].word == "DESCRIBE":
        rest = found[2:] if len(found) > 2 and found[1].word in ("TABLE", "VIEW") else found[1:]
        return _columns(connection, rest, database_type, schema)
    what = found[1].word if len(found) > 1 else ""
    if what not in SHOWN:
        raise Refused(f"SHOW takes one of {', '.join(SHOWN)}")
    rest, like = _like(found[2:])
    if rest and rest[0].word in ("FROM", "IN"):
        rest = (
            rest[2:]
            if len(rest) > 2 and rest[1].word in ("SCHEMA", "DATABASE", "TABLE", "VIEW")
            else rest[1:]
        )
    elif rest:
        raise Refused(f"{rest[0].text} is not understood after SHOW {what}")
    if what == "COLUMNS":
        frame = _columns(connection, rest, database_type, schema)
    elif what in ("SCHEMAS", "DATABASES"):
        frame = pandas.DataFrame({"name": _containers(connection, what, database_type)})
    else:
        frame = _relations(connection, what, _one(rest, database_type) if rest else schema)
    matching = [like is None or bool(like.fullmatch(name)) for name in frame["name"]]
    return frame[matching].reset_index(drop=True)


def _like(found: list[Token]) -> tuple[list[Token], re.Pattern[str] | None]:
    """Take LIKE 'pattern' off the end."""
    if len(found) < 2 or found[-2].word not in ("LIKE", "ILIKE") or found[-1].kind != "text":
        return found, None
    wild = {"%": ".*", "_": "."}
    pattern = "".join(wild.get(sign, re.escape(sign)) for sign in found[-1].text[1:-1].replace("''", "'"))
    return found[:-2], re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _one(found: list[Token], database_type: str) -> str:
    return sql.names(found, database_type)[-1]


def _relations(connection: "Connection", what: str, schema: str | None) -> "pandas.DataFrame":
    import pandas
    from sqlalchemy import inspect

    inspector = inspect(connection)
    found = inspector.get_table_names(schema) if what == "TABLES" else inspector.get_view_names(schema)
    shown = schema or inspector.default_schema_name
    return pandas.DataFrame({"name": sorted(found), "schema": [shown] * len(found)})


def _containers(connection: "Connection", what: str, database_type: str) -> list[Any]:
    from sqlalchemy import inspect

    if what == "SCHEMAS":
        return sorted(inspect(connection).get_schema_names())
    if database_type == "bigquery":
        return [connection.engine.url.host]
    return list(connection.exec_driver_sql(_DATABASES[database_type]).scalars())


def need_schema(connection: "Connection", schema: str) -> None:
    """See that there is a schema of this name.

    Raises:
        Refused: there is none.
    """
    from sqlalchemy import inspect

    if not inspect(connection).has_schema(schema):
        raise Refused(f"there is no schema {schema}; SHOW SCHEMAS lists them")


def _columns(
    connection: "Connection", found: list[Token], database_type: str, schema: str | None
) -> "pandas.DataFrame":
    import pandas
    from sqlalchemy import inspect
    from sqlalchemy.exc import NoSuchTableError

    path = sql.names(found, database_type)
    table, inside = path[-1], path[-2] if len(path) > 1 else schema
    inspector = inspect(connection)
    try:
        columns = inspector.get_columns(table, inside)
        keys = set(inspector.get_pk_constraint(table, inside).get("constrained_columns") or ())
    except NoSuchTableError:
        raise Refused(f"there is no table {'.'.join(quoted(part) for part in path)}") from None
    rows = [
        {
            "name": column["name"],
            "type": str(column["type"]),
            "nullable": bool(column["nullable"]),
            "default": column.get("default"),
            "primary_key": column["name"] in keys,
        }
        for column in columns
    ]
    return pandas.DataFrame(rows, columns=["name", "type", "nullable", "default", "primary_key"])
