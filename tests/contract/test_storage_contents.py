"""Contents of versions: kept once, copied by whoever stores them, in a folder and in buckets alike."""

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from a360_hub_service.backends.storage import s3_objects
from a360_hub_service.backends.storage.base import Storage
from a360_hub_service.backends.storage.folder import FolderStorage
from a360_hub_service.backends.storage.folder_objects import copy_file
from a360_hub_service.backends.storage.keys import HIDDEN, PART
from a360_hub_service.backends.storage.objects import Kept, object_key
from a360_hub_service.backends.storage.s3 import S3Storage
from a360_hub_service.backends.storage.s3_account import S3Account
from a360_hub_service.backends.storage.s3_objects import PART_BYTES
from a360_hub_service.errors import Conflict, Invalid, NotFound
from tests.support.s3 import S3Server, moto_server, real_server

MIB = 1024**2


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    name = f"a360-test-{uuid.uuid4().hex[:16]}"
    if request.param == "folder":
        made: Storage = FolderStorage(tmp_path / name)
    else:
        server = request.getfixturevalue("moto") if request.param == "moto" else real_server()
        if server is None:
            pytest.skip("A360_TEST_S3_ENDPOINT names no S3 server")
        made = S3Storage(S3Account.of(server.settings, server.keys), name)
    made.ensure_volume(create=True)
    return made


def keep(storage: Storage, content: bytes) -> Kept:
    writer = storage.objects.writer()
    for start in range(0, len(content), MIB):
        writer.write(content[start : start + MIB])
    kept: Kept = writer.commit()
    writer.abort()
    return kept


def put(storage: Storage, key: str, content: bytes) -> None:
    with storage.writer(key) as writer:
        writer.write(content)


def keys(storage: Storage) -> list[str]:
    return [item.key for item in storage.list(recursive=True).items]


@pytest.mark.row("F221")
@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5])
def test_a_content_is_kept_and_becomes_a_file(storage: Storage, size: int) -> None:
    content = (b"0123456789" * (size // 10 + 1))[:size]
    kept = keep(storage, content)
    assert kept == Kept(hashlib.sha256(content).hexdigest(), size)
    assert storage.objects.size(kept.sha256) == size
    assert keep(storage, content) == kept
    assert b"".join(storage.objects.read(kept.sha256)) == content
    assert b"".join(storage.objects.read(kept.sha256, 3, 4)) == content[3:7]
    info = storage.objects.place(kept.sha256, "deep/file")
    assert (info.key, info.size) == ("deep/file", size)
    assert info == storage.stat("deep/file")
    assert b"".join(storage.read("deep/file")) == content
    # No list shows contents, nor what was on its way to be one.
    assert keys(storage) == ["deep/file"]
    assert [item.key for item in storage.list().items] == ["deep"]


@pytest.mark.row("F221")
def test_a_file_that_others_write_into_changes_no_version(storage: Storage) -> None:
    kept = keep(storage, b"version one")
    before = storage.objects.place(kept.sha256, "x")
    if isinstance(storage, FolderStorage):
        with (storage.root / "x").open("r+b") as file:  # in its place, as many tools do
            file.write(b"VERSION")
    else:
        put(storage, "x", b"VERSION one")
    assert b"".join(storage.objects.read(kept.sha256)) == b"version one"
    after = storage.stat("x")
    assert after is not None
    assert after.etag != before.etag
    taken, info = storage.objects.keep("x")
    assert (taken.sha256, info.etag) == (hashlib.sha256(b"VERSION one").hexdigest(), after.etag)
    assert b"".join(storage.objects.read(taken.sha256)) == b"VERSION one"
    storage.objects.place(kept.sha256, "x")
    assert b"".join(storage.read("x")) == b"version one"


@pytest.mark.row("F221")
def test_a_copy_that_was_prepared_becomes_the_file(storage: Storage) -> None:
    content, name = b"version one", "0123456789abcdef"
    kept = keep(storage, content)
    if not isinstance(storage, FolderStorage):
        storage.objects.place(kept.sha256, "x", prepared=name)
        assert b"".join(storage.read("x")) == content
        return
    copy = storage.root / PART / f"{name}{PART}"
    copy.write_bytes(content)
    number = copy.stat().st_ino
    info = storage.objects.place(kept.sha256, "x", prepared=name)
    assert info == storage.stat("x")
    assert (storage.root / "x").stat().st_ino == number
    assert not copy.exists()
    with pytest.raises(Conflict, match="exists already"):
        storage.objects.place(kept.sha256, "x", overwrite=False, prepared=name)
    # What is none of it is left alone, and the content copied.
    copy.write_bytes(content[:-1])
    storage.objects.place(kept.sha256, "y", prepared=name)
    copy.unlink()
    copy.symlink_to(storage.root / "y")
    storage.objects.place(kept.sha256, "z", prepared=name)
    copy.unlink()
    os.mkfifo(copy)
    storage.objects.place(kept.sha256, "w", prepared=name)
    storage.objects.place(kept.sha256, "v", prepared="f" * 16)
    assert {b"".join(storage.read(key)) for key in "vwxyz"} == {content}
    assert not any((storage.root / key).is_symlink() for key in "vwxyz")


def test_what_is_not_there_or_in_the_way_is_told(storage: Storage) -> None:
    kept = keep(storage, b"1")
    storage.objects.place(kept.sha256, "x")
    with pytest.raises(Conflict, match="exists already"):
        storage.objects.place(kept.sha256, "x", overwrite=False)
    with pytest.raises(NotFound):
        storage.objects.place("0" * 64, "y")
    with pytest.raises(NotFound):
        list(storage.objects.read("0" * 64))
    with pytest.raises(NotFound):
        storage.objects.keep("nothing")
    assert storage.objects.size("0" * 64) is None
    for wrong in ("", "../x", "A" * 64, "0" * 63):
        with pytest.raises(Invalid):
            storage.objects.size(wrong)
    for key in (f"{HIDDEN}/x", object_key(kept.sha256)):
        with pytest.raises(Invalid, match="platform's own"):
            storage.stat(key)
        with pytest.raises(Invalid, match="platform's own"):
            storage.delete(key)


def test_a_content_that_is_given_up_leaves_nothing(storage: Storage) -> None:
    writer = storage.objects.writer()
    writer.write(b"1" * (PART_BYTES + 1))
    writer.abort()
    if isinstance(storage, FolderStorage):
        assert list((storage.root / PART).iterdir()) == []
    elif isinstance(storage, S3Storage):
        assert "Uploads" not in storage.client.list_multipart_uploads(Bucket=storage.bucket)
    assert keys(storage) == []


def test_lists_pass_many_contents_by(moto: S3Server) -> None:
    storage = S3Storage(S3Account.of(moto.settings, moto.keys), f"a360-test-{uuid.uuid4().hex[:16]}")
    storage.ensure_volume(create=True)
    storage.page_size = 2
    for number in range(9):
        keep(storage, str(number).encode())
    for key in ("-first", ".a3600", "a", "z/z"):
        put(storage, key, b"1")
    asked: list[str] = []

    def count(params: object, **_: object) -> None:
        asked.append("list")

    storage.client.meta.events.register("before-call.s3.ListObjectsV2", count)
    assert keys(storage) == ["-first", ".a3600", "a", "z/z"]
    assert len(asked) <= 4  # nine contents alone would be five


def test_a_large_content_is_copied_in_parts(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a server does from 1 GB on, with smaller numbers."""
    small = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=5 * MIB)
    monkeypatch.setattr(s3_objects, "_COPY", small)
    content = os.urandom(13 * MIB)
    kept = keep(storage, content)
    storage.objects.place(kept.sha256, "large")
    assert b"".join(storage.read("large")) == content


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS])
def test_file_systems_that_cannot_copy_are_copied_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "source").write_bytes(b"x" * 100_000)

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("xb") as target:
        copy_file(source, target)
    assert (tmp_path / "target").read_bytes() == b"x" * 100_000
