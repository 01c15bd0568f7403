"""Viewers of a job's log: many at once, after a break, and only for as long as they may look."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from a360_hub_service.api import jobs as api
from a360_hub_service.api.handlers import Web
from a360_hub_service.api.routes_delivery import JOBS
from a360_hub_service.entities import Collaborator, Job, JobEvent
from a360_hub_service.jobs.journal import Journal
from tests.support.catalogue import add_model, add_project, person
from tests.support.delivery import SCRIPT, Delivery, delivery_service, events, ok
from tests.support.service import ServiceProcess
from tests.support.service_main import People

SCIENTIST = person("scientist", "Data Scientists")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with delivery_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def follow(service: ServiceProcess, job: str, last: str = "", after: int = 0) -> list[dict[str, str]]:
    """All a viewer is sent."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    with (
        service.client("engineer", timeout=60) as client,
        client.stream("GET", f"/jobs/{job}/events", headers=headers, params={"after": after}) as stream,
    ):
        assert stream.status_code == 200
        assert stream.headers["content-type"] == "text/event-stream"
        return list(events(stream))


@pytest.mark.row("F271")
def test_any_number_of_viewers_follow_and_replay(running: ServiceProcess, tmp_path: Path) -> None:
    files = {"predict.py": "import time\n\ntime.sleep(1)\n" + SCRIPT, "requirements.txt": "numpy\n"}
    delivery = Delivery(running, tmp_path, files).approve()
    with running.client("engineer") as client:
        job = ok(client.post(f"/models/{delivery.model_id}/package", json=delivery.form()))["id"]
    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(lambda _: follow(running, job), range(6)))
    assert all(each == seen[0] for each in seen)
    sent = seen[0]
    assert [each["event"] for each in sent][-2:] == ["status", "end"]
    assert json.loads(sent[-1]["data"]) == {"status": "succeeded"}
    numbers = [int(each["id"]) for each in sent[:-1]]
    assert numbers == sorted(set(numbers))

    with running.client("engineer") as client:
        pages, cursor = [], None
        while True:
            more = {"cursor": cursor} if cursor else {}
            page = ok(client.get(f"/jobs/{job}/events", params={"limit": 3, **more}))
            pages += page["items"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert [json.loads(each["data"]) for each in sent[:-1]] == pages
        rest = ok(client.get(f"/jobs/{job}/events", params={"after": numbers[2]}))["items"]
        assert [each["seq"] for each in rest] == numbers[3:]

    # Whoever comes back is sent what they missed, and nothing twice.
    assert follow(running, job, last=str(numbers[4])) == sent[5:]
    assert follow(running, job, after=numbers[4]) == sent[5:]
    assert follow(running, job, last=str(numbers[-1])) == sent[-1:]


def test_events_arrive_while_the_job_runs(running: ServiceProcess, tmp_path: Path) -> None:
    files = {"predict.py": "import time\n\ntime.sleep(3)\n" + SCRIPT, "requirements.txt": "numpy\n"}
    delivery = Delivery(running, tmp_path, files).approve()
    headers = {"Accept": "text/event-stream"}
    with running.client("engineer", timeout=60) as client:
        job = ok(client.post(f"/models/{delivery.model_id}/package", json=delivery.form()))["id"]
        with client.stream("GET", f"/jobs/{job}/events", headers=headers) as stream:
            for event in events(stream):
                if "Loading the package" in event["data"]:
                    at = time.monotonic()
                if event["event"] == "end":
                    assert time.monotonic() - at > 2
    # A viewer who goes away does the service no harm.
    with (
        running.client("engineer", timeout=60) as client,
        client.stream("GET", f"/jobs/{job}/events", headers=headers) as stream,
    ):
        next(events(stream))
    assert httpx.get(f"{running.url}/health").status_code == 200


def test_who_may_look(running: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(running, tmp_path, {"predict.py": "x = 1\n", "requirements.txt": ""}).approve()
    job = delivery.package()["id"]
    for user, status in (("outsider", 404), ("nobody", 404), ("scientist", 200), ("engineer", 200)):
        for accept in ("text/event-stream", "application/json"):
            with running.client(user) as client:
                answer = client.get(f"/jobs/{job}/events", headers={"Accept": accept})
                assert answer.status_code == status
            with running.client(user) as client:
                assert client.get(f"/jobs/{job}").status_code == status
    with running.client("engineer") as client:
        for wrong in ("x", "-1", "9" * 40, "1.5"):
            headers = {"Accept": "text/event-stream", "Last-Event-ID": wrong}
            assert client.get(f"/jobs/{job}/events", headers=headers).status_code == 422
        assert client.get(f"/jobs/{job}/events", params={"after": -1}).status_code == 422
        assert client.get(f"/jobs/{job}/events", params={"cursor": "!"}).status_code == 422
        assert client.get(f"/jobs/{'0' * 32}/events").status_code == 404


def test_a_quiet_stream_beats_and_ends_for_who_leaves_the_project(
    running: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a server of this process over the service's database, with a heart that beats faster."""
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(api, "POLL_SECONDS", 0.1)
    database = running.database()
    journal = Journal(database)
    with database.session() as session:
        project = add_project(session, "scientist", "engineer")
        model = add_model(session, project, SCIENTIST)
        job = Job(kind="package", model_id=model.id, subject_id="0" * 32, created_by="scientist")
        job.status = "succeeded"  # so that the running service leaves it alone
        session.add(job)
        session.flush()
        project_id, job_id = project.id, job.id

    async def watch() -> list[str]:
        context: Any = SimpleNamespace(database=database, jobs=SimpleNamespace(journal=journal))
        with ThreadPoolExecutor(2) as pool:
            web = Web(context, pool, People(running.people_file))
            web.ready = True
            routes = {"GET": next(route for route in JOBS if route.path.endswith("/events"))}
            rule = (r"/jobs/(?P<job_id>\w+)/events", api.JobEventsHandler, {"web": web, "routes": routes})
            server = HTTPServer(Application([rule]))
            socket, port = bind_unused_port()
            server.add_sockets([socket])
            headers = {"Authorization": "Bearer test-engineer", "Accept": "text/event-stream"}
            lines: list[str] = []
            async with (
                httpx.AsyncClient(headers=headers, timeout=20) as client,
                client.stream("GET", f"http://127.0.0.1:{port}/jobs/{job_id}/events") as stream,
            ):
                try:
                    async for line in stream.aiter_lines():
                        lines.append(line)
                        if lines.count(": still here") == 2 and "told" not in "".join(lines):
                            await web.run(journal.append, job_id, "log", "told")
                        if lines.count(": still here") == 4 and "left" not in lines:
                            await web.run(leave)
                            lines.append("left")
                except httpx.TransportError:
                    lines.append("cut")
            server.stop()
            return lines

    def leave() -> None:
        with database.session() as session:
            session.delete(session.get_one(Collaborator, (project_id, "engineer")))

    # The job looks active to this server only.
    monkeypatch.setattr(api.journal, "read", as_if_active(api.journal.read))
    lines = asyncio.run(watch())
    database.close()
    assert lines.count(": still here") >= 4
    assert any('"message":"told"' in line for line in lines)
    assert lines.index("left") >= len(lines) - 4


def as_if_active(
    original: Callable[..., tuple[Any, Job | None]],
) -> Callable[..., tuple[list[JobEvent], None]]:
    def reading(*args: Any, **options: Any) -> tuple[list[JobEvent], None]:
        return list(original(*args, **options)[0]), None

    return reading
