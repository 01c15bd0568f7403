"""Which statements reach a data source, and what USE means."""

import pytest

from a360mdk.datasources import sql
from a360mdk.datasources.login import TYPES

EVERYWHERE = [
    "SELECT 1",
    " select * from t;  ; ",
    "-- the reason\nSELECT 1 /* ; */",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "(SELECT 1) UNION (SELECT 2)",
    "SELECT 'a; DELETE FROM t', \"update\" FROM t WHERE name LIKE '%into%' -- ; DROP",
    "SELECT 'it''s; INTO' FROM t",
    "SELECT updated, into_account, t.deleted FROM t",
]
ELSEWHERE = [
    ("postgres", "SELECT $$; DELETE FROM t$$, $x$ it's $$ ; $x$"),
    ("postgres", r"SELECT E'\'; DELETE FROM t', update FROM t"),
    ("mysql", r"SELECT '\'; DELETE', `into`, INSERT('abc', 1, 1, 'x'), REPLACE(a, 'b', 'c') # ; DROP"),
    ("mysql", "SELECT TRUNCATE(1.234, 1)"),
    ("mssql", "SELECT [delete; into] FROM t"),
    ("sqlite", "SELECT `into`, [update;] FROM t"),
    ("snowflake", r"SELECT '\'; DELETE FROM t' // ; DROP"),
    ("bigquery", "SELECT '''it's; INTO''' FROM `project.set.into` # ; DROP"),
]


@pytest.mark.row("M090", "M114")
@pytest.mark.parametrize("database_type", TYPES)
@pytest.mark.parametrize("statement", EVERYWHERE)
def test_queries_are_let_through(statement: str, database_type: str) -> None:
    assert sql.select(statement, database_type) == statement.rstrip("; ")


@pytest.mark.parametrize(("database_type", "statement"), ELSEWHERE)
def test_each_database_quotes_its_way(database_type: str, statement: str) -> None:
    assert sql.select(statement, database_type) == statement


@pytest.mark.row("M090")
@pytest.mark.parametrize("database_type", TYPES)
@pytest.mark.parametrize(
    "statement",
    [
        "",
        " ; ",
        "-- SELECT 1",
        "DELETE FROM t",
        "INSERT INTO t SELECT 1",
        "DROP TABLE t",
        "EXPLAIN ANALYZE DELETE FROM t",
        "CALL f()",
        "SELECT 1; DELETE FROM t",
        "SELECT 1 INTO t",
        "SELECT * INTO OUTFILE '/tmp/x' FROM t",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
        "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
        "WITH a AS (/* hidden */ UPDATE t SET x = 1 RETURNING *) SELECT * FROM a",
        "SHOW TABLES",
        "/* a */ -- b\nPRAGMA query_only = OFF",
    ],
)
def test_what_is_no_query_is_refused(statement: str, database_type: str) -> None:
    with pytest.raises(sql.Refused):
        sql.select(statement, database_type)


@pytest.mark.parametrize(
    ("database_type", "statement"),
    [
        ("mssql", "SELECT 1 DELETE FROM t"),
        ("mssql", "SELECT 1 EXEC sp_who"),
        ("mysql", "SELECT 1 /*! INTO OUTFILE '/tmp/x' */"),
        ("mysql", "SELECT 1 /*M! INTO OUTFILE '/tmp/x' */"),
        ("postgres", "SELECT '\\'; DELETE FROM t --'"),
        ("postgres", "SELECT $a$ $b$ $a$; DELETE FROM t --$b$"),
    ],
)
def test_what_a_database_would_run_as_more_is_refused(database_type: str, statement: str) -> None:
    with pytest.raises(sql.Refused):
        sql.select(statement, database_type)


def test_what_is_no_text_is_refused() -> None:
    for statement in (None, b"SELECT 1", 5):
        with pytest.raises(sql.Refused, match="is a text"):
            sql.select(statement, "sqlite")  # type: ignore[arg-type]


@pytest.mark.row("M091")
@pytest.mark.parametrize("database_type", TYPES)
def test_commands_are_three(database_type: str) -> None:
    for statement in ("DESCRIBE t", "desc t;", "SHOW TABLES", "use x"):
        assert sql.command(statement, database_type)[0] == statement.rstrip(";")
    for statement in (
        "SELECT 1",
        "DROP TABLE t",
        "SHOW TABLES; DROP TABLE t",
        "",
        "DESCRIBE ANALYZE DELETE FROM t",
    ):
        with pytest.raises(sql.Refused):
            sql.command(statement, database_type)


def used(statement: str, database_type: str) -> dict[str, str]:
    return sql.use(sql.command(statement, database_type)[1], database_type)


@pytest.mark.row("M092")
@pytest.mark.parametrize(
    ("database_type", "statement", "place"),
    [
        ("snowflake", "USE WAREHOUSE big", {"warehouse": "BIG"}),
        ("snowflake", 'USE SCHEMA "Raw data"', {"schema": "Raw data"}),
        ("snowflake", "USE DATABASE sales;", {"database": "SALES"}),
        ("snowflake", "USE SCHEMA sales.raw", {"database": "SALES", "schema": "RAW"}),
        ("snowflake", "USE sales", {"database": "SALES"}),
        ("postgres", "USE SCHEMA Raw", {"schema": "raw"}),
        ("postgres", "USE sales", {"database": "sales"}),
        ("mysql", "USE `my sales`", {"database": "my sales"}),
        ("mysql", "USE SCHEMA sales", {"database": "sales"}),
        ("mssql", "USE [my ]]sales]", {"database": "my ]sales"}),
        ("bigquery", "USE DATASET raw", {"schema": "raw"}),
        ("bigquery", "USE other.raw", {"database": "other", "schema": "raw"}),
    ],
)
def test_use_names_a_place(database_type: str, statement: str, place: dict[str, str]) -> None:
    assert used(statement, database_type) == place


@pytest.mark.row("M092")
@pytest.mark.parametrize(
    ("database_type", "statement"),
    [
        ("snowflake", "USE ROLE accountadmin"),
        ("snowflake", "use secondary roles all"),
        ("postgres", "USE ROLE postgres"),
        ("postgres", "USE WAREHOUSE big"),
        ("mssql", "USE SCHEMA dbo"),
        ("sqlite", "USE main"),
        ("mysql", "USE"),
        ("mysql", "USE 'sales'"),
        ("mysql", "USE a b c"),
        ("snowflake", "USE a.b.c"),
    ],
)
def test_use_does_nothing_else(database_type: str, statement: str) -> None:
    with pytest.raises(sql.Refused):
        used(statement, database_type)
