"""Large files pass through the service without staying in its memory."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.s3 import S3Server, moto_server, real_server
from tests.support.service import ServiceProcess, project_form

GIGABYTE = 1024**3
SIZE = 2 * GIGABYTE
LEAST = GIGABYTE // 2
"""Bytes of a file that still tells a stream from a copy, where the disk has no room for `SIZE`."""
BLOCK = bytes(range(256)) * 4096
MOST_ABOVE_IDLE = 150 * 1024**2


def memory(service: ServiceProcess, what: str) -> int:
    """Bytes of resident memory: ``VmRSS`` now, ``VmHWM`` at most so far."""
    assert service.process
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found.group(1)) * 1024


def forget_peak(service: ServiceProcess) -> None:
    """Let the peak start from the present."""
    assert service.process
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")


def blocks(size: int) -> Iterator[bytes]:
    for _ in range(size // len(BLOCK)):
        yield BLOCK


def room(folder: Path) -> int:
    """The size of the file to try in `folder`: the service keeps two copies, and others need their share."""
    size = min(SIZE, shutil.disk_usage(folder).free // 4)
    if size < LEAST:
        pytest.skip("not enough disk for two copies of half a gigabyte")
    return size


def there_and_back(service: ServiceProcess, files: str, size: int) -> int:
    """Upload and download a file; the peak of memory above idle."""
    with service.client("scientist", timeout=300) as client:
        client.put(f"{files}/warm", content=BLOCK)
        client.get(f"{files}/warm")
        forget_peak(service)
        idle = memory(service, "VmRSS")
        headers = {"Content-Length": str(size)}
        answer = client.put(f"{files}/large.bin", content=blocks(size), headers=headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["size"] == size
        received = 0
        with client.stream("GET", f"{files}/large.bin") as download:
            assert download.headers["Content-Length"] == str(size)
            for chunk in download.iter_raw(len(BLOCK)):
                assert chunk == BLOCK
                received += len(chunk)
        assert received == size
        assert client.delete(f"{files}/large.bin").status_code == 204
        return memory(service, "VmHWM") - idle


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of memory is read from Linux's /proc"
)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.row("F215")
@pytest.mark.timeout(600)
def test_two_gigabytes_of_a_folder_stay_under_the_limit(
    fresh_service: ServiceProcess, tmp_path: Path
) -> None:
    with fresh_service.client("scientist") as client:
        project = client.post("/projects", json=project_form("P", "large-files")).json()
    files = f"/data-repos/{project['default_data_repo_id']}/files"
    above = there_and_back(fresh_service, files, room(tmp_path))
    print(f"peak above idle: {above / 1024**2:.0f} MiB")
    assert above < MOST_ABOVE_IDLE


def bucket_files(service: ServiceProcess, server: S3Server) -> str:
    """The path of the files of a new bucket's data repo."""
    with service.client("admin") as admin:
        form = {
            "name": "S3", "description": "Test", "groups": ["Data Scientists"], "inputs": server.inputs(),
        }  # fmt: skip
        account = admin.post("/credentials", json=form).json()
    form = project_form("P", f"a360-test-{service.port}")
    form["data_repo"]["volume_account"] = account["id"]
    with service.client("scientist") as client:
        answer = client.post("/projects", json=form)
    assert answer.status_code == 201, answer.text
    return f"/data-repos/{answer.json()['default_data_repo_id']}/files"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_bucket_takes_no_more(fresh_service: ServiceProcess) -> None:
    # The simulated server holds its objects in this process: enough to tell a stream from a copy.
    with moto_server() as server:
        assert (
            there_and_back(fresh_service, bucket_files(fresh_service, server), GIGABYTE // 4)
            < MOST_ABOVE_IDLE
        )


@pytest.mark.s3
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_gigabytes_of_a_real_bucket_stay_under_the_limit(fresh_service: ServiceProcess) -> None:
    server = real_server()
    if server is None:
        pytest.skip("A360_TEST_S3_ENDPOINT names no S3 server")
    above = there_and_back(fresh_service, bucket_files(fresh_service, server), SIZE)
    print(f"peak above idle: {above / 1024**2:.0f} MiB")
    assert above < MOST_ABOVE_IDLE


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_reader_who_waits_costs_nothing(fresh_service: ServiceProcess, tmp_path: Path) -> None:
    size = min(room(tmp_path), GIGABYTE // 2)
    with fresh_service.client("scientist") as client:
        project = client.post("/projects", json=project_form("P", "slow-reader")).json()
        files = f"/data-repos/{project['default_data_repo_id']}/files"
        client.put(f"{files}/large.bin", content=blocks(size))
        forget_peak(fresh_service)
        idle = memory(fresh_service, "VmRSS")
        with client.stream("GET", f"{files}/large.bin") as download:
            next(download.iter_raw(1024))
            # While this download stands still, others are answered, and nothing is read ahead.
            with fresh_service.client("scientist") as other:
                for _ in range(50):
                    assert other.get(files).status_code == 200
        assert memory(fresh_service, "VmHWM") - idle < MOST_ABOVE_IDLE
