"""Data sources from a notebook, on real databases."""

import sqlite3
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from a360mdk import A360AI, DataSource
from a360mdk.datasources import frames
from a360mdk.exceptions import DataSourceError
from tests.kit.conftest import Workspace
from tests.support.mariadb import mariadb
from tests.support.postgres import Server
from tests.support.service import free_port

# Servers that one worker starts.
pytestmark = pytest.mark.xdist_group("data-sources")
TABLE = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, paid NUMERIC(8, 2), since DATE);
INSERT INTO customers VALUES (1, 'Ada 100%', 10.5, '2026-01-02'), (2, 'Ben :x', NULL, NULL);
CREATE VIEW paying AS SELECT id FROM customers WHERE paid IS NOT NULL;
"""
KINDS = ["sqlite", "postgres", "mysql"]


@dataclass
class Database:
    """A database with a table of customers, and how a reader gets in."""

    kind: str
    inputs: dict[str, Any]
    other: str = ""
    secret: str = ""

    def alone(self) -> DataSource:
        """A data source of it that the platform knows nothing of."""
        given = self.inputs
        host = f"{given['host']}:{given['port']}" if "port" in given else given.get("host")
        return DataSource(
            given["database"], given.get("user"), given.get("password"), host, database_type=self.kind
        )


@pytest.fixture(scope="module")
def databases() -> dict[str, Database]:
    """Databases as they are made; a server starts when the first test asks for it."""
    return {}


def make_sqlite(folder: Path) -> Database:
    path = folder / "sales.db"
    connection = sqlite3.connect(path)
    connection.executescript(TABLE)
    connection.close()
    return Database("sqlite", {"database": str(path)})


def make_postgres(server: Server) -> Database:
    socket, user, password = server.new_login()
    name, other = (str(make_url(server.new_database()).database) for _ in range(2))
    engine = create_engine(
        make_url(server.url).set(database=name),
        isolation_level="AUTOCOMMIT",
        execution_options={"no_parameters": True},
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(TABLE)
        connection.exec_driver_sql("CREATE SCHEMA raw; CREATE TABLE raw.visits (day DATE)")
        # It may write: what stops it is the session.
        connection.exec_driver_sql(
            f"GRANT ALL ON ALL TABLES IN SCHEMA public, raw TO {user}; GRANT USAGE ON SCHEMA raw TO {user}"
        )
    engine.dispose()
    inputs = {"host": socket, "database": name, "user": user, "password": password}
    return Database("postgres", inputs, other, password)


@pytest.fixture(scope="module")
def maria() -> Iterator[Database]:
    """MariaDB, where it is installed."""
    with mariadb() as server:
        password = f"pa55'@:/ {uuid.uuid4().hex}"
        quoted = password.replace("'", "''")
        server.run(
            f"CREATE DATABASE sales; CREATE DATABASE other; CREATE USER reader@'%' IDENTIFIED BY '{quoted}';"
            f"GRANT ALL ON *.* TO reader@'%'; USE sales; {TABLE}"
        )
        inputs = {
            "host": server.host,
            "port": server.port,
            "database": "sales",
            "user": "reader",
            "password": password,
        }
        yield Database("mysql", inputs, "other", password)


@pytest.fixture(params=KINDS)
def database(
    request: pytest.FixtureRequest, databases: dict[str, Database], tmp_path_factory: pytest.TempPathFactory
) -> Database:
    """Each database in turn."""
    if request.param not in databases:
        match request.param:
            case "sqlite":
                databases["sqlite"] = make_sqlite(tmp_path_factory.mktemp("sqlite"))
            case "postgres":
                databases["postgres"] = make_postgres(request.getfixturevalue("postgresql"))
            case "mysql":
                databases["mysql"] = request.getfixturevalue("maria")
    return databases[request.param]


def offer(workspace: Workspace, kind: str, inputs: dict[str, Any], **more: Any) -> str:
    """Give a database to the scientist's group; the name of the data source."""
    name = more.pop("name", f"{kind} {uuid.uuid4().hex[:8]}")
    body = {
        "name": name,
        "description": "Sales",
        "service": kind,
        "groups": ["Data Scientists"],
        "inputs": inputs,
    }
    with workspace.service.client("admin") as admin:
        answer = admin.post("/credentials", json={**body, **more})
        assert answer.status_code == 201, answer.text
        if not more:
            test = admin.post(f"/credentials/{answer.json()['id']}/test").json()
            assert test["ok"] == (inputs.get("password") != "wrong"), test
    return str(name)


@pytest.fixture
def source(workspace: Workspace, ai: A360AI, database: Database) -> Iterator[DataSource]:
    """A connected data source."""
    connected = ai.connect_to_datasource(offer(workspace, database.kind, database.inputs), database.kind)
    yield connected
    connected.close()


def error_log(workspace: Workspace) -> str:
    path = workspace.home / "datasource_errors.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.row("M088")
def test_data_sources_are_listed(workspace: Workspace, ai: A360AI) -> None:
    inputs = {
        "account": "a-b",
        "user": "U",
        "database": "D",
        "schema": "S",
        "warehouse": "W",
        "password": "p",
    }
    one = offer(workspace, "snowflake", inputs, description="Cold")
    offer(workspace, "sqlite", {"database": "/x.db"}, groups=["ML Engineers"], name="not mine")
    two = offer(workspace, "sqlite", {"database": "/x.db"}, description="File")
    listed = ai.list_datasources()
    columns = ["name", "description", "datasource_type", "database", "schema", "warehouse"]
    assert list(listed.columns) == columns
    assert list(ai.list_datasources("bigquery").columns) == columns
    assert {one, two} <= set(listed["name"])
    assert "not mine" not in set(listed["name"])
    (row,) = ai.list_datasources("snowflake").query("name == @one").to_dict("records")
    assert row == {
        "name": one, "description": "Cold", "datasource_type": "snowflake",
        "database": "D", "schema": "S", "warehouse": "W",
    }  # fmt: skip
    assert set(ai.list_datasources(datasource_type="sqlite")["datasource_type"]) == {"sqlite"}
    assert not {one, two} & set(ai.list_datasources("bigquery")["name"])
    with pytest.raises(DataSourceError, match="not a type"):
        ai.list_datasources("oracle")


@pytest.mark.row("M089", "M166")
def test_a_name_and_a_type_have_to_be_right(workspace: Workspace, ai: A360AI, tmp_path: Path) -> None:
    made = make_sqlite(tmp_path)
    name = offer(workspace, "sqlite", made.inputs)
    with pytest.raises(DataSourceError, match=rf"no data source 'nope' of type sqlite.*\n.*{name}"):
        ai.connect_to_datasource("nope", "sqlite")
    with pytest.raises(DataSourceError, match="is of type sqlite"):
        ai.connect_to_datasource(name, "postgres")
    gone = offer(workspace, "sqlite", {"database": str(tmp_path / "gone.db")}, description="Not there")
    with pytest.raises(DataSourceError, match="There is no connection"):
        ai.connect_to_datasource(gone, "sqlite")


@pytest.mark.row("M089", "M090", "M111", "M112", "M113", "M114", "C23")
def test_queries_give_frames(source: DataSource, database: Database) -> None:
    assert isinstance(source.connection, Engine)
    assert source.database_type == database.kind
    assert source.database_name == database.inputs["database"]
    assert (source.username, source.password) == (
        database.inputs.get("user"),
        database.inputs.get("password"),
    )
    assert (source.account, source.warehouse, source.schema) == (None, None, None)
    frame = source.query("SELECT * FROM customers WHERE name LIKE '%100%' OR name LIKE 'Ben :%' ORDER BY id;")
    assert list(frame.columns) == ["id", "name", "paid", "since"]
    assert frame["id"].tolist() == [1, 2]
    assert frame["name"].tolist() == ["Ada 100%", "Ben :x"]
    assert frame["paid"].dtype == "float64"
    assert frame["paid"].isna().tolist() == [False, True]
    counting = "WITH a AS (SELECT * FROM paying) SELECT count(*) AS n FROM a"
    assert source.query(sql_query=counting)["n"].tolist() == [1]
    nothing = source.query("SELECT id, name FROM customers WHERE id > 99")
    assert (list(nothing.columns), len(nothing)) == (["id", "name"], 0)
    with pytest.raises(DataSourceError, match="cannot be changed"):
        source.schema = "other"


@pytest.mark.row("M091")
def test_describe_and_show_on_every_database(source: DataSource, database: Database) -> None:
    tables, described = source.command("SHOW TABLES"), source.command("DESCRIBE customers;")
    assert tables is not None
    assert described is not None
    assert "customers" in tables.iloc[:, 0].tolist()
    assert described.iloc[:, 0].tolist() == ["id", "name", "paid", "since"]
    if database.kind == "mysql":
        return
    assert described["primary_key"].tolist() == [True, False, False, False]
    assert described["nullable"].tolist()[1:] == [False, True, True]
    views = source.command("SHOW VIEWS LIKE 'pay%'")
    assert views is not None
    assert views["name"].tolist() == ["paying"]
    databases, schemas = source.command("SHOW DATABASES"), source.command("SHOW SCHEMAS")
    assert databases is not None
    assert schemas is not None
    where = {"sqlite": ("main", "main"), "postgres": (database.inputs["database"], "public")}[database.kind]
    assert where[0] in databases["name"].tolist()
    assert where[1] in schemas["name"].tolist()
    columns = source.command("SHOW COLUMNS FROM TABLE customers LIKE '%a%'")
    assert columns is not None
    assert columns["name"].tolist() == ["name", "paid"]
    for wrong in ("DESCRIBE nope", "SHOW TRIGGERS", "DESCRIBE", "SHOW TABLES customers"):
        if (database.kind, wrong) != ("postgres", "SHOW TRIGGERS"):
            with pytest.raises(DataSourceError, match="not run"):
                source.command(wrong)


@pytest.mark.row("M091", "M092")
def test_use_goes_to_another_database(source: DataSource, database: Database) -> None:
    if database.kind == "sqlite":
        with pytest.raises(DataSourceError, match="a database of sqlite is a file"):
            source.command("USE other")
        return
    before = source.connection
    assert source.command(f"USE DATABASE {database.other}") is None
    assert source.database_name == database.other
    assert source.connection is not before
    tables = source.command("SHOW TABLES")
    assert tables is not None
    assert tables.empty
    for wrong in ("USE ROLE root", "USE nowhere_at_all"):
        with pytest.raises(DataSourceError):
            source.command(wrong)
        assert source.database_name == database.other, "what fails changes nothing"
    assert source.command(f"USE {database.inputs['database']}") is None
    assert source.query("SELECT count(*) AS n FROM customers")["n"].tolist() == [2]


@pytest.mark.row("M090", "M092")
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_schemas_are_switched_and_named(source: DataSource, workspace: Workspace, database: Database) -> None:
    assert source.query("SELECT day FROM raw.visits").empty
    with pytest.raises(DataSourceError, match="there is no schema nowhere"):
        source.command("USE SCHEMA nowhere")
    source.command("USE SCHEMA raw")
    assert source.schema == "raw"
    assert source.query("SELECT * FROM visits").columns.tolist() == ["day"]
    tables = source.command("SHOW TABLES")
    assert tables is not None
    assert tables.to_dict("records") == [{"name": "visits", "schema": "raw"}]
    version = source.command("SHOW server_version")
    assert version is not None and version.shape == (1, 1)  # noqa: PT018 - one for mypy
    bound = workspace.ai.connect_to_datasource(
        offer(workspace, "postgres", {**database.inputs, "schema": "raw"}), "postgres"
    )
    assert bound.schema == "raw"
    assert bound.query("SELECT * FROM visits").empty
    bound.close()


def test_sessions_only_read(source: DataSource) -> None:
    with pytest.raises(Exception, match=r"(?i)read.?only"), source.connection.begin() as connection:
        connection.execute(text("DELETE FROM customers"))
    assert source.query("SELECT count(*) AS n FROM customers")["n"].tolist() == [2]


@pytest.mark.row("M090", "M093", "C30")
def test_what_fails_is_logged_without_secrets(
    source: DataSource, database: Database, workspace: Workspace
) -> None:
    failing = [
        (source.query, "DELETE FROM customers", "SELECT and WITH only"),
        (source.query, "SELECT * FROM nope", "nope"),
        (source.query, f"SELECT nope -- {database.secret}", "nope"),
        (source.command, "DROP TABLE customers", "DESCRIBE, SHOW and USE only"),
        (source.command, "DESCRIBE nope", "nope"),
    ]
    for call, statement, reason in failing:
        with pytest.raises(DataSourceError, match=reason) as caught:
            call(statement)
        assert caught.value.__context__ is caught.value.__cause__ is None
        assert "sqlalche.me" not in str(caught.value)
        entry = error_log(workspace).rstrip().rpartition("\n\n")[2]
        shown = statement.replace(database.secret, "***") if database.secret else statement
        assert f"\nstatement: {shown}\nreason: " in entry
        assert reason in entry.rpartition("reason: ")[2]
    written = "".join(
        path.read_text(errors="replace") for path in workspace.home.rglob("*") if path.is_file()
    )
    assert not database.secret or database.secret not in written
    assert (workspace.home / "datasource_errors.log").stat().st_mode & 0o077 == 0


def test_a_home_that_cannot_be_written_hides_no_error(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "not-there"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(DataSourceError, match="SELECT and WITH only"):
            DataSource(str(tmp_path / "x.db")).query("DROP TABLE t")
    assert "cannot be written" in str(caught[0].message)


@pytest.mark.row("M094")
def test_a_connection_is_closed(source: DataSource, ai: A360AI, capsys: pytest.CaptureFixture[str]) -> None:
    assert source.query("SELECT 1 AS one")["one"].tolist() == [1]
    ai.close_datasource_connection(source)
    assert capsys.readouterr().out == "Connection is closed\n"
    assert source.password is None
    for call in (
        lambda: source.query("SELECT 1"),
        lambda: source.command("SHOW TABLES"),
        lambda: source.connection,
    ):
        with pytest.raises(DataSourceError, match="is closed"):
            call()
    ai.close_datasource_connection(source)


@pytest.mark.row("M110", "M112", "M113")
def test_the_constructor_works_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A360_API_URL", raising=False)
    alone = database.alone()
    assert alone.query("SELECT count(*) AS n FROM customers")["n"].tolist() == [2]
    assert str(alone.host).split(":")[0] == str(database.inputs.get("host"))
    alone.close()
    empty = DataSource()
    assert empty.database_type == "sqlite"
    names = ("database_name", "username", "password", "host", "account", "warehouse", "schema")
    assert {getattr(empty, name) for name in names} == {None}
    assert empty.query("SELECT 1 AS one")["one"].tolist() == [1]
    positional = DataSource("d", "u", "p", "h", "a", "w", "s", "snowflake")
    assert "".join(str(getattr(positional, name)) for name in names) == "duphaws"
    assert positional.database_type == "snowflake"
    monkeypatch.chdir(tmp_path)
    make_sqlite(tmp_path)
    assert len(DataSource(database_name="sales.db").query("SELECT * FROM customers")) == 2


@pytest.mark.row("M089")
@pytest.mark.parametrize("database", ["postgres", "mysql"], indirect=True)
def test_what_does_not_connect_says_why(workspace: Workspace, ai: A360AI, database: Database) -> None:
    wrong = offer(workspace, database.kind, {**database.inputs, "password": "wrong"})
    with pytest.raises(DataSourceError, match="credentials may be wrong") as caught:
        ai.connect_to_datasource(wrong, database.kind)
    assert caught.value.__context__ is None
    away = {**database.inputs, "host": "127.0.0.1", "port": free_port()}
    name = offer(workspace, database.kind, away, description="Away")
    with pytest.raises(DataSourceError, match="can be reached from here") as caught:
        ai.connect_to_datasource(name, database.kind)
    assert database.secret not in str(caught.value)


def test_large_results_come_in_pieces(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "ROWS", 100)
    source = database.alone()
    numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)"
    late = "CASE WHEN i > 150 THEN i END"
    frame = source.query(f"{numbers} SELECT i, {late} AS late, i AS i, NULL AS blank, 'x' AS word FROM n")
    source.close()
    expected = pd.DataFrame({"i": range(1, 251), "late": [i if i > 150 else None for i in range(1, 251)]})
    pd.testing.assert_frame_equal(frame.iloc[:, :2], expected)
    assert frame.columns.tolist() == ["i", "late", "i", "blank", "word"]
    assert frame["blank"].isna().all()
