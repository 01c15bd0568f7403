"""Uploads of people who may not upload: nothing is opened for them."""

import pytest

from tests.integration.test_projects import create, problem
from tests.support.service import ServiceProcess


@pytest.mark.row("F169")
@pytest.mark.parametrize("size", [10, 3 * 1024 * 1024])
def test_outsiders_cannot_begin_an_upload(service: ServiceProcess, size: int) -> None:
    project = create(service, "scientist", f"Guarded Upload {size}")
    path = f"/data-repos/{project['default_data_repo_id']}/files/stolen.csv"
    volume = service.home / "volumes" / f"guarded-upload-{size}-volume"
    before = sorted(volume.rglob("*"))
    with service.client("outsider") as client:
        problem(client.put(path, content=b"x" * size), 404)
        problem(client.get(path), 404)
    assert sorted(volume.rglob("*")) == before
