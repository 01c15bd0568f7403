"""Uploads that go wrong."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from a360_hub_service.backends.storage.keys import PART
from tests.support.data import MEGABYTE, problem
from tests.support.service import ServiceProcess, project_form, wait_for


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
            assert client.put(f"{files}/fits", content=b"n" * (2 * MEGABYTE)).status_code == 201
    finally:
        service.stop()
