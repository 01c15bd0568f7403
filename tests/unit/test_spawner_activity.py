"""What counts as activity of a workspace (C27)."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from a360_server_extension.activity import Activity
from a360mdk import open_runs

LONG_AGO = datetime.now(UTC) - timedelta(hours=5)


class Kernels(SimpleNamespace):
    """Jupyter's kernel manager as far as it is looked at."""

    def __init__(self, *states: str) -> None:
        kernels = {str(i): SimpleNamespace(execution_state=state) for i, state in enumerate(states)}
        super().__init__(last_kernel_activity=LONG_AGO, _kernels=kernels)


def is_idle(activity: Activity) -> bool:
    return datetime.now(UTC) - activity.last_activity() > timedelta(hours=1)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of open runs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = open_runs.folder()
    folder.mkdir(parents=True)
    return folder


@pytest.mark.row("F235")
def test_an_open_page_and_resting_kernels_are_idle() -> None:
    assert is_idle(Activity(LONG_AGO, Kernels("idle", "idle"), lambda: None))


@pytest.mark.row("F235")
def test_a_busy_kernel_is_activity_even_when_it_prints_nothing() -> None:
    assert not is_idle(Activity(LONG_AGO, Kernels("idle", "busy"), lambda: None))


@pytest.mark.row("F235")
def test_terminal_output_is_activity() -> None:
    recent = datetime.now(UTC) - timedelta(minutes=5)
    assert not is_idle(Activity(LONG_AGO, Kernels(), lambda: recent))


@pytest.mark.row("F235")
def test_an_open_run_is_activity_while_its_kernel_lives(runs: Path) -> None:
    (runs / "run").write_text(json.dumps({"pid": os.getpid()}))
    assert not is_idle(Activity(LONG_AGO, Kernels("idle"), lambda: None))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (runs / "run").write_text(json.dumps({"pid": ended.pid}))
    (runs / "broken").write_text("[]")
    assert is_idle(Activity(LONG_AGO, Kernels("idle"), lambda: None))


def test_activity_does_not_go_back() -> None:
    kernels = Kernels("busy")
    activity = Activity(LONG_AGO, kernels, lambda: None)
    busy = activity.last_activity()
    kernels._kernels["0"].execution_state = "idle"
    assert activity.last_activity() == busy


def test_a_run_that_opens_while_runs_are_counted_is_not_lost(runs: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        for number in range(300):
            counting = pool.submit(open_runs.count)
            open_runs.mark(f"run-{number}")
            counting.result()
    assert open_runs.count() == 300
    open_runs.unmark("run-0")
    assert open_runs.count() == 299
    assert list(runs.parent.iterdir()) == [runs]
