"""Versions of data repos over the API."""

import hashlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.data import MEGABYTE, new_name, problem, repo_form
from tests.support.service import ServiceProcess, wait_for


@pytest.fixture
def repo(project: dict[str, Any]) -> str:
    """The path of the project's data repo."""
    return f"/data-repos/{project['default_data_repo_id']}"


def commits(client: httpx.Client, repo: str, **query: Any) -> list[dict[str, Any]]:
    """All commits, newest first, in pages of two."""
    found: list[dict[str, Any]] = []
    while True:
        page = client.get(f"{repo}/commits", params={"limit": 2, **query}).json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


def keep(client: httpx.Client, repo: str, content: bytes) -> dict[str, Any]:
    """Have the data repo keep a content, and say what a change of a commit needs."""
    key = f"{new_name()}.tmp"
    client.put(f"{repo}/files/{key}", content=content).raise_for_status()
    client.delete(f"{repo}/files/{key}").raise_for_status()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


@pytest.mark.row("F216", "F217", "F221")
def test_uploads_and_deletions_are_commits(client: httpx.Client, repo: str) -> None:
    for key, content in (("a/1", b"one"), ("a/2", b"two"), ("a/1", b"three")):
        client.put(f"{repo}/files/{key}", content=content).raise_for_status()
    first = commits(client, repo)[-1]
    assert (first["kind"], first["keys"], first["change_count"]) == ("upload", ["a/1"], 1)
    assert (first["created_by"], first["parent_id"]) == ("scientist", None)
    assert client.delete(f"{repo}/files/a", params={"recursive": True}).status_code == 204
    log = commits(client, repo)
    assert [commit["kind"] for commit in log] == ["delete", "upload", "upload", "upload"]
    assert (log[0]["keys"], log[0]["parent_id"]) == (["a/1", "a/2"], log[1]["id"])
    assert [commit["id"] for commit in commits(client, repo, key="a/2")] == [log[0]["id"], log[2]["id"]]
    assert client.get(f"{repo}/commits/{first['id']}").json() == first
    # Every version can be downloaded, whole and in parts.
    assert client.get(f"{repo}/files/a/1", params={"at": first["id"]}).content == b"one"
    assert client.get(f"{repo}/files/a/1", params={"at": log[1]["id"][:32]}).content == b"three"
    part = client.get(f"{repo}/files/a/1", params={"at": first["id"]}, headers={"Range": "bytes=1-"})
    assert (part.status_code, part.content) == (206, b"ne")
    assert part.headers["Etag"] == f'"{hashlib.sha256(b"one").hexdigest()}"'
    problem(client.get(f"{repo}/files/a/1"), 404)
    problem(client.get(f"{repo}/files/a/1", params={"at": "main"}), 404)
    problem(client.get(f"{repo}/files/a/1", params={"at": "nowhere"}), 404)


@pytest.mark.row("F221")
def test_trees_are_those_of_their_time(client: httpx.Client, repo: str) -> None:
    for key in ("b/x", "b/y", "a", "c"):
        client.put(f"{repo}/files/{key}", content=key.encode()).raise_for_status()
    at = commits(client, repo)[0]["id"]
    client.delete(f"{repo}/files/b/x").raise_for_status()

    def keys(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = client.get(f"{repo}/tree", params={"limit": 2, **query}).json()
            found += [item["key"] for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    assert keys(at=at) == ["a", "b/x", "b/y", "c"]
    assert keys() == ["a", "b/y", "c"]
    assert keys(at=at, prefix="b") == ["b/x", "b/y"]
    compared = client.get(f"{repo}/compare", params={"base": at}).json()["items"]
    assert [(item["key"], item["change"]) for item in compared] == [("b/x", "deleted")]
    assert client.get(f"{repo}/compare", params={"base": at, "to": at}).json()["items"] == []
    for wrong in ({"limit": 0}, {"at": ""}, {"cursor": "x y"}, {"unknown": 1}):
        problem(client.get(f"{repo}/tree", params=wrong), 422)
    problem(client.get(f"{repo}/commits", params={"cursor": "YWJj"}), 422)


@pytest.mark.row("F221")
def test_a_commit_is_made_once_and_only_of_what_is_kept(
    client: httpx.Client, repo: str, folder: Path
) -> None:
    content = keep(client, repo, b"content")
    body = {"id": uuid.uuid4().hex, "message": "m", "changes": [{"key": "x", **content}]}
    before = len(commits(client, repo))
    made = [client.post(f"{repo}/commits", json=body) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert len(commits(client, repo)) == before + 1
    assert (folder / "x").read_bytes() == b"content"
    for change, status in (
        ({"key": "y", "sha256": "0" * 64, "size": 7}, 422),
        ({"key": "y", "sha256": content["sha256"], "size": 8}, 422),
        ({"key": "../y", **content}, 422),
        ({"key": ".a360/objects/y", **content}, 422),
        ({"key": "Projects/y", **content}, 422),
        ({"key": "x/y", **content}, 409),
        ({"key": "x", "etag": "another", **content}, 409),
    ):
        problem(client.post(f"{repo}/commits", json={"changes": [change]}), status)
    twice = [{"key": "z", **content}, {"key": "z", **content}]
    problem(client.post(f"{repo}/commits", json={"changes": twice}), 422)
    problem(client.post(f"{repo}/commits", json={"changes": []}), 422)
    missing = {"branch": "nowhere", "changes": [{"key": "z", **content}]}
    problem(client.post(f"{repo}/commits", json=missing), 404)
    refused = {"overwrite": False, "changes": [{"key": "x", **content}]}
    problem(client.post(f"{repo}/commits", json=refused), 409)
    assert len(commits(client, repo)) == before + 1
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["x"]


@pytest.mark.row("F221")
def test_a_commit_of_another_data_repo_is_not_to_be_had(
    client: httpx.Client, service: ServiceProcess, project: dict[str, Any], repo: str
) -> None:
    client.put(f"{repo}/files/secret", content=b"1").raise_for_status()
    theirs = commits(client, repo)[0]["id"]
    other = client.post(f"/projects/{project['id']}/data-repos", json=repo_form()).json()["id"]
    problem(client.get(f"/data-repos/{other}/commits/{theirs}"), 404)
    problem(client.get(f"/data-repos/{other}/tree", params={"at": theirs}), 404)
    problem(client.post(f"/data-repos/{other}/tags", json={"name": "t", "at": theirs}), 404)
    changes = [{"key": "secret"}]
    problem(client.post(f"/data-repos/{other}/commits", json={"id": theirs, "changes": changes}), 409)
    with service.client("outsider") as outsider:
        for path in ("commits", "tree", "branches", "tags", "changes", f"commits/{theirs}"):
            problem(outsider.get(f"{repo}/{path}"), 404)
    # The data repo takes its versions with it; its contents stay with its files.
    client.put(f"/data-repos/{other}/files/x", content=b"1").raise_for_status()
    assert client.delete(f"/data-repos/{other}").status_code == 204


@pytest.mark.row("F221")
def test_branches_of_branches(client: httpx.Client, repo: str) -> None:
    client.put(f"{repo}/files/x", content=b"0").raise_for_status()
    parent = "main"
    for number in range(1, 5):
        name = f"b{number}"
        assert client.post(f"{repo}/branches", json={"name": name, "at": parent}).status_code == 201
        change = {"key": "x", **keep(client, repo, str(number).encode())}
        body = {"branch": name, "changes": [change, {"key": f"only-{name}", **keep(client, repo, b"o")}]}
        assert client.post(f"{repo}/commits", json=body).status_code == 201
        parent = name
    for number in range(1, 5):
        at = {"at": f"b{number}"}
        assert client.get(f"{repo}/files/x", params=at).content == str(number).encode()
        found = [item["key"] for item in client.get(f"{repo}/tree", params=at).json()["items"]]
        assert found == [*(f"only-b{n}" for n in range(1, number + 1)), "x"]
    assert client.get(f"{repo}/files/x").content == b"0"
    assert len(commits(client, repo, at="b4", key="x")) == 5
    problem(client.post(f"{repo}/branches", json={"name": "b1"}), 409)
    problem(client.post(f"{repo}/tags", json={"name": "b1"}), 409)
    for kind in ("branches", "tags"):
        for wrong in ("-a", ".a", "a b", "a" * 65, "0" * 8):
            problem(client.post(f"{repo}/{kind}", json={"name": wrong}), 422)
        assert client.post(f"{repo}/{kind}", json={"name": f"2026-11-{kind}"}).status_code == 201
    assert client.delete(f"{repo}/branches/b2").status_code == 204
    problem(client.delete(f"{repo}/branches/b2"), 404)
    assert client.get(f"{repo}/files/only-b2", params={"at": "b4"}).content == b"o"
    problem(client.delete(f"{repo}/branches/main"), 409)
    problem(client.delete(f"{repo}/tags/nothing"), 404)


@pytest.mark.row("F221")
def test_restoring_refuses_what_would_be_lost_and_undoes_what_fails(
    client: httpx.Client, repo: str, folder: Path
) -> None:
    for name in ("a", "b", "c"):
        client.put(f"{repo}/files/{name}", content=b"old").raise_for_status()
    client.post(f"{repo}/tags", json={"name": "then"}).raise_for_status()
    for name in ("a", "b", "c"):
        client.put(f"{repo}/files/{name}", content=b"new").raise_for_status()
    (folder / "b").write_bytes(b"theirs")
    refused = problem(client.post(f"{repo}/restore", json={"to": "then"}), 409)
    assert "another tool" in refused["detail"]
    kept = client.post(f"{repo}/contents", json={"keys": ["b"]}).json()["items"]
    client.post(f"{repo}/commits", json={"kind": "take-in", "changes": kept}).raise_for_status()
    # The last of three cannot be written: the first two are what they were.
    (folder / "c").unlink()
    (folder / "c").mkdir()
    gone = {"kind": "take-in", "changes": [{"key": "c", "etag": ""}]}
    client.post(f"{repo}/commits", json=gone).raise_for_status()
    problem(client.post(f"{repo}/restore", json={"to": "then"}), 409)
    assert [(folder / name).read_bytes() for name in ("a", "b")] == [b"new", b"theirs"]
    (folder / "c").rmdir()
    changes = client.get(f"{repo}/changes").json()["items"]
    keys = [change["key"] for change in changes]
    kept = client.post(f"{repo}/contents", json={"keys": keys}).json()["items"] if keys else []
    if kept:
        client.post(f"{repo}/commits", json={"kind": "take-in", "changes": kept}).raise_for_status()
    body = {"id": uuid.uuid4().hex, "to": "then"}
    made = [client.post(f"{repo}/restore", json=body).json() for _ in range(2)]
    assert made[0] == made[1]
    assert made[0]["kind"] == "restore"
    assert [(folder / name).read_bytes() for name in ("a", "b", "c")] == [b"old"] * 3
    assert client.get(f"{repo}/compare", params={"base": "then"}).json()["items"] == []
    assert client.get(f"{repo}/changes").json()["items"] == []
    problem(client.post(f"{repo}/restore", json={"to": "nowhere"}), 404)
    problem(client.post(f"{repo}/restore", json={"to": "then", "keys": ["nothing"]}), 422)


@pytest.mark.row("F221")
def test_commits_at_the_same_time_come_in_an_order(
    client: httpx.Client, service: ServiceProcess, repo: str, folder: Path
) -> None:
    contents = [keep(client, repo, bytes([65 + number]) * MEGABYTE) for number in range(6)]
    barrier = threading.Barrier(6)

    def commit(number: int) -> int:
        with service.client("scientist") as own:
            barrier.wait()
            body = {
                "changes": [{"key": "shared", **contents[number]}, {"key": f"own-{number}", **contents[0]}]
            }
            return own.post(f"{repo}/commits", json=body).status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(commit, range(6))) == [201] * 6
    log = commits(client, repo, key="shared")
    assert len(log) == 6
    head = client.get(f"{repo}/version", params={"key": "shared"}).json()
    assert (head["commit_id"], head["current"]) == (log[0]["id"], True)
    assert hashlib.sha256((folder / "shared").read_bytes()).hexdigest() == head["sha256"]
    assert client.get(f"{repo}/changes").json()["items"] == []


@pytest.mark.row("F221")
def test_a_service_killed_between_file_and_commit_loses_neither(fresh_service: ServiceProcess) -> None:
    service = fresh_service
    with service.client("scientist") as client:
        form = {
            "name": "P",
            "customer_name": "Acme",
            "data_repo": {
                "name": "r",
                "volume_account": "local",
                "volume_option": "new",
                "volume_name": "kkk",
            },
        }
        project = client.post("/projects", json=form).json()
        repo = f"/data-repos/{project['default_data_repo_id']}"
        client.put(f"{repo}/files/x", content=b"old").raise_for_status()
    body = b"n" * (8 * MEGABYTE)

    def upload() -> None:
        with service.client("scientist") as own:
            try:
                own.put(f"{repo}/files/x", content=body)
            except httpx.TransportError:
                return

    sender = threading.Thread(target=upload)
    sender.start()
    plain = service.home / "volumes" / "kkk" / "x"
    wait_for(lambda: plain.stat().st_size == len(body) or not sender.is_alive())
    service.kill()
    sender.join()
    service.start()
    with service.client("scientist") as client:
        assert client.get(f"{repo}/files/x").content == body
        log, changes = commits(client, repo), client.get(f"{repo}/changes").json()["items"]
        # Either it was committed, or it is seen that it was not.
        assert (len(log), len(changes)) in ((2, 0), (1, 1))
        assert client.get(f"{repo}/files/x", params={"at": log[-1]["id"]}).content == b"old"
