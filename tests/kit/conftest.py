"""Projects on the real service, seen from a kernel of a workspace."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from a360mdk import A360AI
from tests.support.service import ServiceProcess, project_form

HERE = Path(__file__).parent
ONE_DATABASE = {
    "capture/test_captures.py",
    "capture/test_ends.py",
    "test_buckets.py",
    "test_datarepos.py",
    "test_datasets.py",
    "test_datasources.py",
    "test_definitions.py",
    "test_errors.py",
    "test_kernel.py",
    "test_magics.py",
    "test_progress.py",
    "test_remote.py",
}
"""What the service hardly takes part in: its database makes no difference there."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run those modules on SQLite only."""
    twice = [
        item
        for item in items
        if item.path.is_relative_to(HERE)
        and item.path.relative_to(HERE).as_posix() in ONE_DATABASE
        and getattr(item, "callspec", None) is not None
        and item.callspec.params.get("service") == "postgresql"
    ]
    if twice:
        config.hook.pytest_deselected(items=twice)
        items[:] = [item for item in items if item not in twice]


class Workspace:
    """A kernel's view of a project: environment, home, interface object."""

    def __init__(self, service: ServiceProcess, project: dict[str, Any], home: Path) -> None:
        self.service, self.project, self.home = service, project, home
        self.ai = A360AI()
        self.client = service.client("scientist")

    @property
    def repo_folder(self) -> Path:
        """Where the default data repo's files are."""
        return Path(self.ai.filesystem.bucket)

    def files(self) -> list[str]:
        """All files in the default data repo."""
        return sorted(
            str(p.relative_to(self.repo_folder)) for p in self.repo_folder.rglob("*") if p.is_file()
        )

    def close(self) -> None:
        """Close connections."""
        self.client.close()
        if self.ai._client is not None:
            self.ai._client.close()

    def runs(self, experiment: Any) -> list[dict[str, Any]]:
        """The experiment's runs as the API gives them."""
        items = self.client.get(f"/experiments/{experiment.id}/runs").json()["items"]
        assert isinstance(items, list)
        return items


def make_workspace(
    service: ServiceProcess, home: Path, monkeypatch: pytest.MonkeyPatch, name: str = "Customer Churn"
) -> Workspace:
    """A new project of the scientist's, and the environment a workspace of it has."""
    unique = f"{name} {secrets.token_hex(4)}"
    form = project_form(unique, f"kit-{secrets.token_hex(6)}")
    with service.client("scientist") as client:
        answer = client.post("/projects", json=form)
    assert answer.status_code == 201, answer.text
    project = answer.json()
    home.mkdir(exist_ok=True)
    for variable, value in {
        "A360_API_URL": service.api_url,
        "A360_PROJECT_ID": project["id"],
        "A360_PROJECT_NAME": project["name"],
        "A360_IMAGE": "a360-local-sklearn",
        "JUPYTERHUB_API_TOKEN": "test-scientist",
        "HOME": str(home),
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(home)
    return Workspace(service, project, home)


@pytest.fixture
def workspace(
    service: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    """A workspace of a project of its own."""
    made = make_workspace(service, tmp_path / "home", monkeypatch)
    yield made
    made.close()


@pytest.fixture
def ai(workspace: Workspace) -> A360AI:
    """The object every kernel has."""
    return workspace.ai


@pytest.fixture(scope="session")
def table() -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    """Features of three types and a target, 400 rows."""
    random = np.random.default_rng(7)
    features = pd.DataFrame(
        {
            "gender": random.integers(0, 2, 400),
            "SeniorCitizen": random.integers(0, 2, 400).astype(bool),
            "MonthlyCharges": random.normal(65, 30, 400),
            "tenure": random.integers(0, 72, 400),
        }
    )
    churn = (features.MonthlyCharges - features.tenure + random.normal(0, 10, 400) > 30).astype("int64")
    return features, churn.rename("Churn")
