"""What happens when the service is killed, the disk is full, or something outside does not answer."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.entities import Job, ModelEvent, Package
from tests.support.delivery import SCRIPT, Delivery, delivery_service, ok
from tests.support.postgres import postgres
from tests.support.service import ServiceProcess, free_port, wait_for

SLOW = "import time\n\ntime.sleep(1)\n" + SCRIPT
"""A script that gives the test time to strike while the package is validated."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    config = (
        "c.GitSource.timeout = 5.0\nc.GitSource.allowed_hosts = ['*', '127.0.0.1']\n"
        "c.A360HubService.builders = ['bundle', 'tests.support.failing.RaisingBuilder']\n"
    )
    with delivery_service(tmp_path_factory.mktemp("service"), config) as service:
        yield service


def begin(delivery: Delivery, **form: Any) -> str:
    """Press Package; the job's identifier."""
    with delivery.service.client("engineer") as client:
        job = ok(client.post(f"/models/{delivery.model_id}/package", json=delivery.form(**form)))
    return str(job["id"])


def has_happened_once(service: ServiceProcess, delivery: Delivery, job: str) -> None:
    """The package was made, and everything was written down exactly once."""
    assert delivery.wait(job)["status"] == "succeeded", delivery.log(job)
    assert delivery.status == "Ready to Publish"
    database = service.database()
    with database.session(write=False) as session:
        (package,) = session.query(Package).where(Package.model_id == delivery.model_id)
        assert package.status == "ready"
        assert package.reference
        assert Path(package.reference).is_dir()
        commands = [e.command for e in session.query(ModelEvent) if e.model_id == delivery.model_id]
        assert (commands.count("package"), commands.count("package_succeeded")) == (1, 1)
        assert session.query(Job).where(Job.model_id == delivery.model_id).count() == 1
    database.close()
    log = delivery.log(job)
    assert log.count("status : succeeded") == log.count("status : queued") == 1
    with service.client("engineer") as client:
        packages = ok(client.get(f"/models/{delivery.model_id}/packages"))["items"]
    assert len(packages) == 1


@pytest.mark.row("F271")
@pytest.mark.parametrize("moment", ["step fetch", "Loading the package once"])
def test_a_service_killed_while_it_packages_finishes_once(tmp_path: Path, moment: str) -> None:
    files = {"predict.py": SLOW, "requirements.txt": "numpy\n"}
    with delivery_service(tmp_path / "home") as service:
        strike(service, Delivery(service, tmp_path / "code", files).approve(), moment)


def test_a_service_killed_while_it_packages_finishes_once_on_postgresql(tmp_path: Path) -> None:
    files = {"predict.py": SLOW, "requirements.txt": "numpy\n"}
    with postgres() as server:
        url = server.new_database()
        with delivery_service(tmp_path / "home", database_url=url) as service:
            strike(service, Delivery(service, tmp_path / "code", files).approve(), "step build")
            assert not (service.home / "service" / "jobs.sqlite").exists()


def strike(service: ServiceProcess, delivery: Delivery, moment: str) -> None:
    job = begin(delivery)
    wait_for(lambda: moment in delivery.log(job), seconds=60)
    service.kill()
    service.start()
    has_happened_once(service, delivery, job)


def test_a_service_told_to_stop_leaves_the_job_to_the_next_one(tmp_path: Path) -> None:
    files = {"predict.py": SLOW, "requirements.txt": "numpy\n"}
    with delivery_service(tmp_path / "home") as service:
        delivery = Delivery(service, tmp_path / "code", files).approve()
        job = begin(delivery)
        wait_for(lambda: "Loading the package once" in delivery.log(job), seconds=60)
        service.stop()
        assert service.process
        assert service.process.returncode == 0
        service.start()
        has_happened_once(service, delivery, job)
        assert "this job goes on" in delivery.log(job)


@pytest.mark.long
@pytest.mark.slow
def test_a_job_that_kills_the_service_each_time_is_given_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    config = "c.A360HubService.builders = ['bundle', 'tests.support.failing.CrashingBuilder']\n"
    with delivery_service(home, config) as service:
        delivery = Delivery(service, tmp_path / "code").approve()
        job = begin(delivery, builder="crashing")
        for _ in range(12):
            assert service.process
            ended = wait_for(lambda: has_ended(service, delivery, job), seconds=60)
            if ended == "job":
                break
            restart(service)
        else:
            pytest.fail("the service was killed for ever")
        done = delivery.wait(job)
        assert done["status"] == "failed"
        assert "gave up" in done["error"]
        assert done["hint"]
        assert delivery.status == "Package Failed"
        assert delivery.package()["status"] == "succeeded"


def has_ended(service: ServiceProcess, delivery: Delivery, job: str) -> str | None:
    """What ended: the service, or the job."""
    assert service.process
    if service.process.poll() is not None:
        return "service"
    with service.client("engineer") as client:
        answer = client.get(f"/jobs/{job}")
    return "job" if answer.status_code == 200 and answer.json()["status"] == "failed" else None


def restart(service: ServiceProcess) -> None:
    """Start what may be killed again before it is ready."""
    try:
        service.start()
    except AssertionError:
        assert service.process
        if service.process.poll() is None:
            raise


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[None]:
    """A file system of this size at ``path``."""
    path.mkdir(parents=True)
    options = ["-o", f"size={megabytes}m"]
    made = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small disk can be made here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def grow(path: Path, megabytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(path)], check=True)


@pytest.mark.row("F257", "F258", "F308")
@pytest.mark.parametrize("where", ["packages", "service/jobs", ""])
def test_a_full_disk_ends_as_package_failed_and_can_be_tried_again(tmp_path: Path, where: str) -> None:
    home = tmp_path / "home"
    small = {"packages": 2, "service/jobs": 1, "": 60}[where]
    shared = where != ""
    with small_disk(home / where, small), delivery_service(home, shared_cache=shared) as service:
        delivery = Delivery(service, tmp_path / "code", big_repository(where)).approve()
        job = delivery.package()
        assert job["status"] == "failed"
        assert "space" in job["error"]
        assert job["hint"]
        assert "Traceback" not in delivery.log(job["id"])
        assert delivery.status == "Package Failed"
        assert not list((home / "service" / "jobs").iterdir())
        grow(home / where, 900)
        job = delivery.package()
        assert job["status"] == "succeeded", delivery.log(job["id"])


def big_repository(where: str) -> dict[str, str]:
    """A repository that does not fit where the jobs' folders are."""
    files = {"predict.py": SCRIPT, "requirements.txt": "numpy\n"}
    if where == "service/jobs":
        files["data.txt"] = os.urandom(1_000_000).hex()
    return files


@pytest.mark.long
def test_a_disk_that_is_full_for_a_while_delays_the_outcome(tmp_path: Path) -> None:
    """Not even the database can be written: the job waits, and tells how it ended when it can."""
    home = tmp_path / "home"
    with small_disk(home, 900), delivery_service(home) as service:
        files = {"predict.py": SLOW.replace("sleep(1)", "sleep(8)"), "requirements.txt": "numpy\n"}
        delivery = Delivery(service, tmp_path / "code", files).approve()
        job = begin(delivery)
        wait_for(lambda: "Loading the package once" in delivery.log(job), seconds=60)
        ballast = home / "ballast"
        fill(ballast)
        wait_for(lambda: not is_validating(home), seconds=60)
        ballast.unlink()
        done = delivery.wait(job)
        assert done["status"] in ("succeeded", "failed")
        if done["status"] == "failed":
            assert "space" in done["error"]
            assert delivery.package()["status"] == "succeeded"


def fill(ballast: Path) -> None:
    """Fill the file system to the last byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


def is_validating(home: Path) -> bool:
    """Does a process run a package that is being made?"""
    found = subprocess.run(["pgrep", "-f", f"{home}/packages/"], capture_output=True, check=False)
    return found.returncode == 0


@pytest.mark.long
@pytest.mark.row("F257", "F258", "F292", "F308")
def test_a_git_server_that_cannot_be_reached_is_named(running: ServiceProcess, tmp_path: Path) -> None:
    with silent_server() as silent:
        delivery = Delivery(running, tmp_path).approve()
        good = delivery.repository
        for address, said in (
            (f"https://127.0.0.1:{free_port()}/model.git", "cannot be reached"),
            ("https://no-such-host.invalid/model.git", "cannot be reached"),
            (f"https://127.0.0.1:{silent}/model.git", "took longer than 5 seconds"),
            ((tmp_path / "none.git").as_uri(), "no repository at"),
        ):
            delivery.repository = address
            job = delivery.package()
            assert job["status"] == "failed"
            assert said in job["error"]
            assert job["hint"]
            assert delivery.status == "Package Failed"
        delivery.repository = good
        assert delivery.package()["status"] == "succeeded"


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_an_unexpected_failure_is_told_by_a_reference_that_the_log_explains(
    running: ServiceProcess, tmp_path: Path
) -> None:
    delivery = Delivery(running, tmp_path).approve()
    job = delivery.package(builder="raising")
    assert job["status"] == "failed"
    assert "the hammer slipped" not in job["error"] + job["hint"] + delivery.log(job["id"])
    reference = job["hint"].rsplit(" ", 1)[1]
    log = running.logged()
    assert reference in log
    assert "RuntimeError: the hammer slipped" in log
    assert delivery.package()["status"] == "succeeded"
