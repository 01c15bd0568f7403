"""Nothing holds up the event loop: while one request works, the others are answered."""

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from a360_hub_service.api.loop_watch import LoopWatch
from a360_hub_service.api.routes import ROUTES
from tests.support import world
from tests.support.delivery import Delivery, delivery_service
from tests.support.s3 import moto_server
from tests.support.service import ServiceProcess, project_form

BUDGET_MS = 50
WATCHED = f"c.A360HubService.loop_budget_ms = {BUDGET_MS}\n"
MEGABYTE = 1024**2


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give asyncio back as it was."""
    monkeypatch.setattr(asyncio.Handle, "_run", asyncio.Handle._run)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("restored")
def test_the_watch_sees_what_blocks() -> None:
    watch = LoopWatch(20)

    async def blocks() -> None:
        time.sleep(0.08)  # noqa: ASYNC251

    async def waits() -> None:
        await asyncio.sleep(0.08)

    async def measure() -> tuple[float, float]:
        watch.install()
        await asyncio.create_task(waits())
        idle = watch.max_ms
        await asyncio.create_task(blocks())
        return idle, watch.max_ms

    idle, blocked = asyncio.run(measure())
    assert idle < 20
    assert 75 < blocked < 300
    assert "blocks" in watch.where


@pytest.mark.usefixtures("restored")
def test_the_watch_does_not_charge_other_threads_computing_elsewhere() -> None:
    watch = LoopWatch(20)

    async def measure() -> None:
        watch.install()
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.08)

    asyncio.run(measure())
    assert watch.max_ms < 20


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service of the test's own that watches its loop."""
    service = ServiceProcess(tmp_path / "home", config=WATCHED, people=world.people()).start()
    yield service
    service.stop()


def demand_free_loop(service: ServiceProcess) -> None:
    """The loop of this service was never held up for longer than the budget."""
    health = httpx.get(f"{service.url}/health").json()
    print(f"longest: {health['loop_max_ms']} ms in {health['loop_where']}")
    assert 0 < health["loop_max_ms"] < BUDGET_MS, health


def together(*works: Callable[[], None]) -> None:
    """Run all at once; raise what any of them raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()


def test_without_a_budget_nothing_is_watched(service: ServiceProcess) -> None:
    assert "loop_max_ms" not in httpx.get(f"{service.url}/health").json()


def test_no_operation_holds_up_the_loop(watched: ServiceProcess) -> None:
    scene = world.make(watched)
    with watched.client("scientist") as client:
        for route in ROUTES:
            for _ in range(2):
                client.request(route.method, scene.path(route), json={} if route.body else None)
        for path in ("/", f"/models/{scene.ids['model_id']}"):
            assert client.get(f"{watched.url}{path}").status_code == 200
    with watched.client("admin") as client:
        for route in ROUTES:
            client.request(route.method, scene.path(route), json={} if route.body else None)
    demand_free_loop(watched)


def test_load_does_not_hold_up_the_loop(watched: ServiceProcess) -> None:
    with watched.client("scientist") as client:
        project = client.post("/projects", json=project_form("P", "busy")).json()
    files = f"/data-repos/{project['default_data_repo_id']}/files"
    folder = watched.home / "volumes" / "busy" / "many"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number}.csv").touch()
    done = threading.Event()

    def transfer() -> None:
        with watched.client("scientist") as client:
            for _ in range(3):
                key = f"{files}/{uuid.uuid4().hex}"
                assert client.put(key, content=iter([b"x" * MEGABYTE] * 64)).status_code == 201
                assert len(client.get(key).content) == 64 * MEGABYTE
                assert client.delete(key).status_code == 204

    def read() -> None:
        with watched.client("scientist") as client:
            while not done.is_set():
                for query in (
                    {"limit": 1000},
                    {"recursive": True, "sort": "-size"},
                    {"sort": "last_modified"},
                ):
                    listed = client.get(files, params={"prefix": "many", **query})
                    assert listed.status_code == 200
                client.get("/projects")
                client.get(f"{watched.url}/")

    def change() -> None:
        with watched.client("scientist") as client:
            number = 0
            while not done.is_set():
                number += 1
                name = f"Project {number}"
                made = client.post("/projects", json=project_form(name, f"volume-{number}")).json()
                client.patch(f"/projects/{made['id']}", json={"goal": "g" * 5000})
                client.post("/projects", content=b"[" * MEGABYTE)
                client.delete(f"/projects/{made['id']}")

    def transfers() -> None:
        try:
            together(transfer, transfer)
        finally:
            done.set()

    together(transfers, read, change)
    demand_free_loop(watched)


def test_buckets_do_not_hold_up_the_loop(watched: ServiceProcess) -> None:
    with moto_server() as server, watched.client("admin") as admin, watched.client("scientist") as client:
        form = {"name": "S3", "description": "d", "groups": ["Data Scientists"], "inputs": server.inputs()}
        account = admin.post("/credentials", json=form).json()
        assert admin.post(f"/credentials/{account['id']}/test").json()["ok"]
        body = project_form("P", "busy-bucket")
        body["data_repo"]["volume_account"] = account["id"]
        project = client.post("/projects", json=body).json()
        files = f"/data-repos/{project['default_data_repo_id']}/files"
        assert client.put(f"{files}/data", content=iter([b"x" * MEGABYTE] * 24)).status_code == 201
        assert len(client.get(f"{files}/data").content) == 24 * MEGABYTE
        assert client.get(files).status_code == 200
    demand_free_loop(watched)


@pytest.mark.slow
def test_packaging_and_publishing_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    with delivery_service(tmp_path / "home", WATCHED) as service:
        delivery = Delivery(service, tmp_path / "repository").approve()
        assert delivery.package()["status"] == "succeeded"
        job, _ = delivery.publish()
        assert job["status"] == "succeeded", delivery.log(job["id"])
        assert delivery.withdraw()["status"] == "succeeded"
        demand_free_loop(service)
