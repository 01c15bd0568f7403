"""What the Hub starts does not outlive it, however early the Hub is killed."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hub_config.die_with_parent import tied
from tests.support.endpoints import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the signal at a parent's death is Linux's")
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_of_the_named_parent_runs() -> None:
    done = subprocess.run(tied("echo", "hello"), capture_output=True, text=True, check=True)
    assert done.stdout == "hello\n"


def test_a_child_adopted_before_it_could_ask_leaves(tmp_path: Path) -> None:
    # This process is not the named parent: to the child it looks as if that one had died and this adopted it.
    command = tied("touch", str(tmp_path / "ran"))
    command[command.index(str(os.getpid()))] = str(os.getppid())
    assert subprocess.run(command).returncode == 1
    assert not (tmp_path / "ran").exists()


def test_a_killed_parent_takes_its_child_along() -> None:
    start = (
        "import subprocess, sys, time; from hub_config.die_with_parent import tied;"
        "print(subprocess.Popen(tied(*sys.argv[1:])).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start, *SLEEP], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    eventually(lambda: "time.sleep(600)" in " ".join(psutil.Process(child).cmdline()))
    parent.kill()
    parent.wait()
    eventually(lambda: gone(child))
    parent.stdout.close()


@pytest.mark.parametrize("milliseconds", [0, 5, 20, 60, 150])
def test_a_parent_killed_at_any_time_leaves_no_child(milliseconds: int) -> None:
    start = (
        "import subprocess, sys, time; from hub_config.die_with_parent import tied;"
        f"print(subprocess.Popen(tied(*sys.argv[1:])).pid, flush=True); time.sleep({milliseconds / 1000});"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", start, *SLEEP], capture_output=True, text=True)
    eventually(lambda: gone(int(parent.stdout)))
