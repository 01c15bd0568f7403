"""What counts as activity of a workspace (C27)."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from a360_server_extension.activity import Activity

LONG_AGO = datetime.now(UTC) - timedelta(hours=5)


class Kernels(SimpleNamespace):
    """Jupyter's kernel manager as far as it is looked at."""

    def __init__(self, *states: str) -> None:
        kernels = {str(i): SimpleNamespace(execution_state=state) for i, state in enumerate(states)}
        super().__init__(last_kernel_activity=LONG_AGO, _kernels=kernels)


def is_idle(activity: Activity) -> bool:
    return datetime.now(UTC) - activity.last_activity() > timedelta(hours=1)


@pytest.mark.row("F235")
def test_an_open_page_and_resting_kernels_are_idle(tmp_path: Path) -> None:
    assert is_idle(Activity(LONG_AGO, Kernels("idle", "idle"), lambda: None, tmp_path / "none"))


@pytest.mark.row("F235")
def test_a_busy_kernel_is_activity_even_when_it_prints_nothing(tmp_path: Path) -> None:
    assert not is_idle(Activity(LONG_AGO, Kernels("idle", "busy"), lambda: None, tmp_path))


@pytest.mark.row("F235")
def test_terminal_output_is_activity(tmp_path: Path) -> None:
    recent = datetime.now(UTC) - timedelta(minutes=5)
    assert not is_idle(Activity(LONG_AGO, Kernels(), lambda: recent, tmp_path))


@pytest.mark.row("F235")
def test_an_open_run_is_activity_while_its_kernel_lives(tmp_path: Path) -> None:
    (tmp_path / "run").write_text(json.dumps({"pid": os.getpid()}))
    assert not is_idle(Activity(LONG_AGO, Kernels("idle"), lambda: None, tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "run").write_text(json.dumps({"pid": ended.pid}))
    (tmp_path / "broken").write_text("[]")
    assert is_idle(Activity(LONG_AGO, Kernels("idle"), lambda: None, tmp_path))


def test_activity_does_not_go_back(tmp_path: Path) -> None:
    kernels = Kernels("busy")
    activity = Activity(LONG_AGO, kernels, lambda: None, tmp_path)
    busy = activity.last_activity()
    kernels._kernels["0"].execution_state = "idle"
    assert activity.last_activity() == busy
