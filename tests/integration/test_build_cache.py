"""The cache of builds: its size, what killed builds left in it, and builds that run meanwhile."""

import os
import threading
from pathlib import Path

from a360_hub_service.backends.images.bundle import BundleBuilder
from a360_hub_service.backends.images.cache import tidied, tidy
from tests.support.endpoints import write_files


def aged(path: Path, content: bytes, age: int) -> Path:
    """Write a file, or the file in a folder of dependencies, that was used so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.name == "deps":
        (path / "site").mkdir(parents=True)
        (path / "site" / "x.py").write_bytes(content)
    else:
        path.write_bytes(content)
    os.utime(path, (1_700_000_000 - age,) * 2)
    return path


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    blobs, deps = tmp_path / "cache" / "oci" / "blobs", tmp_path / "cache" / "deps"
    old = aged(blobs / "aa", bytes(1000), 30)
    older = aged(deps / ("d" * 64), bytes(1000), 40)
    oldest = aged(blobs / "bb", bytes(1000), 50)
    new = aged(deps / ("e" * 64), bytes(1000), 10)
    record = aged(tmp_path / "cache" / "oci" / "layers" / "x.json", b"{}", 100)
    tidy(tmp_path, 4000)
    assert all(path.exists() for path in (old, older, oldest, new))
    tidy(tmp_path, 2500)
    assert [path.exists() for path in (old, older, oldest, new, record)] == [True, False, False, True, True]
    tidy(tmp_path, 1500)
    assert [path.exists() for path in (old, new)] == [False, True]
    assert (new / "size").read_text() == "1000"
    tidy(tmp_path, 0)
    assert sorted(path.name for path in deps.iterdir()) == []


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    left = {
        f"packages/.{'1' * 32}-ab12cd/package/run.py": "x",
        f"cache/deps/.{'2' * 64}-xy/site/a.py": "x",
        "cache/locks/tmpab12/requirements.in": "x",
        "cache/oci/blobs/.0a1b-zz/new": "x",
        "cache/oci/contents/.0a1b-zz/new": "x",
        "cache/oci/layers/.0a1b.json-zz/new": "x",
    }
    stays = {
        f"packages/{'1' * 32}/package.json": "{}",
        "packages/.lock-ab": "",
        f"cache/deps/{'2' * 64}/site/.hidden-thing/a.py": "x",
        "cache/locks/abc.txt": "x",
        "cache/oci/blobs/.lock-0a": "",
        "cache/base/tmpfresh/lists/x": "x",
    }
    write_files(tmp_path, left | stays)
    BundleBuilder(home=str(tmp_path)).tidy()
    assert not [name for name in left if (tmp_path / name).parents[0].exists() and (tmp_path / name).exists()]
    assert all((tmp_path / name).exists() for name in stays)
    assert not list((tmp_path / "packages").glob(".1*"))


def test_nothing_is_trimmed_while_a_build_runs(tmp_path: Path) -> None:
    blob = aged(tmp_path / "cache" / "oci" / "blobs" / "aa", bytes(1000), 30)
    building, go_on = threading.Event(), threading.Event()

    class Builder:
        home = str(tmp_path)

        @tidied
        def build(self, waits: bool) -> str:
            building.set()
            assert not waits or go_on.wait(20)
            return "built"

        def tidy(self) -> None:
            tidy(tmp_path, 0)

    thread = threading.Thread(target=Builder().build, args=(True,))
    thread.start()
    assert building.wait(20)
    assert Builder().build(False) == "built"
    assert blob.exists()
    go_on.set()
    thread.join(20)
    assert not blob.exists()
