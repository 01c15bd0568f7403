"""A project of the scientist's, and its default data repo."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.data import new_name
from tests.support.service import ServiceProcess, project_form


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("scientist") as client:
        yield client


@pytest.fixture
def project(client: httpx.Client) -> dict[str, Any]:
    answer = client.post("/projects", json=project_form(new_name("Project"), new_name("volume")))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture
def files(project: dict[str, Any]) -> str:
    """The path of the files of the project's data repo."""
    return f"/data-repos/{project['default_data_repo_id']}/files"


@pytest.fixture
def folder(client: httpx.Client, project: dict[str, Any]) -> Path:
    """The folder of the project's data repo."""
    return Path(client.get(f"/data-repos/{project['default_data_repo_id']}/access").json()["path"])
