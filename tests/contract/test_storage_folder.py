"""What only folders have: links, a full disk, and processes that are killed while they write."""

import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from a360_hub_service.backends.storage.folder import FolderStorage
from a360_hub_service.backends.storage.keys import PART
from a360_hub_service.backends.storage.staging import STALE_SECONDS
from a360_hub_service.errors import Conflict, Invalid, NotFound, Unavailable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    made = FolderStorage(tmp_path / "volumes" / "volume")
    made.ensure_volume(create=True)
    return made


def put(storage: FolderStorage, key: str, content: bytes) -> None:
    with storage.writer(key) as writer:
        writer.write(content)


def parts(storage: FolderStorage) -> list[Path]:
    return list((storage.root / PART).iterdir())


def test_links_that_leave_are_not_followed(storage: FolderStorage, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (storage.root / "file").symlink_to(secret)
    (storage.root / "folder").symlink_to(tmp_path)
    (storage.root / "relative").symlink_to("../../secret")
    (storage.root / "loop").symlink_to("loop")
    assert storage.list().items == []
    for key in ("file", "relative", "folder/secret", "folder/new", "loop", "loop/x"):
        with pytest.raises(Invalid):
            storage.stat(key)
        with pytest.raises(Invalid):
            next(iter(storage.read(key)))
        with pytest.raises(Invalid):
            put(storage, key, b"mine")
    with pytest.raises(Invalid):
        storage.delete("folder/secret")
    assert storage.delete_prefix("folder") == 0
    assert storage.delete("file"), "the link itself may go"
    assert secret.read_text() == "secret"
    assert {path.name for path in tmp_path.iterdir()} == {"secret", "volumes"}


def test_links_that_stay_work(storage: FolderStorage) -> None:
    put(storage, "real/data", b"content")
    (storage.root / "other").symlink_to("real")
    (storage.root / "alias").symlink_to("real/data")
    assert b"".join(storage.read("other/data")) == b"".join(storage.read("alias")) == b"content"
    assert [item.key for item in storage.list().items] == ["alias", "other", "real"]
    assert [item.key for item in storage.list(recursive=True).items] == ["alias", "real/data"]


def test_a_volume_may_be_a_link_to_another_disk(tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "volumes" / "volume"
    disk.mkdir()
    link.parent.mkdir()
    link.symlink_to(disk)
    storage = FolderStorage(link)
    storage.ensure_volume(create=False)
    put(storage, "a/b", b"x")
    assert (disk / "a" / "b").read_bytes() == b"x"


def test_a_link_put_there_while_writing_is_not_followed(storage: FolderStorage, tmp_path: Path) -> None:
    writer = storage.writer("folder/data")
    writer.write(b"mine")
    (storage.root / "folder").symlink_to(tmp_path)
    with pytest.raises(Invalid):
        writer.commit()
    writer.abort()
    assert not (tmp_path / "data").exists()


def test_files_and_folders_do_not_replace_each_other(storage: FolderStorage) -> None:
    put(storage, "folder/data", b"")
    with pytest.raises(Conflict):
        storage.writer("folder")
    with pytest.raises(Conflict):
        put(storage, "folder/data/below", b"")
    late = storage.writer("late")
    put(storage, "late/data", b"")
    with pytest.raises(Conflict):
        late.commit()
    late.abort()
    assert parts(storage) == []


def test_pipes_and_devices_are_no_files(storage: FolderStorage) -> None:
    os.mkfifo(storage.root / "pipe")
    assert storage.stat("pipe") is None
    assert storage.list().items == []
    with pytest.raises(NotFound):
        next(iter(storage.read("pipe")))


def test_names_that_no_key_can_say_are_not_listed(storage: FolderStorage) -> None:
    (Path(os.fsdecode(os.fsencode(storage.root) + b"/\xff\xfe"))).write_bytes(b"")
    (storage.root / "a\nb").write_bytes(b"")
    put(storage, "fine", b"")
    assert [item.key for item in storage.list(recursive=True).items] == ["fine"]


def test_a_reader_keeps_its_version(storage: FolderStorage) -> None:
    put(storage, "data", b"1" * 3_000_000)
    chunks = storage.read("data")
    first = next(chunks)
    put(storage, "data", b"2" * 3_000_000)
    assert set(first + b"".join(chunks)) == {ord("1")}


def test_a_folder_that_is_gone_is_told(storage: FolderStorage) -> None:
    storage.root.rmdir()
    for use in (storage.check, storage.list, lambda: storage.writer("data")):
        with pytest.raises(Unavailable):
            use()
    assert not storage.root.exists(), "a disk that is not mounted must not be replaced by an empty folder"


def test_what_a_killed_process_left_is_swept(storage: FolderStorage) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from a360_hub_service.backends.storage.folder import FolderStorage\n"
        "writer = FolderStorage(Path(sys.argv[1])).writer('data'); writer.write(b'x' * 1000)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(storage.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin
    assert process.stdout
    try:
        assert process.stdout.readline() == b"ready\n"
        (left,) = parts(storage)
        old = time.time() - STALE_SECONDS - 1
        os.utime(left, (old, old))
        put(storage, "other", b"")
        assert parts(storage) == [left], "its writer is alive"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    put(storage, "other", b"")
    assert parts(storage) == []
    assert storage.stat("data") is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    with contextlib.suppress(subprocess.SubprocessError):
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_leaves_nothing(small_disk: Path) -> None:
    storage = FolderStorage(small_disk / "volume")
    storage.ensure_volume(create=True)
    put(storage, "kept", b"k" * 1_000_000)
    writer = storage.writer("kept")
    with pytest.raises(OSError, match="space") as full:
        writer.write(b"x" * 5_000_000)
    assert full.value.errno == errno.ENOSPC
    writer.abort()
    assert parts(storage) == []
    assert b"".join(storage.read("kept")) == b"k" * 1_000_000
    put(storage, "again", b"x" * 2_000_000)
