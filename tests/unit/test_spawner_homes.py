"""Homes of local workspaces: removed with their workspace, whatever happened to it before."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub_config.spawner import LocalWorkspaceSpawner, remove_home, workspace_home
from spawner_profiles.options import WorkspaceOptions, sign

KEY = b"k" * 32
OPTIONS = WorkspaceOptions(
    workspace_id="0" * 32,
    project_id="1" * 32,
    project_name="Churn",
    image="a360-local-sklearn",
    cpu=1,
    memory="1Gi",
    profile="small",
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace's home with a notebook in it."""
    (tmp_path / "options.key").write_bytes(KEY)
    made = workspace_home(tmp_path, "ann", OPTIONS.workspace_id)
    made.mkdir(parents=True)
    (made / "notes.ipynb").write_text("{}")
    return made


def spawner(state_folder: Path, options: dict[str, Any]) -> LocalWorkspaceSpawner:
    """What the Hub makes of a server in its database."""
    return LocalWorkspaceSpawner(
        user=SimpleNamespace(name="ann"),
        orm_spawner=SimpleNamespace(name="ws", server=None),
        user_options=options,
        state_folder=str(state_folder),
        options_key_file=str(state_folder / "options.key"),
    )


def test_the_home_goes_with_the_workspace(home: Path, tmp_path: Path) -> None:
    asyncio.run(spawner(tmp_path, sign(KEY, "ann", "ws", OPTIONS)).delete_forever())
    assert not home.exists()


@pytest.mark.parametrize("options", [{}, {"a360": {}}, sign(b"another key", "ann", "ws", OPTIONS)])
def test_it_is_found_after_a_start_that_was_refused(
    home: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    asyncio.run(spawner(tmp_path, options).delete_forever())
    assert home.exists(), "of a server that was never started nothing is known"
    started = spawner(tmp_path, sign(KEY, "ann", "ws", OPTIONS))
    started.workspace_id = OPTIONS.workspace_id
    started.clear_state()  # as when it is stopped
    later = spawner(tmp_path, options)
    later.load_state(started.get_state())
    asyncio.run(later.delete_forever())
    assert not home.exists()


def as_somebody(uid: int, home: Path) -> int:
    """Remove the home in a process without the powers of root; its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(uid)
            remove_home(home)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the machine gets to."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        yield Path(made)


def test_folders_that_nobody_may_write_to_are_removed_as_well(open_folder: Path) -> None:
    home, elsewhere = workspace_home(open_folder, "ann", OPTIONS.workspace_id), open_folder / "elsewhere"
    elsewhere.mkdir(mode=0o500)
    (home / "go" / "mod").mkdir(parents=True)
    (home / "go" / "mod" / "file").write_text("1")
    (home / "link").symlink_to(elsewhere)
    (home / "secret" / "deep").mkdir(parents=True)
    (home / "secret" / "deep" / "file").write_text("1")
    uid = os.getuid() or 65534
    if not os.getuid():
        for path in (home, *home.rglob("*"), home.parent):
            os.chown(path, uid, uid, follow_symlinks=False)
    (home / "go" / "mod").chmod(0o500)
    (home / "secret").chmod(0)
    assert as_somebody(uid, home) == 0
    assert not home.exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o500
