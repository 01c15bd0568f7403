"""The kit in a kernel, and its part of the Jupyter server."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_client.manager import start_new_kernel

from tests.kit.conftest import Workspace
from tests.support.jupyter import Server
from tests.support.service import free_port, wait_for


def run_cell(client: Any, code: str) -> tuple[str, str]:
    """Run a cell; return what it printed or showed, and its error."""
    shown: list[str] = []

    def collect(message: Any) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            shown.append(content["text"])
        elif message["msg_type"] in ("execute_result", "display_data"):
            shown.append(content["data"].get("text/html") or content["data"]["text/plain"])

    reply = client.execute_interactive(code, output_hook=collect, timeout=60, store_history=False)
    return "".join(shown), str(reply["content"].get("evalue", ""))


@pytest.fixture
def ipython_config(tmp_path: Path, monkeypatch: Any) -> None:
    """The configuration the wheel puts under etc/ipython, found by kernels of this test."""
    source = Path(__file__).parents[2] / "a360_server_extension" / "data" / "ipython_config.py"
    folder = tmp_path / "ipython" / "profile_default"
    folder.mkdir(parents=True)
    (folder / "ipython_config.py").write_text(source.read_text())
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


@pytest.mark.row("F041", "M001", "M003", "M004", "M005", "M013", "M081")
@pytest.mark.usefixtures("ipython_config")
def test_every_kernel_has_a360ai(workspace: Workspace) -> None:
    manager, client = start_new_kernel()
    try:
        shown, error = run_cell(client, "print(a360ai)\na360ai")
        text, html = shown.split("\n", 1)
        assert (text, error) == (f"<A360 AI Interface for project: {workspace.project['name']}>", "")
        assert f"<strong>A360 project {workspace.project['name']}</strong>" in html
        assert run_cell(client, "print(a360ai.list_datarepos()['name'][0])")[0].strip().endswith("data")
        assert run_cell(client, "import os; print(os.environ['A360_IMAGE'].split('-')[-1])")[0] == "sklearn\n"
        shown, error = run_cell(client, "a360ai.get_or_create_model('churn').get_model_detail_page()")
        assert "<a href=" in shown
        assert "churn 1.0: Draft" in run_cell(client, "%a360 status")[0]
        code = "%a360 status --model ch"
        found = client.complete(code, reply=True, timeout=30)["content"]
        assert [code[: found["cursor_start"]] + each for each in found["matches"]] == [f"{code}urn"]
        assert "invalid choice" in run_cell(client, "%a360 stats")[1]  # stops "Run all", too
        assert (
            run_cell(client, "%reload_ext a360mdk.ipython\nprint(type(a360ai).__module__)")[0]
            == "a360mdk.main\n"
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.usefixtures("ipython_config")
def test_outside_a_workspace_it_says_what_is_missing(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("A360_API_URL", "A360_PROJECT_ID", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    manager, client = start_new_kernel()
    try:
        assert "not connected" in run_cell(client, "a360ai")[0]
        error = run_cell(client, "a360ai.list_datasets()")[1]
        assert "A360_API_URL, JUPYTERHUB_API_TOKEN, A360_PROJECT_ID" in error
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_importing_the_kit_is_quick_and_brings_no_framework() -> None:
    code = (
        "import time, sys; t = time.perf_counter(); import a360mdk; t = time.perf_counter() - t\n"
        "from a360mdk import A360AI; A360AI()\n"
        "heavy = {'pandas', 'pyarrow', 'sklearn', 'onnxruntime', 'numpy', 'tqdm', 'skl2onnx'}\n"
        "print(t, sorted(heavy & set(sys.modules)))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(done.stdout.split(maxsplit=1)[0]) for done in runs) < 0.3
    assert {done.stdout.split(maxsplit=1)[1].strip() for done in runs} == {"[]"}


def test_the_wheel_brings_the_configuration() -> None:
    root = Path(__file__).parents[2]
    import tomllib

    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, place in wheel["shared-data"].items():
        assert (root / source).is_file()
        assert place.startswith("etc/")
    config = json.loads((root / "a360_server_extension" / "data" / "a360_server_extension.json").read_text())
    (module,) = config["ServerApp"]["jpserver_extensions"]
    assert importlib.util.find_spec(module) is not None


def test_the_status_of_a_workspace(workspace: Workspace) -> None:
    server = Server(workspace.home, A360_WORKSPACE_ID="w1")
    try:
        status = server.http.get("/a360/status").json()
        assert status["project"] == {"id": workspace.project["id"], "name": workspace.project["name"]}
        assert status["workspace"] == {"id": "w1", "image": "a360-local-sklearn"}
        assert (status["open_runs"], status["service"]["reachable"]) == (0, True)
        assert httpx.get(f"{server.url}/a360/status").status_code == 403
    finally:
        server.stop()


@pytest.mark.row("F235")
def test_an_open_run_is_activity_and_asking_is_not(workspace: Workspace) -> None:
    from a360mdk import open_runs

    server = Server(workspace.home, A360_API_URL=f"http://127.0.0.1:{free_port()}")
    try:
        status = server.http.get("/a360/status").json()
        assert (status["service"]["reachable"], status["service"]["detail"]) == (False, "No connection.")
        before = server.last_activity()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert server.http.get("/a360/status").status_code == 200
        assert server.last_activity() == before
        open_runs.mark("r1")
        assert server.http.get("/a360/status").json()["open_runs"] == 1
        wait_for(lambda: server.last_activity() > before, message="the open run was not noticed")
        open_runs.unmark("r1")
        after = server.last_activity()
        assert server.last_activity() == after
    finally:
        server.stop()
