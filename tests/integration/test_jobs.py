"""The engine of jobs and their logs: what is written once, who sees it, and what a restart takes up again."""

import asyncio
import fcntl
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from a360_hub_service.app import A360HubService
from a360_hub_service.database import Database
from a360_hub_service.entities import Job, JobEvent, Model
from a360_hub_service.errors import Conflict
from a360_hub_service.jobs import engine as engine_module
from a360_hub_service.jobs.engine import JobEngine
from a360_hub_service.jobs.journal import Journal, read
from a360_hub_service.jobs.work import Failure, JobKind, Step, Work
from a360_hub_service.services import jobs
from a360_hub_service.services.context import Actor
from tests.support.catalogue import add_model, add_project, person
from tests.support.delivery import SCRIPT, Delivery, delivery_service, events, ok
from tests.support.postgres import postgres
from tests.support.service import ServiceProcess, wait_for

SCIENTIST = person("scientist", "Data Scientists")


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield ""
    else:
        with postgres() as server:
            yield server.new_database()


class Bench:
    """An engine over a database, with a kind of job that does what a test says."""

    def __init__(self, home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        app = A360HubService(home=str(home))
        if database_url:
            app.database_url = database_url
        app.upgrade()
        self.database = Database(app.database_url)
        self.context: Any = SimpleNamespace(database=self.database, jobs=None)
        self.done: list[str] = []
        self.outcomes: list[str] = []
        self.work: Callable[[str, Work], None] = lambda name, work: None
        steps = tuple(Step(name, f"Step {name}", self._step(name)) for name in ("one", "two"))
        kind = JobKind("package", steps, self._succeed, self._fail, self._undo)
        monkeypatch.setattr(engine_module, "KINDS", {"package": kind})

    def _step(self, name: str) -> Callable[[Work], None]:
        def run(work: Work) -> None:
            self.done.append(f"{name} {work.job_id}")
            self.work(name, work)

        return run

    def _succeed(self, session: Session, work: Work) -> None:
        self.outcomes.append(f"succeeded {work.job_id}")

    def _fail(self, session: Session, work: Work, failure: Failure) -> None:
        self.outcomes.append(f"failed {work.job_id}")

    def _undo(self, work: Work) -> None:
        self.done.append(f"undo {work.job_id}")

    def start(self, **traits: Any) -> JobEngine:
        engine = JobEngine(home=str(self.home), polling_seconds=0.05, **traits)
        self.context.jobs = engine
        engine.start(self.context)
        return engine

    def begin(self, actor: Actor = SCIENTIST) -> str:
        with self.database.session() as session:
            model = add_model(session, add_project(session, actor.name), actor)
            job = jobs.begin(session, self.context, actor, model, kind="package", subject_id="0" * 32)
        return job.id

    def get(self, job_id: str) -> Job:
        with self.database.session(write=False) as session:
            return session.get_one(Job, job_id)

    def wait(self, job_id: str) -> Job:
        wait_for(lambda: self.get(job_id).status in ("succeeded", "failed"), message="the job did not end")
        return self.get(job_id)

    def log(self, job_id: str) -> list[tuple[str, str, str]]:
        with self.database.session(write=False) as session:
            found, _ = read(session, job_id, after=0, limit=1000)
            return [(event.kind, event.step, event.message) for event in found]


@pytest.fixture
def bench(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, database_url, monkeypatch)
    yield made
    if made.context.jobs is not None:
        made.context.jobs.stop()
    made.database.close()


@pytest.mark.row("F271")
def test_a_job_runs_its_steps_in_order_and_once(bench: Bench) -> None:
    bench.work = lambda name, work: work.log(f"in {name}")
    bench.start()
    job = bench.begin()
    done = bench.wait(job)
    assert (done.status, done.error) == ("succeeded", None)
    assert done.started_at
    assert done.ended_at
    assert done.created_at <= done.started_at <= done.ended_at
    assert bench.done == [f"one {job}", f"two {job}"]
    assert bench.outcomes == [f"succeeded {job}"]
    assert bench.log(job) == [
        ("status", "", "queued"),
        ("status", "", "running"),
        ("step", "one", "Step one"),
        ("log", "one", "in one"),
        ("step", "two", "Step two"),
        ("log", "two", "in two"),
        ("status", "", "succeeded"),
    ]


def test_a_step_that_fails_ends_the_job_with_words(bench: Bench) -> None:
    def work(name: str, work: Work) -> None:
        raise Conflict("The door is locked.", hint="Knock.")

    bench.work = work
    bench.start()
    job = bench.begin()
    done = bench.wait(job)
    assert (done.status, done.error, done.hint) == ("failed", "The door is locked.", "Knock.")
    assert bench.done == [f"one {job}", f"undo {job}"]
    assert bench.outcomes == [f"failed {job}"]
    assert bench.log(job)[-2:] == [("log", "", "The door is locked. Knock."), ("status", "", "failed")]


def test_what_was_committed_before_a_crash_is_taken_up_by_the_next_start(bench: Bench) -> None:
    bench.start()
    bench.wait(bench.begin())
    bench.context.jobs.stop()
    # The process dies after the commit: nobody tells DBOS. The engine that is stopped cannot.
    lost = bench.begin()
    assert bench.get(lost).status == "queued"
    bench.start()
    assert bench.wait(lost).status == "succeeded"
    assert bench.outcomes.count(f"succeeded {lost}") == 1


def test_no_more_jobs_run_at_once_than_allowed(bench: Bench) -> None:
    running, most, lock = set[str](), [0], threading.Lock()
    go = threading.Event()

    def work(name: str, work: Work) -> None:
        with lock:
            running.add(work.job_id)
            most[0] = max(most[0], len(running))
        if name == "one":
            go.wait(20)
        else:
            with lock:
                running.discard(work.job_id)

    bench.work = work
    bench.start(concurrency=2)
    begun = [bench.begin() for _ in range(5)]
    wait_for(lambda: len(running) == 2)
    go.set()
    assert all(bench.wait(job).status == "succeeded" for job in begun)
    assert most == [2]


def test_one_active_job_a_model(bench: Bench) -> None:
    go = threading.Event()
    bench.work = lambda name, work: wait_for(lambda: go.wait(20))
    bench.start()
    job = bench.begin()
    with bench.database.session() as session:
        model = session.get_one(Model, bench.get(job).model_id)
        with pytest.raises(Conflict, match="is being packaged right now"):
            jobs.refuse_second(session, model)
        with pytest.raises(Conflict, match="is being worked on right now"):
            jobs.begin(session, bench.context, SCIENTIST, model, kind="package", subject_id="0" * 32)
        session.rollback()
    go.set()
    bench.wait(job)


def test_an_engine_waits_for_the_one_before_it(bench: Bench) -> None:
    path = bench.home / "service" / "jobs.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        starting = pool.submit(bench.start)
        with pytest.raises(TimeoutError):
            starting.result(0.5)
        fcntl.flock(other, fcntl.LOCK_UN)
        starting.result(30)
    assert bench.wait(bench.begin()).status == "succeeded"


def test_the_engine_removes_what_a_killed_one_left(bench: Bench) -> None:
    left = bench.home / "service" / "jobs" / ("f" * 32)
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    bench.start()
    assert not left.exists()


def test_the_records_hold_identifiers_and_json_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, "", monkeypatch)
    bench.start()
    job = bench.begin()
    bench.wait(job)
    bench.context.jobs.stop()
    bench.database.close()
    with sqlite3.connect(tmp_path / "service" / "jobs.sqlite") as records:
        tables = [row[0] for row in records.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {"workflow_status", "operation_outputs"} <= set(tables)
        formats = set(records.execute("SELECT DISTINCT serialization FROM workflow_status"))
        inputs = [
            row
            for table in tables
            if table == "workflow_input"
            for row in records.execute(f"SELECT * FROM {table}")
        ]
    records.close()
    assert formats == {("portable_json",)}
    assert any(json.dumps(job) in str(value) for row in inputs for value in row)


def test_a_log_that_cannot_be_written_is_written_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.context.jobs = SimpleNamespace(
        journal=Journal(bench.database), enqueue=lambda *_: None, stop=lambda: None
    )
    job = bench.begin()
    journal: Journal = bench.context.jobs.journal
    session = bench.database.session
    broken = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    def fail(**_: Any) -> Any:
        raise broken

    monkeypatch.setattr(bench.database, "session", fail)
    journal.append(job, "log", "first")
    journal.append(job, "log", "second")
    monkeypatch.setattr(bench.database, "session", session)
    journal.append(job, "log", "third\0" + "x" * 20_000)
    found = [message for kind, _, message in bench.log(job) if kind == "log"]
    assert found[:2] == ["first", "second"]
    assert found[2].startswith("third\N{REPLACEMENT CHARACTER}xxx")
    assert len(found[2]) < 8100


# Viewers, of a real service.


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
    from tornado.httpserver import HTTPServer
    from tornado.testing import bind_unused_port
    from tornado.web import Application

    from a360_hub_service.api import jobs as api
    from a360_hub_service.api.handlers import Web
    from a360_hub_service.api.routes_delivery import JOBS
    from tests.support.service_main import People

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
        from a360_hub_service.entities import Collaborator

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
