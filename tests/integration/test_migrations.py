"""The migrations make the schema that the program expects, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from a360_hub_service.app import A360HubService
from a360_hub_service.entities.base import Base
from tests.support.postgres import postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
    else:
        with postgres() as server:
            yield server.new_database()


def test_the_migrations_make_what_the_entities_say(tmp_path: Path, database_url: str) -> None:
    app = A360HubService(home=str(tmp_path))
    if database_url:
        app.database_url = database_url
    app.upgrade()
    engine = create_engine(app.database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, Base.metadata)
        connection.execute(text("ALTER TABLE endpoint_keys DROP COLUMN name"))
        lacking = compare_metadata(context, Base.metadata)
    engine.dispose()
    assert found == []
    assert len(lacking) == 1, "the comparison sees nothing"
