"""Nothing holds up the event loop: while one request works, the others are answered."""

import asyncio
import gc
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import httpx
import nbformat
import pytest

from a360_hub_service.api.garbage import collect_when_quiet, tame
from a360_hub_service.api.handlers import Web
from a360_hub_service.api.loop_watch import LoopWatch, Moment, charge
from a360_hub_service.api.routes import ROUTES
from tests.support import world
from tests.support.delivery import Delivery, delivery_service
from tests.support.lab import Lab, ok
from tests.support.loop_reports import BUDGET_MS
from tests.support.s3 import moto_server
from tests.support.service import ServiceProcess, project_form

# Measures against a limit of time run by themselves, after the others (see the Makefile).
alone = pytest.mark.alone

MEGABYTE = 1024**2


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give asyncio back as it was."""
    monkeypatch.setattr(asyncio.Handle, "_run", asyncio.Handle._run)  # type: ignore[attr-defined]


def held_up(work: Callable[[], Awaitable[None]]) -> LoopWatch:
    """A watch over a loop in which this ran."""
    watch = LoopWatch(20)

    async def measure() -> None:
        watch.install()
        await asyncio.create_task(work())  # type: ignore[arg-type]

    asyncio.run(measure())
    return watch


@alone
@pytest.mark.usefixtures("restored")
def test_the_watch_sees_what_blocks() -> None:
    async def blocks() -> None:
        time.sleep(0.3)  # noqa: ASYNC251

    async def computes() -> None:
        deadline = time.thread_time() + 0.3
        while time.thread_time() < deadline:
            pass

    for work in (blocks, computes):
        watch = held_up(work)
        assert watch.max_ms > 100
        assert work.__name__ in watch.where


def test_what_a_callback_is_charged_with() -> None:
    ms = 1_000_000
    start = Moment(0, 0, 0)
    assert charge(start, Moment(80 * ms, 80 * ms, 0)) == 80 * ms, "computing"
    assert charge(start, Moment(80 * ms, 1 * ms, 0)) == 80 * ms, "a disk, a server, the interpreter"
    assert charge(start, Moment(80 * ms, 1 * ms, 79 * ms)) == 1 * ms, "a machine that is busy with others"


@alone
@pytest.mark.usefixtures("restored")
def test_the_watch_sees_another_thread_that_keeps_the_interpreter() -> None:
    done = threading.Event()

    def computes() -> None:
        while not done.is_set():
            sum(range(1_000_000))  # one call into C: it does not let go before its end

    async def asks_for_it() -> None:
        for _ in range(10):
            time.sleep(0)  # noqa: ASYNC251

    thread = threading.Thread(target=computes)
    thread.start()
    try:
        watch = held_up(asks_for_it)
    finally:
        done.set()
        thread.join()
    assert watch.max_ms > 20


@alone
@pytest.mark.usefixtures("restored")
def test_the_watch_does_not_mind_waiting() -> None:
    async def waits() -> None:
        await asyncio.sleep(0.2)
        await asyncio.to_thread(time.sleep, 0.2)

    assert held_up(waits).max_ms < 50


@pytest.mark.usefixtures("restored")
def test_the_watch_tells_modules_that_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a360_loaded_late.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "a360_loaded_late", raising=False)

    async def loads() -> None:
        import_module("a360_loaded_late")
        with pytest.raises(ImportError):
            import_module("a360_that_is_not_there")

    held_up(loads)
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("the event loop loaded a360_loaded_late in") for line in said), said
    assert not any("not_there" in line for line in said)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service of the test's own that watches its loop."""
    service = ServiceProcess(tmp_path / "home", people=world.people()).start()
    yield service
    service.stop()


def demand_free_loop(service: ServiceProcess) -> None:
    """The loop of this service was never held up for longer than the budget."""
    health = httpx.get(f"{service.url}/health").json()
    print(f"longest: {health['loop_max_ms']} ms in {health['loop_where']}")
    said = [line for line in service.logged().splitlines() if "the event loop" in line]
    assert health["loop_max_ms"] < BUDGET_MS, said
    assert not [line for line in said if "the event loop loaded" in line]


def together(*works: Callable[[], None]) -> None:
    """Run all at once; raise what any of them raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()


def test_without_a_budget_nothing_is_watched(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path / "home", config="c.A360HubService.loop_budget_ms = 0").start()
    try:
        assert "loop_max_ms" not in httpx.get(f"{service.url}/health").json()
    finally:
        service.stop()


@alone
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


@alone
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


def shapes(size: int) -> Iterator[bytes]:
    """Bodies of this many bytes that keep a reader of JSON busy, each in another way."""
    for value in (b"0", b"[]", b"{}", b'"a"', b'"' + b"x" * 60 + b'"'):
        yield b'{"feature_names":[' + b",".join([value] * (size // (len(value) + 1))) + b"]}"
        member = b'"%08d":' + value
        members = (member % number for number in range(size // (len(value) + 12)))
        yield b'{"baseline":{' + b",".join(members) + b"}}"
        yield b'{"goal":' + value + b',"name":' + b"[" * 150 + b"]" * 150 + b"}"
    yield b'{"a":"' + b'\\"' * (size // 2 - 10) + b'"}'
    yield b"[" * size
    yield b'"' * size


@alone
@pytest.mark.parametrize("size", [60_000, MEGABYTE - 100])
def test_no_body_holds_up_the_loop(watched: ServiceProcess, size: int) -> None:
    scene = world.make(watched)
    paths = ["/projects", f"/models/{scene.ids['model_id']}/experiments"]
    with watched.client("scientist") as client:
        for body in shapes(size):
            for path in paths:
                answer = client.post(path, content=body)
                assert answer.status_code in (400, 413, 422), (path, body[:80], answer.text[:500])
                assert len(answer.content) < 100_000
        features = {f"feature {number}": {"mean": 0.12345678901, "std": 1.5} for number in range(size // 70)}
        form = {"experiment_name": "wide", "model_flavor": "sklearn", "baseline": features}
        form |= {"input_signature": "wide", "output_signature": "y float", "train_shape": [len(features)]}
        assert client.post(paths[1], json=form).status_code == 201
    demand_free_loop(watched)


def heads(size: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Queries and headers that keep a reader of HTTP busy, of about this many bytes."""
    yield "a&" * (size // 2), {}
    yield "%41=%41&" * (size // 8), {}
    yield "", {"Cookie": "a=b;" * (size // 4)}
    yield "", {f"a{number}": "b" for number in range(size // 12)}
    yield "", {"Cookie": '"' + "\\101" * (size // 4)}


@alone
def test_no_head_and_no_form_holds_up_the_loop(watched: ServiceProcess) -> None:
    with watched.client("scientist") as client:
        with pytest.raises(httpx.RemoteProtocolError):  # more than HEAD_LIMIT
            client.get("/projects", params={"cursor": "c" * 2**14})
        for path in ("health", "oauth_callback", "static/none", "api/v1/openapi.json", "api/v1/projects", ""):
            url = f"{watched.url}/{path}"
            for query, headers in heads(15_000):
                assert client.get(f"{url}?{query}", headers=headers).status_code < 500, (path, query[:20])
            for kind, body in (
                ("application/x-www-form-urlencoded", b"a&" * (MEGABYTE // 2 - 50)),
                ("multipart/form-data; boundary=b", b"--b\r\n" * (MEGABYTE // 5 - 50) + b"--b--\r\n"),
            ):
                answer = client.post(url, content=body, headers={"Content-Type": kind})
                assert 400 <= answer.status_code < 500, (path, kind, answer.status_code)
    demand_free_loop(watched)


class Ring:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def collector() -> Iterator[None]:
    """Give the collector back as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def old_ring() -> "weakref.ref[Ring]":
    """A ring nobody refers to, as old as only full collections look for."""
    ring = Ring()
    gc.collect(1)
    gc.collect(1)
    return weakref.ref(ring)


@pytest.mark.parametrize(("used", "survived", "freed"), [(False, 1, True), (True, 1, False), (True, 9, True)])
def test_garbage_is_collected_when_nobody_asks(
    collector: None, used: bool, survived: int, freed: bool
) -> None:
    web = Web(cast(Any, None), cast(Any, None), cast(Any, None))
    collected: list[bool] = []

    async def serve(garbage_of: "weakref.ref[Ring]") -> None:
        task = asyncio.create_task(collect_when_quiet(web, pause=0.02, quiet=0.1, overdue=8))
        for _ in range(30):
            if used:
                web.used()
            await asyncio.sleep(0.02)
        task.cancel()
        collected.append(garbage_of() is None)

    with ThreadPoolExecutor(1) as pool:
        web.pool = pool
        tame()
        ring = old_ring()
        for _ in range(survived):
            gc.collect(1)
        asyncio.run(serve(ring))
    assert collected == [freed]


@alone
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


@alone
def test_showing_notebooks_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    v4 = nbformat.v4
    plot = v4.new_output("display_data", {"image/png": "A" * 3 * MEGABYTE})
    table = v4.new_output(
        "display_data", {"text/html": "<table>" + "<tr><td>1</td></tr>" * 3_000 + "</table>"}
    )
    cells = [v4.new_code_cell("draw()", outputs=[plot]) for _ in range(5)]
    content = nbformat.writes(
        v4.new_notebook(cells=[*cells, v4.new_code_cell("t", outputs=[table])])
    ).encode()
    service = ServiceProcess(tmp_path / "home").start()
    try:
        with Lab(service) as lab:
            run = lab.run(lab.experiment(lab.model()))
            artifact = lab.artifact(run, "executed_notebook", kind="notebook", content=content)
            body = {"status": "failed", "error": "E", "artifacts": [artifact]}
            (stored,) = ok(lab.scientist.post(f"/runs/{run['id']}/finish", json=body))["artifacts"]
            address = f"{service.url}/artifacts/{stored['id']}/notebook"

            def show() -> None:
                assert len(lab.scientist.get(address).content) > 15 * MEGABYTE

            together(show, show)
        demand_free_loop(service)
    finally:
        service.stop()


@alone
@pytest.mark.slow
def test_packaging_and_publishing_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    with delivery_service(tmp_path / "home") as service:
        delivery = Delivery(service, tmp_path / "repository").approve()
        assert delivery.package()["status"] == "succeeded"
        job, _ = delivery.publish()
        assert job["status"] == "succeeded", delivery.log(job["id"])
        assert delivery.withdraw()["status"] == "succeeded"
        demand_free_loop(service)
