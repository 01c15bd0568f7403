"""Lists ask the database as often for many rows as for one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import event

from a360_hub_service.api import packages, projects, publishing
from a360_hub_service.api.routing import Call, Page, PageQuery
from a360_hub_service.app import A360HubService
from a360_hub_service.entities import (
    Collaborator,
    DataRepo,
    Endpoint,
    EndpointKey,
    Job,
    Model,
    Package,
    Project,
)
from a360_hub_service.services.context import Actor, Context
from tests.support.world import PUBLISH_FORM

SCIENTIST = Actor("scientist")
BY = {"created_by": "scientist"}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    service = A360HubService(home=str(tmp_path))
    service.upgrade()
    (tmp_path / "service" / "secret.keys").write_text(Fernet.generate_key().decode())
    made = service.make_context()
    yield made
    made.database.close()


def add_project(context: Context, number: int) -> None:
    """A project whose model has two packages and an endpoint with two keys."""
    name = f"p{number}"
    with context.database.session() as session:
        project = Project(name=name, slug=name, customer_name="c", owner="scientist")
        project.collaborators = [Collaborator(user_name="scientist", added_by="scientist")]
        session.add(project)
        session.flush()
        place = {"volume_account": "local", "storage_provider": "local", "volume_name": name}
        session.add(DataRepo(project_id=project.id, name="data", is_default=True, **place, **BY))
        model = Model(project_id=project.id, model_name=name, **BY)
        session.add(model)
        session.flush()
        packages = [Package(model_id=model.id, run_id="0" * 32, builder="bundle", **BY) for _ in range(2)]
        session.add_all(packages)
        session.flush()
        jobs = [{"status": "failed", "error": error, **BY} for error in ("first", "second")]
        for package in packages:
            session.add_all(
                Job(kind="package", model_id=model.id, subject_id=package.id, **job) for job in jobs
            )
        keys = [EndpointKey(sha256="0" * 64, prefix="a360_", **BY) for _ in range(2)]
        endpoint = Endpoint(model_id=model.id, slug=name, target="gone", form=PUBLISH_FORM, keys=keys, **BY)
        endpoint.package = packages[0]
        session.add(endpoint)


def statements(
    context: Context, handler: Callable[[Call], Page[Any]], entity: type[Any] | None = None
) -> tuple[int, Page[Any]]:
    """How many statements a list takes in a new session, and what it shows."""
    seen: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    with context.database.session(write=False) as session:
        named = session.query(entity).order_by(entity.id.desc()).first() if entity else None
        event.listen(context.database.engine, "before_cursor_execute", count)
        try:
            page = handler(Call(context, session, SCIENTIST, {}, query=PageQuery(), entity=named))
        finally:
            event.remove(context.database.engine, "before_cursor_execute", count)
    return len(seen), page


@pytest.mark.parametrize("handler", [projects.list_projects, publishing.list_endpoints])
def test_many_rows_take_as_many_statements_as_one(
    context: Context, handler: Callable[[Call], Page[Any]]
) -> None:
    add_project(context, 0)
    alone, page = statements(context, handler)
    assert len(page.items) == 1
    for number in range(1, 5):
        add_project(context, number)
    together, page = statements(context, handler)
    assert len(page.items) == 5
    assert together == alone


def test_packages_tell_of_their_jobs_and_scans_in_one_statement_each(context: Context) -> None:
    add_project(context, 0)
    count, page = statements(context, packages.list_packages, Model)
    assert [item.error for item in page.items] == ["second", "second"]
    assert count == 3
