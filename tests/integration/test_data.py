"""Data repos and their files through the API."""

import hashlib
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from a360_hub_service.backends.storage.keys import PART
from a360_hub_service.entities import Artifact, Credential, DataRepo, Experiment, Model, Run
from tests.support.s3 import S3Server, moto_server
from tests.support.service import ServiceProcess, project_form, wait_for

MEGABYTE = 1024**2


def new_name(what: str = "data") -> str:
    return f"{what}-{uuid.uuid4().hex[:12]}"


def repo_form(**more: Any) -> dict[str, Any]:
    name = new_name("repo")
    return {"name": name, "volume_account": "local", "volume_option": "new", "volume_name": name, **more}


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("scientist") as client:
        yield client


@pytest.fixture
def project(client: httpx.Client) -> dict[str, Any]:
    answer = client.post("/projects", json=project_form(new_name("Project"), new_name("volume")))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture
def files(project: dict[str, Any]) -> str:
    """The path of the files of the project's data repo."""
    return f"/data-repos/{project['default_data_repo_id']}/files"


@pytest.fixture
def folder(client: httpx.Client, project: dict[str, Any]) -> Path:
    """The folder of the project's data repo."""
    return Path(client.get(f"/data-repos/{project['default_data_repo_id']}/access").json()["path"])


def repos(client: httpx.Client, project: dict[str, Any]) -> list[dict[str, Any]]:
    return list(client.get(f"/projects/{project['id']}/data-repos").json()["items"])


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return dict(answer.json())


# Data repos


@pytest.mark.row("F077", "F178", "F180", "F185", "C02")
def test_a_project_comes_with_its_default_repo_and_credential(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any]
) -> None:
    (repo,) = repos(client, project)
    assert repo["id"] == project["default_data_repo_id"]
    assert repo["is_default"]
    assert (repo["storage_provider"], repo["volume_account"], repo["volume_region"]) == (
        "local",
        "local",
        None,
    )
    with service.client("admin") as admin:
        credential = admin.get(f"/credentials/{repo['id']}").json()
    assert (credential["category"], credential["service"]) == ("data_repo", "local")
    assert credential["settings"]["volume_name"] == repo["volume_name"]


@pytest.mark.row("F181", "F207")
def test_this_machine_is_a_volume_account(client: httpx.Client) -> None:
    accounts = client.get("/volume-accounts").json()["items"]
    assert accounts[0]["id"] == "local"
    assert accounts[0]["name"] == "This machine"


@pytest.mark.row("F186", "F201", "F202", "F203", "F205", "F206", "F208", "F211")
def test_further_repos_are_not_default_until_they_are_made_so(
    client: httpx.Client, project: dict[str, Any]
) -> None:
    answer = client.post(f"/projects/{project['id']}/data-repos", json=repo_form(description="More"))
    assert answer.status_code == 201, answer.text
    more = answer.json()
    assert not more["is_default"]
    assert [repo["is_default"] for repo in repos(client, project)] == [False, True]
    assert client.post(f"/data-repos/{more['id']}/default").json()["is_default"]
    assert [repo["is_default"] for repo in repos(client, project)] == [True, False]
    assert client.post(f"/data-repos/{more['id']}/default").status_code == 200
    assert client.get(f"/projects/{project['id']}").json()["default_data_repo_id"] == more["id"]


@pytest.mark.row("F179", "F204")
def test_a_name_has_at_most_64_characters(client: httpx.Client, project: dict[str, Any]) -> None:
    path = f"/projects/{project['id']}/data-repos"
    assert client.post(path, json=repo_form(name="n" * 64)).status_code == 201
    refused = problem(client.post(path, json=repo_form(name="n" * 65)), 422)
    assert refused["errors"][0]["field"] == "name"
    form = project_form(new_name("P"), new_name("v"))
    form["data_repo"]["name"] = "n" * 65
    assert problem(client.post("/projects", json=form), 422)["errors"][0]["field"] == "data_repo.name"
    repo = repos(client, project)[0]
    problem(client.patch(f"/data-repos/{repo['id']}", json={"name": "n" * 65}), 422)


@pytest.mark.row("F183", "F209", "C01")
@pytest.mark.parametrize(
    "name",
    ["My Volume", "UPPER", "under_score", "-dash", "dash-", "ab", "v" * 64, "../up", "dot.ted", "ü-volume"],
)
def test_volume_names_follow_the_rules_of_buckets(
    client: httpx.Client, project: dict[str, Any], name: str
) -> None:
    form = repo_form(volume_name=name)
    refused = problem(client.post(f"/projects/{project['id']}/data-repos", json=form), 422)
    assert refused["errors"][0]["field"] == "volume_name"


@pytest.mark.row("F182")
def test_one_volume_is_one_repo(client: httpx.Client, project: dict[str, Any]) -> None:
    path, form = f"/projects/{project['id']}/data-repos", repo_form()
    assert client.post(path, json=form).status_code == 201
    again = {**form, "name": new_name("other")}
    assert problem(client.post(path, json=again), 409)["errors"][0]["field"] == "volume_name"
    problem(client.post(path, json={**again, "volume_option": "existing"}), 409)
    same_name = repo_form(name=form["name"].upper())
    assert problem(client.post(path, json=same_name), 409)["errors"][0]["field"] == "name"


@pytest.mark.row("F182", "F208")
def test_an_existing_volume_has_to_exist(client: httpx.Client, project: dict[str, Any], folder: Path) -> None:
    path, form = f"/projects/{project['id']}/data-repos", repo_form(volume_option="existing")
    assert problem(client.post(path, json=form), 422)["errors"][0]["field"] == "volume_name"
    volume = folder.parent / form["volume_name"]
    volume.mkdir()
    (volume / "data.csv").write_text("a,b\n")
    repo = client.post(path, json=form).json()
    assert client.get(f"/data-repos/{repo['id']}/files/data.csv").text == "a,b\n"


def test_a_repo_that_cannot_be_made_leaves_no_volume(client: httpx.Client, folder: Path) -> None:
    form = project_form(new_name("P"), new_name("v"))
    assert client.post("/projects", json=form).status_code == 201
    volume = new_name("second")
    again = project_form(form["name"], volume)
    problem(client.post("/projects", json=again), 409)
    assert not (folder.parent / volume).exists()


def test_an_account_that_is_not_the_callers(client: httpx.Client, project: dict[str, Any]) -> None:
    for account in ("nowhere", uuid.uuid4().hex, project["default_data_repo_id"]):
        form = repo_form(volume_account=account)
        refused = problem(client.post(f"/projects/{project['id']}/data-repos", json=form), 422)
        assert refused["errors"][0]["field"] == "volume_account"


def test_repos_are_edited(service: ServiceProcess, client: httpx.Client, project: dict[str, Any]) -> None:
    path = f"/data-repos/{project['default_data_repo_id']}"
    name = new_name("renamed")
    edited = client.patch(path, json={"name": name, "description": "New"}).json()
    assert (edited["name"], edited["description"]) == (name, "New")
    assert client.get(path).json() == edited
    with service.client("admin") as admin:
        assert admin.get(f"/credentials/{edited['id']}").json()["name"].endswith(f"/{name}")
    problem(client.patch(path, json={"volume_name": "other"}), 422)


def test_repos_are_forgotten_and_their_volumes_stay(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any], folder: Path
) -> None:
    form = repo_form()
    repo = client.post(f"/projects/{project['id']}/data-repos", json=form).json()
    client.put(f"/data-repos/{repo['id']}/files/data", content=b"kept")
    assert client.delete(f"/data-repos/{repo['id']}").status_code == 204
    problem(client.get(f"/data-repos/{repo['id']}"), 404)
    assert (folder.parent / form["volume_name"] / "data").read_bytes() == b"kept"
    with service.client("admin") as admin:
        problem(admin.get(f"/credentials/{repo['id']}"), 404)
    default = project["default_data_repo_id"]
    assert "default" in problem(client.delete(f"/data-repos/{default}"), 409)["detail"]


def test_a_projects_credentials_go_with_it(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any]
) -> None:
    assert client.delete(f"/projects/{project['id']}").status_code == 204
    database = service.database()
    with database.session(write=False) as session:
        assert session.get(Credential, project["default_data_repo_id"]) is None
    database.close()


def add_artifact(service: ServiceProcess, repo_id: str, key: str) -> None:
    """A finished run with one artifact, as a notebook leaves it."""
    database = service.database()
    with database.session() as session:
        repo = session.get_one(DataRepo, repo_id)
        model = Model(project_id=repo.project_id, model_name=new_name("m"), created_by="scientist")
        session.add(model)
        session.flush()
        experiment = Experiment(
            model_id=model.id,
            experiment_name="e",
            model_flavor="sklearn",
            input_signature="",
            output_signature="",
            created_by="scientist",
        )
        session.add(experiment)
        session.flush()
        run = Run(
            experiment_id=experiment.id,
            status="finished",
            data_repo_id=repo.id,
            artifact_prefix="Projects",
            created_by="scientist",
        )
        session.add(run)
        session.flush()
        session.add(
            Artifact(run_id=run.id, name="trained_model", kind="model", file_key=key, size=1, sha256="0" * 64)
        )
    database.close()


def test_what_runs_refer_to_is_kept(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any]
) -> None:
    repo = client.post(f"/projects/{project['id']}/data-repos", json=repo_form()).json()
    path, key = f"/data-repos/{repo['id']}", "Projects/m_1/model.onnx"
    client.put(f"{path}/files/{key}", content=b"m")
    add_artifact(service, repo["id"], key)
    assert "run" in problem(client.delete(path), 409)["detail"]
    problem(client.delete(f"{path}/files/{key}"), 409)
    problem(client.delete(f"{path}/files/Projects", params={"recursive": True}), 409)
    problem(client.put(f"{path}/files/{key}", content=b"other"), 409)
    assert client.get(f"{path}/files/{key}").content == b"m"
    client.put(f"{path}/files/Projects/mx1/model.onnx", content=b"other")
    assert client.delete(f"{path}/files/Projects/mx1", params={"recursive": True}).status_code == 204


@pytest.mark.row("F028")
def test_others_see_nothing(service: ServiceProcess, project: dict[str, Any], files: str) -> None:
    repo = project["default_data_repo_id"]
    with service.client("outsider") as outsider, service.client("engineer") as engineer:
        for client in (outsider, engineer):
            for method, path in [
                ("GET", f"/data-repos/{repo}"),
                ("PATCH", f"/data-repos/{repo}"),
                ("DELETE", f"/data-repos/{repo}"),
                ("POST", f"/data-repos/{repo}/default"),
                ("GET", f"/data-repos/{repo}/access"),
                ("GET", files),
                ("GET", f"{files}/x"),
                ("PUT", f"{files}/x"),
                ("DELETE", f"{files}/x"),
                ("GET", f"/projects/{project['id']}/data-repos"),
            ]:
                assert client.request(method, path).status_code == 404, (method, path)
            assert client.head(f"{files}/x").status_code == 404


# Files


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
    assert client.get(path, headers={"If-Modified-Since": "nonsense"}).status_code == 200
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


# Uploads that go wrong


def raw_upload(service: ServiceProcess, path: str, headers: str) -> socket.socket:
    """Send the head of an upload and nothing of its body."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=20)
    head = f"PUT /services/a360/api/v1{path} HTTP/1.1\r\nHost: localhost\r\n"
    connection.sendall(f"{head}Authorization: Bearer test-scientist\r\n{headers}\r\n\r\n".encode())
    return connection


@pytest.mark.row("F215")
def test_six_gigabytes_are_refused_before_they_are_read(
    service: ServiceProcess, client: httpx.Client, files: str, folder: Path
) -> None:
    for size in (6_000_000_000, 60_000_000_000_000):
        with raw_upload(service, f"{files}/large", f"Content-Length: {size}") as connection:
            answer = connection.makefile("rb").read()  # to the end: the service closes the connection
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"Split the file" in answer
    with raw_upload(
        service, f"{files}/large", "Content-Length: 6000000000\r\nExpect: 100-continue"
    ) as connection:
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 413 ")
    assert client.get(files).json()["items"] == []
    assert not (folder / PART).exists() or not list((folder / PART).iterdir())


@pytest.mark.row("F215")
def test_the_limit_counts_also_when_nobody_says_how_long_the_body_is(tmp_path: Path) -> None:
    service = ServiceProcess(
        tmp_path / "home", config=f"c.A360HubService.max_upload_bytes = {4 * MEGABYTE}"
    ).start()
    try:
        with service.client("scientist") as client:
            project = client.post("/projects", json=project_form("P", "limited")).json()
            path = f"/data-repos/{project['default_data_repo_id']}/files"
            whole = client.put(f"{path}/fits", content=iter([b"x" * MEGABYTE] * 4))
            assert whole.status_code == 201
            refused = client.put(f"{path}/large", content=iter([b"x" * MEGABYTE] * 4 + [b"x"]))
            problem(refused, 413)
            refused = client.put(f"{path}/large", content=b"x" * (4 * MEGABYTE + 1))
            problem(refused, 413)
            assert [item["key"] for item in client.get(path).json()["items"]] == ["fits"]
        staged = tmp_path / "home" / "volumes" / "limited" / PART
        wait_for(lambda: not list(staged.iterdir()))
    finally:
        service.stop()


@pytest.mark.parametrize("headers", ["Content-Length: 50000000", "Transfer-Encoding: chunked"])
def test_an_upload_that_breaks_off_leaves_nothing(
    service: ServiceProcess, client: httpx.Client, files: str, folder: Path, headers: str
) -> None:
    client.put(f"{files}/data", content=b"old")
    connection = raw_upload(service, f"{files}/data", headers)
    body = b"x" * (3 * MEGABYTE)
    connection.sendall(b"%x\r\n%s\r\n" % (len(body), body) if "chunked" in headers else body)
    staged = folder / PART
    wait_for(lambda: any(path.stat().st_size >= MEGABYTE for path in staged.iterdir()))
    connection.close()
    wait_for(lambda: not list(staged.iterdir()), message="the half file stayed")
    assert client.get(f"{files}/data").content == b"old"


def test_an_upload_to_a_service_that_is_killed_leaves_no_file(fresh_service: ServiceProcess) -> None:
    service = fresh_service
    with service.client("scientist") as client:
        project = client.post("/projects", json=project_form("P", "killed")).json()
    files = f"/data-repos/{project['default_data_repo_id']}/files"
    staged = service.home / "volumes" / "killed" / PART
    with raw_upload(service, f"{files}/data", "Content-Length: 50000000") as connection:
        connection.sendall(b"x" * (3 * MEGABYTE))
        wait_for(lambda: staged.exists() and any(path.stat().st_size for path in staged.iterdir()))
        service.kill()
    service.start()
    with service.client("scientist") as client:
        assert client.get(files, params={"recursive": True}).json()["items"] == []
        assert client.put(f"{files}/data", content=b"again").status_code == 201


def test_of_two_uploads_at_once_one_wins_whole(
    client: httpx.Client, service: ServiceProcess, files: str
) -> None:
    letters = "abcdef"
    barrier = threading.Barrier(len(letters))

    def upload(letter: str) -> int:
        with service.client("scientist") as own:
            barrier.wait()
            return own.put(f"{files}/data", content=iter([letter.encode() * 700_001] * 5)).status_code

    with ThreadPoolExecutor(len(letters)) as pool:
        assert set(pool.map(upload, letters)) <= {200, 201}
    content = client.get(f"{files}/data").content
    assert len(content) == 5 * 700_001
    assert len(set(content)) == 1


def test_an_upload_without_permission_is_answered_before_its_body(
    service: ServiceProcess, files: str
) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        head = f"PUT /services/a360/api/v1{files}/x HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(f"{head}Content-Length: 2000000\r\n\r\n".encode())
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 401 ")


# Buckets


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.mark.row("F178", "F181", "F182", "F202", "F217", "F219")
def test_a_bucket_is_a_data_repo(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any], moto: S3Server
) -> None:
    with service.client("admin") as admin:
        form = {
            "name": new_name("S3"),
            "description": "Test",
            "groups": ["Data Scientists"],
            "inputs": moto.inputs(),
        }
        account = admin.post("/credentials", json=form).json()
    accounts = client.get("/volume-accounts").json()["items"]
    assert {"id": account["id"], "storage_provider": "aws"}.items() <= accounts[-1].items()
    path, volume = f"/projects/{project['id']}/data-repos", new_name("bucket")
    wrong = repo_form(volume_account=account["id"], volume_name=volume, volume_region="eu-west-1")
    assert problem(client.post(path, json=wrong), 422)["errors"][0]["field"] == "volume_region"
    form = repo_form(volume_account=account["id"], volume_name=volume, volume_region="us-east-1")
    answer = client.post(path, json=form)
    assert answer.status_code == 201, answer.text
    repo = answer.json()
    assert (repo["storage_provider"], repo["volume_region"]) == ("aws", "us-east-1")
    content = hashlib.shake_128(b"bucket").digest(9 * MEGABYTE)
    files = f"/data-repos/{repo['id']}/files"
    assert client.put(f"{files}/folder/data.bin", content=content).status_code == 201
    stored = moto.client().get_object(Bucket=volume, Key="folder/data.bin")["Body"].read()
    assert stored == content
    assert client.get(f"{files}/folder/data.bin").content == content
    assert client.get(f"{files}/folder/data.bin", headers={"Range": "bytes=-5"}).content == content[-5:]
    assert [item["key"] for item in client.get(files).json()["items"]] == ["folder"]
    access = client.get(f"/data-repos/{repo['id']}/access").json()
    assert (access["access_key"], access["endpoint_url"]) == (moto.access_key, moto.url)
    again = repo_form(volume_account=account["id"], volume_name=volume, volume_option="existing")
    problem(client.post(path, json=again), 409)
    assert client.delete(f"{files}/folder/data.bin").status_code == 204


@pytest.mark.row("F184", "F210")
def test_a_bucket_elsewhere_is_no_data_repo(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any], moto: S3Server
) -> None:
    volume = new_name("elsewhere")
    moto.client("eu-central-1").create_bucket(
        Bucket=volume, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    with service.client("admin") as admin:
        form = {
            "name": new_name("S3"),
            "description": "Test",
            "groups": ["Data Scientists"],
            "inputs": moto.inputs(),
        }
        account = admin.post("/credentials", json=form).json()
    form = repo_form(volume_account=account["id"], volume_name=volume, volume_option="existing")
    before = repos(client, project)
    refused = problem(client.post(f"/projects/{project['id']}/data-repos", json=form), 422)
    assert refused["errors"][0]["field"] == "volume_region"
    assert "eu-central-1" in refused["detail"]
    assert repos(client, project) == before


def test_a_silent_server_holds_up_nobody_else(service: ServiceProcess, client: httpx.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, service.client("admin") as admin:
        inputs = {"region": "us-east-1", "access_key": "k", "access_secret": "s"}
        inputs["endpoint_url"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        form = {"name": new_name("S3"), "description": "d", "groups": ["Data Scientists"], "inputs": inputs}
        account = admin.post("/credentials", json=form).json()
        body = project_form(new_name("P"), new_name("v"))
        body["data_repo"]["volume_account"] = account["id"]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.post, "/projects", json=body, timeout=120)
            connection, _ = silent.accept()
            with service.client("scientist", timeout=20) as other:
                made = other.post("/projects", json=project_form(new_name("P"), new_name("v")))
                assert made.status_code == 201
            assert not waiting.done()
            silent.close()
            connection.close()
            assert "does not answer" in problem(waiting.result(), 503)["detail"]


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The state directory of a service whose volumes are on a disk of 8 MB."""
    volumes = tmp_path / "home" / "volumes"
    volumes.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", volumes], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path / "home"
    subprocess.run(["umount", volumes], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path) -> None:
    service = ServiceProcess(small_disk).start()
    try:
        with service.client("scientist") as client:
            project = client.post("/projects", json=project_form("P", "small")).json()
            files = f"/data-repos/{project['default_data_repo_id']}/files"
            assert client.put(f"{files}/data", content=b"o" * MEGABYTE).status_code == 201
            for content in (b"n" * (12 * MEGABYTE), iter([b"n" * MEGABYTE] * 12)):
                refused = client.put(f"{files}/data", content=content)
                assert "no space" in problem(refused, 507)["detail"]
                assert client.get(f"{files}/data").content == b"o" * MEGABYTE
            wait_for(lambda: not list((small_disk / "volumes" / "small" / PART).iterdir()))
            assert client.put(f"{files}/fits", content=b"n" * (4 * MEGABYTE)).status_code == 201
    finally:
        service.stop()
