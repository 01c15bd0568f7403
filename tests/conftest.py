"""Fixtures of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import rows
from tests.support import loop_reports

if TYPE_CHECKING:  # the tests of flavors run in environments of workspaces, which hold nothing of the service
    from tests.support.postgres import Server
    from tests.support.service import ServiceProcess

# Small models gain nothing from threads, and those of two workers wait for each other's turn on a processor:
# ten times as long for XGBoost's. Before anything imports a library that reads it, and for what tests start.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

_outcomes: dict[str, tuple[str, list[str]]] = {}


def pytest_configure(config: pytest.Config) -> None:
    """Before workers start: they report to one file."""
    if not hasattr(config, "workerinput"):
        loop_reports.begin()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rows a test proves into its report, so that they reach the process that collects reports."""
    for item in items:
        names = [str(name) for mark in item.iter_markers("row") for name in mark.args]
        wrong = [name for name in names if not rows.PATTERN.fullmatch(name)]
        if wrong:
            raise pytest.UsageError(f"{item.nodeid}: no such row: {wrong[0]}")
        if names:
            item.user_properties.append(("rows", names))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what became of each test that names rows."""
    names = dict(report.user_properties).get("rows")
    if isinstance(names, list) and (report.when == "call" or report.outcome != "passed"):
        _outcomes[report.nodeid] = (report.outcome, names)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep the outcomes for ``make rows``; with several workers only the one that collects has them all."""
    if _outcomes and not hasattr(session.config, "workerinput"):
        rows.merge((test, outcome, names) for test, (outcome, names) in _outcomes.items())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what held up event loops; workers have this hook too, and leave it to who collects reports."""
    if hasattr(terminalreporter.config, "workerinput"):
        return
    lines = loop_reports.end()
    terminalreporter.section("event loops of the services")
    for line in lines or [f"none loaded a module or was held up for over {loop_reports.BUDGET_MS} ms"]:
        terminalreporter.line(line)
    if any(map(loop_reports.is_certain, lines)) and terminalreporter._session:
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server of the worker's own."""
    from tests.support.postgres import postgres

    with postgres() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """One service for all tests of a worker that do not harm it; make projects with names of your own.

    Every test that takes it runs twice, once on each database.
    """
    from tests.support.service import ServiceProcess

    url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql").new_database()
    running = ServiceProcess(tmp_path_factory.mktemp(f"service-{request.param}"), database_url=url).start()
    yield running
    running.stop()


@pytest.fixture
def fresh_service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service of the test's own, to kill and restart."""
    from tests.support.service import ServiceProcess

    running = ServiceProcess(tmp_path / "home").start()
    yield running
    running.stop()
