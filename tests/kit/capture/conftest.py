"""A workspace whose own server runs notebooks headless."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.capture.notebooks import know
from tests.kit.conftest import Workspace, make_workspace
from tests.support.jupyter import Server
from tests.support.service import ServiceProcess


@pytest.fixture(scope="package")
def workspace(service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace for all tests here: a server of Jupyter's takes its time to start."""
    with pytest.MonkeyPatch.context() as patch:
        made = make_workspace(service, tmp_path_factory.mktemp("capture") / "home", patch)
        yield made
        made.close()


@pytest.fixture(scope="package")
def shared(workspace: Workspace) -> Iterator[Server]:
    """Its server."""
    started = Server(workspace.home)
    yield started
    started.stop()


@pytest.fixture
def server(shared: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Its server, known to the kit of this process as to a kernel's, without captures of other tests."""
    know(shared, monkeypatch)
    for each in shared.http.get("/a360/captures").json()["captures"]:
        assert shared.http.delete(f"/a360/captures/{each['id']}").status_code == 204
    return shared


@pytest.fixture
def experiment(workspace: Workspace) -> Any:
    model = workspace.ai.get_or_create_model("tides")
    return model.get_or_create_experiment("Nightly", "sklearn", [[1.0]], [1.0])
