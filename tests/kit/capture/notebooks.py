"""Notebooks to capture, and what comes out of them."""

from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from a360mdk.capture import Capture
from a360mdk.exceptions import SchedulerError
from tests.kit.conftest import Workspace
from tests.support.delivery import ok
from tests.support.jupyter import Server
from tests.support.service import wait_for

WAITS = "import time; print('waiting', flush=True); time.sleep(600)"


def know(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kit of this process know the server, as kernels of the server do."""
    monkeypatch.setenv("A360_SERVER_URL", server.url)
    monkeypatch.setenv("A360_SERVER_TOKEN", "secret")


def notebook(path: Path, *cells: str, parameters: str = "") -> Path:
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python"}})
    if parameters:
        made.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    made.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(made, path)
    return path


def stored(workspace: Workspace, capture: Capture) -> tuple[dict[str, Any], dict[str, str]]:
    """The run of a capture, and the content of its artifacts."""
    run = ok(workspace.client.get(f"/runs/{capture.run_id}"))
    files = {
        each["name"]: workspace.client.get(f"/artifacts/{each['id']}/content").text
        for each in run["artifacts"]
    }
    return run, files


def printed(text: str) -> str:
    """What the cells of an executed notebook printed."""
    return "".join(
        output.get("text", "")
        for cell in nbformat.reads(text, as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def ended(capture: Capture) -> Capture:
    with pytest.raises(SchedulerError):
        capture.wait()
    return capture


def begun(capture: Capture, done: int = 1) -> Capture:
    """The capture, once so many cells have ended and the next one is at work."""
    wait_for(lambda: capture.refresh().done >= done, seconds=60, message="the notebook did not begin")
    return capture


def workers(server: Server) -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process(server.process.pid).children()
        if "a360_server_extension.captures.worker" in each.cmdline()
    ]
