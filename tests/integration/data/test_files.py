"""Files of data repos through the API."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.data import MEGABYTE, problem


@pytest.mark.row("F212", "F213", "F216", "F217", "F218", "F219", "F220")
def test_files_are_uploaded_listed_and_downloaded(client: httpx.Client, files: str, folder: Path) -> None:
    content = hashlib.shake_128(b"data").digest(3 * MEGABYTE + 17)
    answer = client.put(f"{files}/raw/customers 2026.csv", content=content)
    assert answer.status_code == 201, answer.text
    info = answer.json()
    assert (info["key"], info["name"], info["type"], info["size"]) == (
        "raw/customers 2026.csv", "customers 2026.csv", "file", len(content),
    )  # fmt: skip
    assert (folder / "raw" / "customers 2026.csv").read_bytes() == content
    assert client.put(f"{files}/raw/customers 2026.csv", content=content).status_code == 200
    client.put(f"{files}/Projects/model.onnx", content=b"m")
    listed = client.get(files).json()["items"]
    assert [(item["key"], item["type"]) for item in listed] == [
        ("Projects", "directory"),
        ("raw", "directory"),
    ]
    assert [item["size"] for item in client.get(files, params={"prefix": "raw"}).json()["items"]] == [
        len(content)
    ]
    assert client.get(f"{files}/raw/customers 2026.csv").content == content


@pytest.mark.row("F220")
def test_lists_are_sorted_and_paged(client: httpx.Client, files: str) -> None:
    for name, size in {"b.csv": 3, "a.txt": 1, "c": 2}.items():
        client.put(f"{files}/{name}", content=b"x" * size)

    def names(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = client.get(files, params={"limit": 2, **query}).json()
            found += [item["name"] for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    assert names(sort="name") == ["a.txt", "b.csv", "c"]
    assert names(sort="-size") == ["b.csv", "c", "a.txt"]
    assert names(sort="type") == ["c", "b.csv", "a.txt"]
    assert names(sort="last_modified") == ["b.csv", "a.txt", "c"]
    for wrong in ({"sort": "colour"}, {"cursor": "x"}, {"prefix": "../up"}, {"limit": 0}, {"unknown": 1}):
        problem(client.get(files, params=wrong), 422)


def test_a_file_is_not_replaced_if_that_is_not_wanted(client: httpx.Client, files: str) -> None:
    client.put(f"{files}/data", content=b"one")
    for content in (b"two", b"2" * (5 * MEGABYTE)):
        refused = problem(client.put(f"{files}/data", params={"overwrite": False}, content=content), 409)
        assert "exists already" in refused["detail"]
    assert client.get(f"{files}/data").content == b"one"
    assert client.put(f"{files}/new", params={"overwrite": False}, content=b"x").status_code == 201
    problem(client.put(f"{files}/new", params={"overwrite": "perhaps"}, content=b"x"), 422)


def test_files_and_folders_are_deleted(client: httpx.Client, files: str) -> None:
    for key in ("a/b/c", "a/d", "e"):
        client.put(f"{files}/{key}", content=b"")
    assert client.delete(f"{files}/e").status_code == 204
    problem(client.delete(f"{files}/e"), 404)
    assert "folder" in problem(client.delete(f"{files}/a"), 409)["detail"]
    assert client.delete(f"{files}/a", params={"recursive": True}).status_code == 204
    assert client.get(files).json()["items"] == []


def test_downloads_are_attachments_that_run_nowhere(client: httpx.Client, files: str) -> None:
    client.put(f"{files}/naïve “file”.html", content=b"<script>alert(1)</script>")
    for answer in (client.get(f"{files}/naïve “file”.html"), client.head(f"{files}/naïve “file”.html")):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == (
            'attachment; filename="na_ve _file_.html"; '
            "filename*=UTF-8''na%C3%AFve%20%E2%80%9Cfile%E2%80%9D.html"
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Content-Length"] == "25"
    assert answer.content == b""


def test_parts_and_versions(client: httpx.Client, files: str) -> None:
    client.put(f"{files}/data", content=b"0123456789")
    path = f"{files}/data"
    whole = client.get(path)
    etag, modified = whole.headers["Etag"], whole.headers["Last-Modified"]
    for part, content, where in [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=5-100", b"56789", "bytes 5-9/10"),
        ("bytes=-100", b"0123456789", "bytes 0-9/10"),
    ]:
        answer = client.get(path, headers={"Range": part})
        assert (answer.status_code, answer.content) == (206, content), part
        assert answer.headers["Content-Range"] == where
    for ignored in ("bytes=1-2,4-5", "lines=1-2", "bytes=-", "bytes=a-b"):
        answer = client.get(path, headers={"Range": ignored})
        assert (answer.status_code, answer.content) == (200, b"0123456789"), ignored
    for outside in ("bytes=10-", "bytes=5-2", "bytes=-0"):
        refused = client.get(path, headers={"Range": outside})
        problem(refused, 416)
        assert refused.headers["Content-Range"] == "bytes */10"
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": etag}).status_code == 206
    assert client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'}).status_code == 200
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert client.head(path, headers={"If-None-Match": f'"x", {etag}'}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
    assert client.get(path, headers={"If-Modified-Since": modified}).status_code == 304
    for unreadable in ("nonsense", f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}"):
        assert client.get(path, headers={"If-Modified-Since": unreadable}).status_code == 200
    client.put(path, content=b"9876543210")
    assert client.get(path).headers["Etag"] != etag
    problem(client.get(f"{files}/nothing"), 404)


@pytest.mark.parametrize(
    "key",
    ["..%2f..%2fsecret", "%2fetc%2fpasswd", "a%2f..%2f..%2fb", "a%00b", "a//b", "a%5cb", "%ff", "x" * 300],
)
def test_keys_that_are_none_are_refused(client: httpx.Client, files: str, key: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, f"{files}/{key}", content=b"x" if method == "PUT" else None)
        assert answer.status_code in (400, 422), (method, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"
