"""The database: engine, sessions and schema version. SQLite embedded, PostgreSQL beyond."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

MIGRATIONS = Path(__file__).parent / "migrations"


def make_engine(url: str, *, pool_size: int = 8) -> Engine:
    """An engine for ``url``; on SQLite with WAL, foreign keys, and transactions that really begin."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": 30}, pool_size=pool_size, max_overflow=pool_size)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: Any) -> None:
        # The driver's own transaction handling begins too late for a read that a write depends on.
        connection.isolation_level = None
        # Its own knows ASCII letters only, and names are compared without regard to case.
        connection.create_function("lower", 1, _lower, deterministic=True)
        for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        mode = "IMMEDIATE" if connection.get_execution_options().get("a360_write") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def insert_first(session: Session, row: object) -> bool:
    """Insert a row unless somebody inserted its twin at the same moment; then the transaction goes on."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


class Database:
    """Sessions over one engine.

    Parameters
    ----------
    url
        A SQLAlchemy URL; ``sqlite:///path`` or ``postgresql+psycopg://…``.
    pool_size
        Connections kept open.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = url
        self.engine = make_engine(url, pool_size=pool_size)

    @contextmanager
    def session(self, *, write: bool = True) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back if the block raises.

        A writing one takes SQLite's write lock at once, so two of them never deadlock on upgrading theirs.
        """
        with Session(self.engine, expire_on_commit=False) as session:
            session.connection(execution_options={"a360_write": write})
            try:
                yield session
                session.commit()
            except BaseException:
                session.rollback()
                raise

    def upgrade(self) -> None:
        """Bring the schema to the newest version (``alembic upgrade head``)."""
        command.upgrade(_config(self.url), "head")

    def is_current(self) -> bool:
        """Whether the schema is the one this code was written for."""
        heads = set(ScriptDirectory.from_config(_config(self.url)).get_heads())
        with self.engine.connect() as connection:
            return set(MigrationContext.configure(connection).get_current_heads()) == heads

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _lower(text: str | None) -> str | None:
    return text if text is None else text.lower()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
