"""Captures: notebooks run headless by a real Jupyter server, as runs on the real service."""

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from a360mdk.capture import Capture
from a360mdk.exceptions import ExperimentError, SchedulerError
from tests.kit.capture.notebooks import begun, notebook, printed, stored, workers
from tests.kit.conftest import Workspace
from tests.support.delivery import ok
from tests.support.jupyter import Server
from tests.support.service import wait_for


def test_a_notebook_becomes_a_run_with_its_parameters_and_environment(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    path = notebook(
        workspace.home / "work" / "tides.ipynb",
        "import os, numpy\nprint(rate * 2, name, os.getcwd(), os.environ['JPY_SESSION_NAME'])",
        "from a360mdk import A360AI\nprint(A360AI().project_name)",
        parameters="rate = 1\nname = 'a'",
    )
    capture = workspace.ai.capture("work/tides.ipynb", {"rate": 21, "name": 'it"s'}, 120)
    assert (capture.state, capture.notebook) == ("queued", str(path))
    assert capture.wait() is capture
    assert (capture.state, capture.done, capture.cells, capture.error) == ("finished", 4, 4, None)
    run, files = stored(workspace, capture)
    assert (run["status"], run["hyperparameters"]) == ("finished", {"rate": 21, "name": 'it"s'})
    assert run["metadata"]["captured_notebook"] == str(path)
    assert run["metadata"]["run_time"] > 0
    assert [each["kind"] for each in run["artifacts"]] == ["notebook", "parameters", "environment"]
    assert printed(files["executed_notebook"]) == (
        f'42 it"s {path.parent} {path}\n{workspace.project["name"]}\n'
    )
    assert json.loads(files["parameters"]) == {"rate": 21, "name": 'it"s'}
    packages = files["environment"].splitlines()
    assert packages[0].startswith("# Python 3.")
    assert f"numpy=={__import__('numpy').__version__}" in packages
    # The original is as it was, and the run is in the experiment's list beside all others.
    assert 'outputs": [\n' not in path.read_text()
    listed = experiment.list_runs()
    assert listed[listed.id == capture.run_id].hyperparameter_rate.tolist() == [21]
    saved = capture.save_notebook()
    assert saved == str(path.with_name("tides-executed.ipynb"))
    assert printed(Path(saved).read_text()).startswith("42")
    assert capture.save_notebook("/home/jovyan") == str(workspace.home / "tides-executed.ipynb")
    assert capture.save_notebook("/home/jovyan/deep/it.ipynb") == str(workspace.home / "deep" / "it.ipynb")
    assert list(workspace.ai.list_captures().state) == ["finished"]
    # The worker is warm now: the second notebook does not wait for imports, and starts from nothing.
    again = workspace.ai.capture(path, wait=True)
    assert printed(stored(workspace, again)[1]["executed_notebook"]).startswith("2 a ")
    assert len(workers(server)) == 1


@pytest.mark.row("M063")
def test_a_captured_notebook_may_train_and_log_models(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    path = notebook(
        workspace.home / "trains.ipynb",
        "from a360mdk import A360AI\n"
        "from sklearn.linear_model import LinearRegression\n"
        "X, y = [[1.0], [2.0], [4.0]], [2.0, 4.0, 8.0]\n"
        "model = A360AI().get_or_create_model('tides')\n"
        "trained = model.get_or_create_experiment('Trained', 'sklearn', X, y)",
        "with trained.run_experiment() as run:\n    run.log_model(LinearRegression().fit(X, y))",
        "print(run.id)",
    )
    capture = workspace.ai.capture(path, wait=True)
    said = printed(stored(workspace, capture)[1]["executed_notebook"]).split()
    run = ok(workspace.client.get(f"/runs/{said[-1]}"))
    names = {each["name"]: each["size"] for each in run["artifacts"]}
    assert {"trained_model", "trained_model_native", "model_training_notebook"} == set(names)
    assert names["model_training_notebook"] == path.stat().st_size
    assert run["id"] != capture.run_id


def test_the_bar_counts_all_cells_from_the_first(
    workspace: Workspace, server: Server, experiment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    go = workspace.home / "counted"
    notebook(
        workspace.home / "counted.ipynb",
        "print('begun')",
        f"import time\nwhile not __import__('pathlib').Path({str(go)!r}).exists(): time.sleep(0.05)",
        "time.sleep(1.5)",
        "print('last')",
    )
    capture = workspace.ai.capture("counted.ipynb")
    assert capture.cells == 0, "nothing is known of it yet"
    begun(workspace.ai.get_capture(capture.id))
    go.touch()
    capture.wait()
    assert re.search(r"counted\.ipynb.* [123]/4 ", capsys.readouterr().err)


def test_a_failing_cell_keeps_what_came_before_it(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    notebook(workspace.home / "bad.ipynb", "print('first')", "print('second'); [][1]", "print('never')")
    capture = workspace.ai.capture("bad.ipynb", experiment="Nightly")
    with pytest.raises(SchedulerError, match=r"IndexError: list index out of range \(cell 2\)"):
        capture.wait()
    assert (capture.state, capture.error["cell"]) == ("failed", 2)
    run, files = stored(workspace, capture)
    assert (run["status"], run["error"]) == ("failed", "IndexError: list index out of range (cell 2)")
    assert printed(files["executed_notebook"]) == "first\nsecond\n"
    outputs = [
        output
        for cell in nbformat.reads(files["executed_notebook"], as_version=4).cells
        for output in cell.get("outputs", [])
    ]
    assert outputs[-1].ename == "IndexError"
    assert {"parameters", "environment"} <= set(files)
    # A failed run is nothing to choose from.
    assert capture.run_id not in set(experiment.list_runs().id)
    assert "IndexError" in repr(capture)


@pytest.mark.row("F235")
def test_it_goes_on_without_a_browser_and_keeps_the_workspace_awake(
    workspace: Workspace, server: Server, experiment: Any
) -> None:
    go = workspace.home / "go"
    notebook(
        workspace.home / "alone.ipynb",
        "print('begun')",
        f"import time\nwhile not __import__('pathlib').Path({str(go)!r}).exists(): time.sleep(0.05)",
    )
    capture = begun(workspace.ai.capture("alone.ipynb"))
    # Whoever began it is gone; nobody is connected, and no kernel of Jupyter's own is there.
    first = server.last_activity()
    assert server.http.get("/api/kernels").json() == []
    assert server.http.get("/a360/status").json()["open_runs"] == 1
    wait_for(lambda: server.last_activity() > first, message="it is no activity")
    go.touch()
    found = workspace.ai.get_capture(capture.id)
    found.wait()
    assert (found.state, found.run_id) == ("finished", capture.run_id)
    assert server.http.get("/a360/status").json()["open_runs"] == 0
    after = server.last_activity()
    assert server.http.get("/a360/captures").status_code == 200
    assert server.last_activity() == after


@pytest.mark.row("M173")
def test_what_cannot_be_captured_is_refused_with_the_reason(
    workspace: Workspace, server: Server, experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(workspace.home / "fine.ipynb", "1")
    before = workspace.runs(experiment)
    capture = workspace.ai.capture
    with pytest.raises(SchedulerError, match="it is not there"):
        capture("missing.ipynb")
    (workspace.home / "broken.ipynb").write_text('{"cells": 3}')
    with pytest.raises(SchedulerError, match="cannot be read as a notebook"):
        capture("broken.ipynb")
    (workspace.home / "script.py").write_text("1")
    with pytest.raises(SchedulerError, match=r"script\.py is no notebook: its name does not end in \.ipynb"):
        capture("script.py")
    with pytest.raises(SchedulerError, match=r"parameters is a list[^$]*parameters=\{"):
        capture(path, ["rate"])  # type: ignore[arg-type]
    with pytest.raises(SchedulerError, match="cannot be the name of a variable"):
        capture(path, {"a b": 1})
    with pytest.raises(SchedulerError, match="time_limit is no number of seconds"):
        capture(path, time_limit=0)
    with pytest.raises(SchedulerError, match="cannot be written as JSON"):
        capture(path, time_limit=float("inf"))
    with pytest.raises(ExperimentError, match="no experiment 'Other'"):
        capture(path, experiment="Other")
    post = server.http.post
    for body in (
        None, [], {"notebook": 3}, {"notebook": "fine.ipynb"},
        {"notebook": "a\0.ipynb", "experiment_id": "a"},
        {"notebook": "fine.ipynb", "experiment_id": "../x"}, {"notebook": "fine.ipynb", "x": 1},
        {"notebook": "fine.ipynb", "experiment_id": "a1", "parameters": []},
        {"notebook": "n" * 5000 + ".ipynb", "experiment_id": "a1"},
    ):  # fmt: skip
        answer = post("/a360/captures", content=json.dumps(body))
        assert answer.status_code == 400, answer.text
        assert {"title", "detail", "hint", "message"} <= set(answer.json())
    unknown = post("/a360/captures", json={"notebook": "fine.ipynb", "experiment_id": "0" * 32})
    assert unknown.status_code == 404
    assert post("/a360/captures", headers={"Authorization": ""}).status_code == 403
    assert server.http.get("/a360/captures").json() == {"captures": []}
    assert workspace.runs(experiment) == before
    state = workspace.home / ".local" / "state" / "a360"
    kept = [each for each in state.iterdir() if each.name == "captures"]
    for each in kept:
        each.rename(state / "kept")
    (state / "captures").write_text("a file where the folder of captures would be")
    with pytest.raises(SchedulerError, match="cannot be kept in"):
        capture(path)
    (state / "captures").unlink()
    for each in kept:
        (state / "kept").rename(each)
    assert workspace.runs(experiment) == before
    monkeypatch.delenv("A360_SERVER_URL")
    with pytest.raises(SchedulerError, match="Call this in a notebook of a workspace"):
        capture(path)


def test_a_capture_by_magic_from_a_kernel_of_the_workspace(
    workspace: Workspace, server: Server, experiment: Any, tmp_path: Path, capsys: Any
) -> None:
    from tests.kit.test_magics import Shell

    notebook(workspace.home / "report.ipynb", "print(depth, name)", parameters="depth = 1\nname = ''")
    shell = Shell(tmp_path / "ipython", capsys)
    try:
        shell.run("model = a360ai.get_or_create_model('tides')")
        line = "%a360 capture report.ipynb --experiment Nightly --parameter depth=4 --parameter name=north"
        made = shell.run(f"made = {line} --wait\nmade")
        assert isinstance(made, Capture)
        assert f"Run {made.run_id} of Nightly: finished." in shell.said()
        assert printed(stored(workspace, made)[1]["executed_notebook"]) == "4 north\n"
        assert shell.completed("%a360 capture rep") == ["%a360 capture report.ipynb"]
        assert "not there" in shell.refused("%a360 capture other.ipynb --experiment Nightly")
        assert "NAME=VALUE" in shell.refused("%a360 capture report.ipynb --parameter depth")
    finally:
        shell.close()


def test_kernels_are_told_where_their_server_is(workspace: Workspace, server: Server) -> None:
    from tests.support.kernel import Kernel

    with Kernel(server.url, "secret") as kernel:
        kernel.run("from a360mdk import A360AI; a360ai = A360AI()")
        said = kernel.run("import os; print(os.environ['A360_SERVER_URL'], len(a360ai.list_captures()))")
    assert said.replace("localhost", "127.0.0.1").split() == [f"{server.url}/", "0"]
    assert os.environ["A360_SERVER_TOKEN"] == "secret"
