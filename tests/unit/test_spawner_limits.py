"""Limits of local workspaces: on this machine's control groups, and where there are none."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_config.limits import Limits, release

HOG = "x = []\nfor _ in range(64): x.append(b'x' * 2**23)\nprint(len(x) * 8)"
SPIN = "import time; t = time.time()\nwhile time.time() - t < 1.5: pass\nprint(time.process_time())"


def run(limits: Limits, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], preexec_fn=limits.preexec(), capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def limits() -> Iterator[Limits]:
    made = Limits(f"test-{uuid.uuid4().hex}", cpu=0.5, memory=2**28)
    yield made
    release(made.applied.groups)


@pytest.mark.row("F229")
def test_a_process_that_takes_more_than_the_memory_ends(limits: Limits) -> None:
    applied = limits.prepare()
    assert applied.memory_applied
    small = run(limits, "print(len(b'x' * 2**23))")
    assert small.returncode == 0, small.stderr
    assert run(limits, HOG).returncode != 0


@pytest.mark.row("F228")
def test_half_a_core_is_half_a_core(limits: Limits) -> None:
    if not limits.prepare().cpu_applied:
        pytest.skip(f"no writable CPU control group on this machine: {limits.applied.note}")
    used = float(run(limits, SPIN).stdout)
    assert used < 1.1


def test_groups_are_removed_with_what_is_left_in_them(limits: Limits) -> None:
    applied = limits.prepare()
    if not applied.groups:
        pytest.skip("no writable control group on this machine")
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], preexec_fn=limits.preexec()
    )
    release(applied.groups)
    assert left.wait(5) == -9
    assert not any(Path(group).exists() for group in applied.groups)


def test_without_control_groups_the_process_limit_holds_and_is_said(tmp_path: Path) -> None:
    limits = Limits("x", cpu=1, memory=2**28, root=tmp_path / "none")
    applied = limits.prepare()
    assert applied.memory_applied
    assert not applied.cpu_applied
    assert "for each process" in applied.note
    assert "CPU is not limited" in applied.note
    done = run(limits, HOG)
    assert "MemoryError" in done.stderr


def test_second_version_of_control_groups(tmp_path: Path) -> None:
    """The files a v2 kernel would read; a plain folder takes them as well."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    limits = Limits("ws", cpu=1.5, memory=2**30, root=tmp_path)
    applied = limits.prepare()
    assert (applied.cpu_applied, applied.memory_applied, applied.note) == (True, True, "")
    assert (tmp_path / "a360" / "ws" / "memory.max").read_text() == str(2**30)
    assert (tmp_path / "a360" / "ws" / "cpu.max").read_text() == "150000 100000"
    assert (tmp_path / "a360" / "cgroup.subtree_control").read_text() == "+memory +cpu"
