"""One platform for all lines from a notebook to an endpoint."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.demo.people import Person
from tests.support.hub import ROOT, Platform, platform

CONFIG = """
c.GitSource.allow_file_urls = True
c.DockerBuilder.repository = "a360-test-e2e"
c.DockerTarget.prefix = "a360-test-e2e"
"""
HERE = Path(__file__).parent
CHURN = HERE / "churn"


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform; these tests run in one worker (mark ``xdist_group("e2e")``)."""
    home = tmp_path_factory.mktemp("e2e") / "home"
    with platform(home, service_config=CONFIG) as started:
        yield started


@pytest.fixture(scope="session")
def people(running: Platform) -> Iterator[dict[str, Person]]:
    """Scientist, reviewer and engineer, signed in."""
    signed_in = {
        name: Person.sign_in(running.url, name, running.password)
        for name in ("scientist", "reviewer", "engineer")
    }
    yield signed_in
    for person in signed_in.values():
        person.close()


@pytest.fixture(scope="session")
def churn_csv() -> Path:
    """The churn data, which the project does not ship."""
    shared = Path(os.environ.get("A360_SHARED") or ROOT.parent / "shared")
    path = shared / "data" / "Reward-Customer-Churn.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there; set A360_SHARED to the folder that holds data/")
    return path
