"""Runs that promise a heartbeat."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from a360_hub_service.services.leases import ABANDONED
from tests.integration.test_projects import problem
from tests.support.lab import Lab, ok
from tests.support.service import ServiceProcess, wait_for


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home: Path = tmp_path_factory.mktemp("leases")
    service = ServiceProcess(home, config="c.A360HubService.run_lease_seconds = 1").start()
    try:
        with Lab(service) as made:
            yield made
    finally:
        service.stop()


@pytest.mark.row("M068")
def test_a_run_without_its_heartbeat_counts_as_failed_and_may_come_back(lab: Lab) -> None:
    path = f"/experiments/{lab.experiment(lab.model('leases'))['id']}/runs"
    silent = ok(lab.scientist.post(path, json={"lease": True}))
    free = ok(lab.scientist.post(path))
    assert silent["alive_until"] > silent["started_at"]
    assert free["alive_until"] is None

    def failed() -> bool:
        return bool(ok(lab.scientist.get(f"/runs/{silent['id']}"))["status"] == "failed")

    wait_for(failed)
    found = ok(lab.scientist.get(f"/runs/{silent['id']}"))
    assert found["error"] == ABANDONED
    assert found["ended_at"]
    assert ok(lab.scientist.get(f"/runs/{free['id']}"))["status"] == "running"
    # It was only slow: with a heartbeat it runs again.
    ok(lab.scientist.post(f"/runs/{silent['id']}/heartbeat"))
    assert ok(lab.scientist.get(f"/runs/{silent['id']}"))["status"] == "running"
    wait_for(failed)
    # Or it is closed as if nothing had been.
    closed = ok(lab.scientist.post(f"/runs/{silent['id']}/finish", json={"status": "finished"}))
    assert (closed["status"], closed["error"], closed["alive_until"]) == ("finished", None, None)
    problem(lab.scientist.post(f"/runs/{silent['id']}/heartbeat"), 409)
    ok(lab.scientist.post(f"/runs/{free['id']}/heartbeat"))
    wait_for(lambda: ok(lab.scientist.get(f"/runs/{free['id']}"))["status"] == "failed")
    wrong = {"status": "failed", "error": "my own", "artifacts": []}
    own = ok(lab.scientist.post(path, json={"lease": True}))
    ok(lab.scientist.post(f"/runs/{own['id']}/finish", json=wrong))
    problem(lab.scientist.post(f"/runs/{own['id']}/heartbeat"), 409)
    rows = ok(lab.scientist.get(path.replace("/runs", "/run-table")))["items"]
    assert [row["status"] for row in rows] == ["finished", "failed", "failed"]
