"""The engine of jobs and their logs: what is written once, who sees it, and what a restart takes up again."""

import fcntl
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from a360_hub_service.app import A360HubService
from a360_hub_service.backends import interruption
from a360_hub_service.database import Database
from a360_hub_service.entities import Job, Model
from a360_hub_service.errors import Conflict
from a360_hub_service.jobs import engine as engine_module
from a360_hub_service.jobs.engine import JobEngine
from a360_hub_service.jobs.journal import Journal, read
from a360_hub_service.jobs.work import Failure, JobKind, Step, Work
from a360_hub_service.services import jobs
from a360_hub_service.services.context import Actor
from tests.support.catalogue import add_model, add_project, person
from tests.support.postgres import postgres
from tests.support.service import wait_for

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
        ended = ("succeeded", "failed", "cancelled")
        wait_for(lambda: self.get(job_id).status in ended, message="the job did not end")
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


class Held:
    """Steps that wait until the test lets them go on, or they are interrupted."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, name: str, work: Work) -> None:
        self.begun.set()
        while not self.go.wait(0.02):
            interruption.check()


def cancel(bench: Bench, job_id: str, actor: Actor = SCIENTIST) -> None:
    with bench.database.session() as session:
        jobs.cancel(session, bench.context, actor, session.get_one(Job, job_id))


@pytest.mark.row("F271")
def test_a_running_job_is_cancelled_and_cleaned_up(bench: Bench) -> None:
    held = Held()
    bench.work = held
    bench.start()
    job = bench.begin()
    assert held.begun.wait(20)
    cancel(bench, job)
    done = bench.wait(job)
    assert (done.status, done.cancelled_by, done.error) == (
        "cancelled",
        "scientist",
        "Cancelled by scientist.",
    )
    assert bench.done == [f"one {job}", f"undo {job}"]
    assert bench.outcomes == [f"failed {job}"]
    assert bench.log(job)[-2][2] == "Cancelled by scientist. Start it again when you want to."
    assert not (bench.home / "service" / "jobs" / job).exists()
    with pytest.raises(Conflict, match="ended already: it was cancelled"):
        cancel(bench, job)


@pytest.mark.row("F271")
def test_a_waiting_job_is_cancelled_at_once(bench: Bench) -> None:
    held = Held()
    bench.work = held
    bench.start(concurrency=1)
    first = bench.begin()
    assert held.begun.wait(20)
    waiting = bench.begin()
    cancel(bench, waiting)
    assert bench.get(waiting).status == "cancelled"
    held.go.set()
    assert bench.wait(first).status == "succeeded"
    assert bench.wait(bench.begin()).status == "succeeded"
    assert f"one {waiting}" not in bench.done
    assert bench.outcomes.count(f"failed {waiting}") == 1


def test_a_cancelled_job_is_not_gone_on_with_after_a_restart(bench: Bench) -> None:
    bench.start()
    bench.wait(bench.begin())
    bench.context.jobs.stop()
    lost = bench.begin()
    with bench.database.session() as session:
        row = session.get_one(Job, lost)
        row.status, row.started_at, row.cancelled_by = "running", row.created_at, "scientist"
    bench.start()
    assert bench.wait(lost).status == "cancelled"
    assert f"one {lost}" not in bench.done


def test_a_job_that_takes_too_long_is_ended(bench: Bench) -> None:
    bench.work = Held()
    bench.start(job_seconds=0.3)
    done = bench.wait(bench.begin())
    assert done.status == "failed"
    assert "took longer than" in (done.error or "")
    assert done.cancelled_by is None


def test_a_withdrawal_is_not_cancelled(bench: Bench) -> None:
    bench.context.jobs = SimpleNamespace(
        journal=Journal(bench.database), enqueue=lambda *_: None, stop=lambda: None
    )
    with bench.database.session() as session:
        model = add_model(session, add_project(session, "scientist"), SCIENTIST)
        job = jobs.begin(session, bench.context, SCIENTIST, model, kind="withdraw", subject_id="0" * 32)
        with pytest.raises(Conflict, match="withdrawal cannot be cancelled"):
            jobs.cancel(session, bench.context, SCIENTIST, job)
        assert job.cancelled_by is None
        session.rollback()


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
