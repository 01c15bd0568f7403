"""A data source: a database that a notebook reads."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from a360mdk.base import Base
from a360mdk.datasources import catalog, engines, error_log, frames, sql
from a360mdk.datasources.login import SECRETS, Login, Secret, scrub, split_host, type_named
from a360mdk.exceptions import DataSourceError

if TYPE_CHECKING:
    import pandas
    from sqlalchemy import Engine

T = TypeVar("T")


class DataSource(Base):
    """A connection to a database; it reads, and changes nothing.

    ``a360ai.connect_to_datasource`` makes one from what an administrator has entered. By hand::

        DataSource(database_name="sales.db")
        DataSource("sales", "reader", getpass(), "db.example.org:5432", database_type="postgres")

    Args:
        database_name: database; file of sqlite, project of BigQuery.
        username, password: who asks.
        host: server, with ``:port`` where it is not the usual one.
        account: of Snowflake.
        warehouse: of Snowflake.
        schema: schema, data set of BigQuery.
        database_type: "sqlite", "postgres", "mysql", "mssql", "snowflake" or "bigquery".
    """

    fields = {
        "database_name": None,
        "username": None,
        "password": None,
        "host": None,
        "account": None,
        "warehouse": None,
        "schema": None,
        "database_type": "sqlite",
    }
    error = DataSourceError

    def __init__(
        self,
        database_name: str | None = None,
        username: str | None = None,
        password: str | None = None,
        host: str | None = None,
        account: str | None = None,
        warehouse: str | None = None,
        schema: str | None = None,
        database_type: str = "sqlite",
    ) -> None:
        server, port = split_host(host)
        login = Login(
            type_named(database_type),
            host=server,
            port=port,
            database=database_name,
            schema=schema,
            warehouse=warehouse,
            account=account,
            user=username,
            password=Secret(password) if password else None,
        )
        super().__init__(host=host)
        self._name = ""
        self._enter(login)

    @classmethod
    def from_login(cls, login: Login, name: str) -> Self:
        """Make one from all that a login can say.

        Args:
            login: where it is and who asks.
            name: as on the platform.
        """
        made = cls(database_type=login.database_type)
        made._name = name
        host = f"{login.host}:{login.port}" if login.host and login.port else login.host
        made._load({"host": host})
        made._enter(login)
        return made

    def _enter(self, login: Login) -> None:
        self._login, self._engine, self._closed = login, None, False
        self._load(
            {
                "database_name": login.database,
                "username": login.user,
                "password": login.password,
                "account": login.account,
                "warehouse": login.warehouse,
                "schema": login.schema,
                "database_type": login.database_type,
            }
        )

    _engine: "Engine | None"

    def __repr__(self) -> str:
        name = f" {self._name}" if self._name else ""
        return f"<DataSource{name}: {self._login.database_type} {self._login.place}>"

    def __reduce__(self) -> NoReturn:
        raise DataSourceError(
            "A data source is not copied or stored.",
            "Its credentials must not reach a disk.",
            "Connect again where it is needed.",
        )

    @property
    def connection(self) -> "Engine":
        """SQLAlchemy engine of the database; after a ``USE`` it is another one.

        Raises:
            DataSourceError: the data source is closed, or the driver is missing.
        """
        if self._closed:
            raise DataSourceError(
                "This data source is closed.",
                "Its connections were given back.",
                "Connect again: a360ai.connect_to_datasource(name, type).",
            )
        if self._engine is None:
            self._engine = engines.make_engine(self._login)
        return self._engine

    def query(self, select_query: str | None = None, *, sql_query: str | None = None) -> "pandas.DataFrame":
        """Run a query and return its rows.

        Args:
            select_query: one statement, SELECT or WITH. Tables of other schemas are ``schema.table``.
            sql_query: another name of the same argument.

        Raises:
            DataSourceError: it is something else, or the database refuses it. Statement and reason are
                appended to ``datasource_errors.log`` in the home folder.
        """
        statement = select_query if sql_query is None else sql_query

        def work() -> "pandas.DataFrame":
            checked = sql.select(statement, self._login.database_type)
            with self.connection.connect() as connection:
                return frames.read(connection, checked)

        return self._told(statement, work)

    def command(self, sql_command: str) -> "pandas.DataFrame | None":
        """Run DESCRIBE or SHOW and return what it shows, or switch database, schema or warehouse with USE.

        ``DESCRIBE table`` and ``SHOW TABLES | VIEWS | SCHEMAS | DATABASES | COLUMNS`` work on every database.

        Args:
            sql_command: one DESCRIBE, SHOW or USE.

        Raises:
            DataSourceError: it is something else, about roles, or the database refuses it; also logged.
        """
        return self._told(sql_command, lambda: self._command(sql_command))

    def _command(self, statement: str) -> "pandas.DataFrame | None":
        kind = self._login.database_type
        text, found = sql.command(statement, kind)
        if found[0].word == "USE":
            self._use(sql.use(found, kind))
            return None
        with self.connection.connect() as connection:
            if catalog.is_native(found, kind):
                return frames.read(connection, text, stream=False)
            return catalog.answer(connection, found, kind, self._login.schema)

    def _use(self, place: dict[str, str]) -> None:
        """Switch, if there is such a place: a connection to it is made before the present one is given up."""
        present = self.connection
        moved: dict[str, Any] = {"schema": None, **place} if "database" in place else {**place}
        login = dataclasses.replace(self._login, **moved)
        engine = engines.make_engine(login)
        try:
            engines.ping(engine)
            if login.schema and login.database_type in ("postgres", "bigquery"):  # they take any name for one
                with engine.connect() as connection:
                    catalog.need_schema(connection, login.schema)
        except BaseException:
            engine.dispose()
            raise
        present.dispose()
        self._enter(login)
        self._engine = engine

    def close(self) -> None:
        """Close all connections and forget the credentials."""
        if self._engine is not None:
            self._engine.dispose()
        forgotten: dict[str, Any] = dict.fromkeys(SECRETS)
        self._enter(dataclasses.replace(self._login, **forgotten))
        self._closed = True

    def check(self) -> None:
        """See that the database answers.

        Raises:
            DataSourceError: it does not.
        """
        self._told(None, lambda: engines.ping(self.connection))

    def _told(self, statement: Any, work: Callable[[], T]) -> T:
        """Do it; a failure is logged and told without secrets, and without the frames that hold some."""
        try:
            return work()
        except (MemoryError, RecursionError):
            raise
        except sql.Refused as refused:
            failure = DataSourceError(
                "The statement was not run.",
                f"{refused}.",
                "query() takes SELECT and WITH; command() takes DESCRIBE, SHOW and USE.",
            )
        except DataSourceError as told:
            failure = DataSourceError(told.what, told.why, told.hint, code=told.code)
        except Exception as error:  # each driver has errors of its own
            failure = DataSourceError(
                "The database did not do what it was asked for.",
                engines.reason(error, self._login.secrets),
                "Correct the statement; SHOW TABLES and DESCRIBE say what there is.",
            )
        if statement is not None:
            source = f"{self._name or self._login.place} ({self._login.database_type})"
            error_log.append(source, scrub(str(statement), self._login.secrets), failure.why or failure.what)
        raise failure
