"""What every storage of data repos has to do: folders, a simulated S3, and a real one (``make test-s3``)."""

import base64
import contextlib
import hashlib
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a360_hub_service.backends.storage.base import CHUNK, Storage
from a360_hub_service.backends.storage.folder import FolderStorage
from a360_hub_service.backends.storage.s3 import PART_BYTES, S3Storage
from a360_hub_service.backends.storage.s3_account import S3Account
from a360_hub_service.errors import A360Error, Conflict, Invalid, NotFound
from tests.support.s3 import S3Server, moto_server, real_server

KINDS = ["folder", "moto", pytest.param("real", marks=pytest.mark.s3)]
Make = Callable[[str], Storage]


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Opens a volume by name; it need not exist."""
    if request.param == "folder":
        yield lambda name: FolderStorage(tmp_path / "volumes" / name)
        return
    server = request.getfixturevalue("moto") if request.param == "moto" else real_server()
    if server is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no S3 server")
    account = S3Account.of(server.settings, server.keys)
    opened: list[Storage] = []

    def bucket(name: str) -> Storage:
        opened.append(S3Storage(account, name))
        return opened[-1]

    yield bucket
    for storage in opened:
        if isinstance(storage, S3Storage) and storage._region() is not None:
            for name in {item.key.split("/")[0] for item in storage.list(recursive=True, limit=1000).items}:
                storage.delete(name) or storage.delete_prefix(name)
            storage.discard_volume()


@pytest.fixture
def storage(make: Make) -> Storage:
    """A new, empty volume."""
    made = make(f"a360-test-{uuid.uuid4().hex[:16]}")
    made.ensure_volume(create=True)
    return made


def put(storage: Storage, key: str, content: bytes, *, overwrite: bool = True) -> None:
    with storage.writer(key, overwrite=overwrite) as writer:
        for start in range(0, len(content), CHUNK):
            writer.write(content[start : start + CHUNK])


def content(storage: Storage, key: str) -> bytes:
    return b"".join(storage.read(key))


def keys(storage: Storage, prefix: str = "", **options: object) -> list[str]:
    return [item.key for item in storage.list(prefix, **options).items]  # type: ignore[arg-type]


@pytest.mark.row("F217", "F219")
@pytest.mark.parametrize("size", [0, 1, CHUNK + 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 5])
def test_what_is_written_is_read(storage: Storage, size: int, tmp_path: Path) -> None:
    data = hashlib.shake_128(str(size).encode()).digest(size)
    put(storage, "folder/data.bin", data)
    info = storage.stat("folder/data.bin")
    assert info
    assert (info.type, info.size, info.name, info.key) == ("file", size, "data.bin", "folder/data.bin")
    assert content(storage, "folder/data.bin") == data
    assert storage.sha256("folder/data.bin") == hashlib.sha256(data).hexdigest()
    storage.download("folder/data.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_parts_are_read(storage: Storage) -> None:
    put(storage, "data", b"0123456789")
    assert b"".join(storage.read("data", 3)) == b"3456789"
    assert b"".join(storage.read("data", 3, 4)) == b"3456"
    assert b"".join(storage.read("data", 3, 0)) == b""
    assert b"".join(storage.read("data", 10)) == b""
    assert b"".join(storage.read("data", 8, 100)) == b"89"


def test_a_file_appears_whole_or_not_at_all(storage: Storage) -> None:
    put(storage, "data", b"old")
    writer = storage.writer("data")
    writer.write(b"n" * (PART_BYTES + CHUNK))
    assert content(storage, "data") == b"old"
    assert keys(storage) == ["data"]
    writer.abort()
    writer.abort()
    assert content(storage, "data") == b"old"
    with pytest.raises(ZeroDivisionError), storage.writer("other/data") as writer:
        writer.write(bytes([1 // 0]))
    assert keys(storage) == keys(storage, recursive=True) == ["data"]


def test_writing_twice_replaces_and_changes_the_version(storage: Storage) -> None:
    put(storage, "data", b"one")
    before = storage.stat("data")
    put(storage, "data", b"two")
    after = storage.stat("data")
    assert before
    assert after
    assert before.etag != after.etag
    assert b"".join(storage.read("data", etag=after.etag)) == b"two"
    with pytest.raises(Conflict):
        next(iter(storage.read("data", etag=before.etag)))


def test_without_overwriting_what_exists_stays(storage: Storage) -> None:
    put(storage, "data", b"one", overwrite=False)
    with pytest.raises(Conflict):
        storage.writer("data", overwrite=False)
    writer = storage.writer("late", overwrite=False)
    writer.write(b"mine")
    put(storage, "late", b"theirs")
    with pytest.raises(Conflict):
        writer.commit()
    writer.abort()
    assert content(storage, "late") == b"theirs"
    assert keys(storage) == ["data", "late"]


def test_of_two_that_write_at_once_the_last_to_finish_wins(storage: Storage) -> None:
    first, second = storage.writer("data"), storage.writer("data")
    for _ in range(PART_BYTES // CHUNK + 2):
        first.write(b"1" * CHUNK)
        second.write(b"2" * CHUNK)
    second.commit()
    assert set(content(storage, "data")) == {ord("2")}
    first.commit()
    assert set(content(storage, "data")) == {ord("1")}


def test_many_threads_never_mix_their_files(storage: Storage) -> None:
    size = 200_000
    errors: list[BaseException] = []

    def write(letter: int) -> None:
        try:
            for _ in range(5):
                put(storage, "data", bytes([letter]) * size)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in b"abcd"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if storage.stat("data"):
            seen = content(storage, "data")
            assert len(seen) == size
            assert len(set(seen)) == 1
    for thread in threads:
        thread.join()
    assert not errors


def test_reading_what_is_not_there(storage: Storage) -> None:
    put(storage, "folder/data", b"")
    assert storage.stat("data") is None
    assert storage.stat("folder") is None
    assert storage.stat("folder/data/more") is None
    for key in ("data", "folder"):
        with pytest.raises(NotFound):
            next(iter(storage.read(key)))


@pytest.mark.row("F218", "F220")
def test_folders_are_listed(storage: Storage) -> None:
    for key in ("b.txt", "a/x", "a/b/y", "a-c", "Projects/p/model.onnx"):
        put(storage, key, b"12345")
    found = storage.list().items
    assert [(item.key, item.type, item.size) for item in found] == [
        ("Projects", "directory", None),
        ("a-c", "file", 5),
        ("a", "directory", None),
        ("b.txt", "file", 5),
    ]
    assert keys(storage, "a") == keys(storage, "a/") == ["a/b", "a/x"]
    assert keys(storage, recursive=True) == ["Projects/p/model.onnx", "a-c", "a/b/y", "a/x", "b.txt"]
    assert keys(storage, "a", recursive=True) == ["a/b/y", "a/x"]
    assert keys(storage, "nowhere") == []
    assert keys(storage, "b.txt") == []


@pytest.mark.row("F220")
def test_lists_are_sorted_and_paged(storage: Storage) -> None:
    sizes = {"b.csv": 3, "a.txt": 1, "d.csv": 2, "c": 2, "e/deep": 9}
    for key, size in sizes.items():
        put(storage, key, b"x" * size)
    expected = {
        "name": ["a.txt", "b.csv", "c", "d.csv", "e"],
        "-name": ["e", "d.csv", "c", "b.csv", "a.txt"],
        "size": ["e", "a.txt", "c", "d.csv", "b.csv"],
        "-size": ["b.csv", "d.csv", "c", "a.txt", "e"],
        "type": ["e", "c", "b.csv", "d.csv", "a.txt"],
    }
    for sort, names in expected.items():
        assert keys(storage, sort=sort) == names, sort
        for limit in (1, 2, 5):
            collected, cursor = [], None
            while True:
                page = storage.list(sort=sort, limit=limit, cursor=cursor)
                assert len(page.items) <= limit
                collected += [item.key for item in page.items]
                if (cursor := page.next_cursor) is None:
                    break
            assert collected == names, (sort, limit)
    times = [item.last_modified for item in storage.list(sort="last_modified").items if item.type == "file"]
    assert times == sorted(times)  # type: ignore[type-var]


DEEP = base64.urlsafe_b64encode(b"[" * 3000).decode()


def test_a_cursor_of_another_list_is_refused(storage: Storage) -> None:
    for key in ("a", "b"):
        put(storage, key, b"")
    cursor = storage.list(limit=1).next_cursor
    for wrong in (DEEP, "x", "AAAA", "é", ""):
        with pytest.raises(Invalid):
            storage.list(cursor=wrong)
    with pytest.raises(Invalid):
        storage.list(sort="size", cursor=cursor)
    with pytest.raises(Invalid):
        storage.list(sort="colour")


def test_more_files_than_a_page_of_the_server(storage: Storage) -> None:
    if isinstance(storage, S3Storage):
        storage.page_size = 5
    names = [f"many/{number:02}" for number in range(13)]
    for name in names:
        put(storage, name, b"")
        put(storage, f"{name}-folder/file", b"")
    assert len(keys(storage, "many", limit=100)) == 26
    assert keys(storage, "many", recursive=True) == sorted(
        [*names, *(f"{name}-folder/file" for name in names)]
    )
    page = storage.list("many", limit=7)
    assert [item.key for item in storage.list("many", limit=2, cursor=page.next_cursor).items] == [
        "many/03-folder",
        "many/04",
    ]
    assert keys(storage, "many", sort="-name", limit=2) == ["many/12-folder", "many/12"]
    assert storage.delete_prefix("many") == 26
    assert keys(storage, recursive=True) == []


def test_deleting(storage: Storage) -> None:
    for key in ("a/x", "a/y/z", "ab"):
        put(storage, key, b"")
    assert storage.delete("a/x")
    assert not storage.delete("a/x")
    assert not storage.delete("a")
    assert storage.delete_prefix("a") == 1
    assert storage.delete_prefix("a") == 0
    assert keys(storage, recursive=True) == ["ab"]
    with pytest.raises(Invalid):
        storage.delete_prefix("")


@pytest.mark.parametrize(
    "key", ["ümläut/データ.csv", "a b+c&d=e?f#g%20.txt", "'\"<>|*:;.bin", "~.", "x" * 255]
)
def test_names_as_people_write_them(storage: Storage, key: str) -> None:
    put(storage, key, b"content")
    assert content(storage, key) == b"content"
    assert keys(storage, recursive=True) == [key]
    assert storage.delete(key)


BAD_KEYS = [
    "", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./x", "a//b", "a/", "a\0b", "a\nb",
    "a\\b", "..\\x", "x" * 256, "a/" * 600 + "a", "\ud800", ".a360-part/x", "x.a360-part",
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused(storage: Storage, key: str) -> None:
    for use in (storage.stat, storage.writer, storage.delete, lambda k: next(iter(storage.read(k)))):
        with pytest.raises(Invalid):
            use(key)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.sampled_from(["..", ".", "", "a", "b", "/", "\\", "\0", "%2e%2e", "~", "…", "link"]), max_size=6
    )
)
def test_no_key_leads_out_of_a_folder(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    base = tmp_path_factory.getbasetemp() / "escape"
    root = base / "volumes" / "volume"
    if not root.exists():
        root.mkdir(parents=True)
        (base / "secret").write_text("secret")
        (root / "link").symlink_to(base)
    storage = FolderStorage(root)
    for key in ("/".join(parts), "".join(parts), "/".join([*parts, "secret"])):
        with contextlib.suppress(A360Error):
            assert b"".join(storage.read(key)) != b"secret"
        with contextlib.suppress(A360Error):
            put(storage, key, b"mine")
        with contextlib.suppress(A360Error):
            storage.delete(key)
    assert (base / "secret").read_text() == "secret"
    assert {path.name for path in base.iterdir()} == {"secret", "volumes"}
    assert [path.name for path in (base / "volumes").iterdir()] == ["volume"]


@pytest.mark.row("F182", "F208")
def test_volumes_are_made_or_found(make: Make) -> None:
    name = f"a360-test-{uuid.uuid4().hex[:16]}"
    storage = make(name)
    with pytest.raises(Invalid) as missing:
        storage.ensure_volume(create=False)
    assert missing.value.errors[0].field == "volume_name"
    storage.ensure_volume(create=True)
    storage.ensure_volume(create=False)
    storage.check()
    with pytest.raises(Conflict):
        make(name).ensure_volume(create=True)
    put(storage, "data", b"")
    storage.discard_volume()
    assert storage.stat("data"), "a volume with files must never be discarded"
    storage.delete("data")
    make(name).discard_volume()
    with pytest.raises(A360Error):
        storage.check()
    with pytest.raises(A360Error):
        storage.list()
