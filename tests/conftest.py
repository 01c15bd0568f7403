"""Fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import ServiceProcess


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all tests of a worker that do not harm it; make projects with names of your own."""
    running = ServiceProcess(tmp_path_factory.mktemp("service")).start()
    yield running
    running.stop()


@pytest.fixture
def fresh_service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service of the test's own, to kill and restart."""
    running = ServiceProcess(tmp_path / "home").start()
    yield running
    running.stop()
