"""Captures that end early: cancelled, out of time, killed, or without the service."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from a360_hub_service.services.leases import ABANDONED
from a360_server_extension.captures.registering import register
from a360mdk.client import Unreachable
from a360mdk.exceptions import SchedulerError
from tests.kit.capture.notebooks import WAITS, begun, ended, know, notebook, printed, stored, workers
from tests.kit.conftest import Workspace, make_workspace
from tests.kit.test_client import forwarded, gateway
from tests.support.delivery import ok
from tests.support.jupyter import Server
from tests.support.service import ServiceProcess, wait_for


def test_cancel_stops_the_kernel_and_keeps_the_output(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    notebook(workspace.home / "long.ipynb", "import os; print(os.getpid())", WAITS, "print('never')")
    capture = begun(workspace.ai.capture("long.ipynb"))
    capture.cancel()
    with pytest.raises(SchedulerError, match="is cancelled"):
        capture.wait()
    run, files = stored(workspace, capture)
    assert (run["status"], run["error"]) == ("failed", "Cancelled: It was cancelled. (cell 2)")
    said = printed(files["executed_notebook"])
    assert said.endswith("\nwaiting\n")
    kernel = int(said.split()[0])
    wait_for(lambda: not psutil.pid_exists(kernel), message="the kernel lives on")
    with pytest.raises(SchedulerError, match="nothing left to stop"):
        capture.cancel()
    assert server.http.delete(f"/a360/captures/{capture.id}").status_code == 204
    assert server.http.get(f"/a360/captures/{capture.id}").status_code == 404
    assert not list((workspace.home / ".local/state/a360/captures").iterdir())
    with pytest.raises(SchedulerError, match="There is no such capture"):
        capture.save_notebook()


def test_the_time_limit_ends_it(workspace: Workspace, server: Server, experiment: Any) -> None:
    notebook(workspace.home / "slow.ipynb", "print('first')", WAITS)
    capture = ended(workspace.ai.capture("slow.ipynb", time_limit=4))
    assert capture.state == "failed"
    assert capture.reason.startswith("TimeLimit: It ran longer than its limit of 4 s.")
    run, files = stored(workspace, capture)
    assert run["error"] == capture.reason
    assert printed(files["executed_notebook"]).startswith("first")


def test_a_kernel_that_dies_is_a_failed_run(workspace: Workspace, server: Server, experiment: Any) -> None:
    notebook(workspace.home / "dies.ipynb", "print('first')", "import os; os.kill(os.getpid(), 9)")
    capture = ended(workspace.ai.capture("dies.ipynb"))
    assert capture.reason == (
        "DeadKernelError: The kernel died. Too little memory is the usual reason. (cell 2)"
    )
    assert printed(stored(workspace, capture)[1]["executed_notebook"]) == "first\n"


def test_a_worker_that_is_killed_is_a_failed_run(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    notebook(workspace.home / "killed.ipynb", "print('first')", WAITS)
    capture = begun(workspace.ai.capture("killed.ipynb"))
    (worker,) = workers(server)
    worker.kill()
    ended(capture)
    assert capture.reason.startswith("WorkerDied: The process that ran it ended (-9).")
    assert printed(stored(workspace, capture)[1]["executed_notebook"]).startswith("first\n")


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service that soon gives up on runs without a heartbeat."""
    config = "c.A360HubService.run_lease_seconds = 2"
    running = ServiceProcess(tmp_path / "service", config=config).start()
    yield running
    running.stop()


@pytest.mark.long
def test_a_run_does_not_outlive_a_workspace_that_never_comes_back(
    impatient: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(impatient, tmp_path / "home", monkeypatch)
    workspace.ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn", [[1.0]], [1.0])
    notebook(workspace.home / "gone.ipynb", "print('first')", WAITS)
    server = Server(workspace.home)
    know(server, monkeypatch)
    capture = begun(workspace.ai.capture("gone.ipynb"))

    def run() -> Any:
        return ok(workspace.client.get(f"/runs/{capture.run_id}"))

    for _ in range(2):
        before = run()["alive_until"]
        wait_for(lambda until=before: run()["alive_until"] > until, message="no heartbeat came")
    assert run()["status"] == "running"
    server.kill()
    wait_for(lambda: run()["status"] == "failed", message="the run goes on without its workspace")
    assert run()["error"] == ABANDONED
    # If it comes back all the same, it says what happened and gives what there is.
    server = Server(workspace.home)
    try:
        wait_for(lambda: str(run()["error"]).startswith("Interrupted: "), message="the run was not closed")
        assert printed(stored(workspace, capture)[1]["executed_notebook"]).startswith("first\n")
    finally:
        server.stop()
        workspace.close()


@pytest.mark.long
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_ends_leaves_an_interrupted_capture(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, experiment: Any, how: str
) -> None:
    notebook(workspace.home / "broken.ipynb", "import os; print(os.getpid())", WAITS)
    state = workspace.home / f"state-{how}"
    server = Server(workspace.home, XDG_STATE_HOME=str(state))
    know(server, monkeypatch)
    capture = begun(workspace.ai.capture("broken.ipynb"))
    (worker,) = workers(server)
    getattr(server, how)()
    wait_for(lambda: not psutil.pid_exists(worker.pid), message="the worker lives on")
    server = Server(workspace.home, XDG_STATE_HOME=str(state))
    know(server, monkeypatch)
    try:
        (row,) = workspace.ai.list_captures().to_dict("records")
        assert row["id"] == capture.id
        found = workspace.ai.get_capture(capture.id)
        with pytest.raises(SchedulerError, match="is interrupted"):
            found.wait()
        assert found.reason == "Interrupted: The workspace's server ended before the notebook did. (cell 2)"
        run, files = stored(workspace, capture)
        assert (run["status"], run["error"]) == ("failed", found.reason)
        kernel = int(printed(files["executed_notebook"]).split()[0])
        wait_for(lambda: not psutil.pid_exists(kernel), message="the kernel lives on")
        assert server.http.get("/a360/status").json()["open_runs"] == 0
    finally:
        server.stop()


def test_the_service_may_be_away_at_the_end(
    workspace: Workspace, server: Server, experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = workspace.home / "go"
    notebook(
        workspace.home / "cut.ipynb",
        "print('begun')",
        f"import time\nwhile not __import__('pathlib').Path({str(go)!r}).exists(): time.sleep(0.05)",
    )
    capture = begun(workspace.ai.capture("cut.ipynb"))
    process = workspace.service.process
    assert process
    # Nobody answers, as when the Hub restarts; stopped and not ended, for other tests use it too.
    process.send_signal(signal.SIGSTOP)
    try:
        go.touch()
        wait_for(lambda: capture.refresh().state == "closing", message="the notebook did not end")
        refused = server.http.delete(f"/a360/captures/{capture.id}")
        assert (refused.status_code, refused.json()["detail"]) == (409, "It is being closed already.")
    finally:
        process.send_signal(signal.SIGCONT)
    assert capture.wait().state == "finished"
    assert stored(workspace, capture)[0]["status"] == "finished"


def test_a_service_that_turns_calls_away_for_a_while_is_asked_again(
    workspace: Workspace, experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does while the Hub, which knows all tokens, starts again."""
    run = ok(workspace.client.post(f"/experiments/{experiment.id}/runs", json={}))
    told = {"run": run, "outcome": "finished", "error": None, "notebook": "n.ipynb", "parameters": {}}
    executed = notebook(tmp_path / "executed.ipynb", "1")
    away = ["/data-repos/", "/finish"]

    def answers(method: str, path: str, body: bytes) -> Any:
        if away and away[0] in path:
            away.pop(0)
            problem = {"title": "The Hub does not answer", "status": 503}
            return 503, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode()
        return forwarded(workspace, method, path, body)

    with gateway(answers) as url:
        monkeypatch.setenv("A360_API_URL", url)
        for _ in range(2):
            with pytest.raises(Unreachable, match="The Hub does not answer"):
                register(told, executed, 1.0)
        assert register(told, executed, 1.0) == {"stored": True, "detail": ""}
    stored_run = ok(workspace.client.get(f"/runs/{run['id']}"))
    assert (stored_run["status"], len(stored_run["artifacts"])) == ("finished", 3)


def test_a_run_that_somebody_else_closed_is_left_alone(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    go = workspace.home / "closed"
    notebook(
        workspace.home / "closed.ipynb",
        "print('begun')",
        f"import time\nwhile not __import__('pathlib').Path({str(go)!r}).exists(): time.sleep(0.05)",
    )
    capture = begun(workspace.ai.capture("closed.ipynb"))
    body = {"status": "failed", "error": "Closed by hand"}
    closed = ok(workspace.client.post(f"/runs/{capture.run_id}/finish", json=body))
    go.touch()
    ended(capture)
    assert (capture.state, capture.error["name"]) == ("failed", "NotStored")
    assert "closed as failed already" in capture.reason
    assert ok(workspace.client.get(f"/runs/{capture.run_id}")) == closed
    assert not [file for file in workspace.files() if capture.run_id in file]
    assert printed(Path(capture.save_notebook()).read_text()) == "begun\n"


def test_a_data_repo_that_takes_nothing_fails_the_run_and_keeps_the_notebook(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    notebook(workspace.home / "full.ipynb", "print('computed')")
    folder = workspace.repo_folder / "Projects"
    kept = folder.rename(folder.with_name("Kept")) if folder.exists() else None
    folder.write_text("a file where the folder of artifacts would be")
    capture = ended(workspace.ai.capture("full.ipynb"))
    folder.unlink()
    if kept:
        kept.rename(folder)
    assert (capture.state, capture.error["name"]) == ("failed", "NotStored")
    run = ok(workspace.client.get(f"/runs/{capture.run_id}"))
    assert (run["status"], run["artifacts"]) == ("failed", [])
    assert "could not be stored" in run["error"]
    assert printed(Path(capture.save_notebook()).read_text()) == "computed\n"


@pytest.mark.long
def test_many_wait_for_their_turn_and_may_be_cancelled_before_it(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    path = notebook(workspace.home / "many.ipynb", "print('first')", WAITS)
    working = [workspace.ai.capture(path) for _ in range(2)]
    waiting = workspace.ai.capture(path)
    for capture in working:
        begun(capture)
    assert waiting.refresh().state == "queued"
    waiting.cancel()
    working[0].cancel()
    for capture in (waiting, working[0]):
        ended(capture)
        assert capture.state == "cancelled"
    run, files = stored(workspace, waiting)
    assert (run["status"], run["error"]) == ("failed", "Cancelled: It was cancelled.")
    assert printed(files["executed_notebook"]) == ""
    working[1].cancel()
    ended(working[1])
