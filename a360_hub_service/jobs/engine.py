"""Durable jobs on DBOS Transact: a workflow per job, whose steps are recorded as they end.

Our own tables say what people see: a job's status, its log, what it made. DBOS keeps what is needed to go
on after a crash: which job was queued or running, and which of its steps have ended. The two meet in one
place: a watcher enqueues every active job under its own identifier, which DBOS takes once and no more, so
that no crash between the two databases loses a job or runs it twice.
"""

import contextlib
import fcntl
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from traitlets import Float, Int, Unicode
from traitlets.config import LoggingConfigurable

from ..backends.interruption import Interrupted, check, interruptible
from ..entities import Job, utcnow
from ..errors import A360Error
from ..lifecycle import WrongState
from ..services.context import Context
from .journal import Journal
from .kinds import KINDS
from .work import ACTIVE, Cancelled, Failure, JobKind, Work, failure_of

log = logging.getLogger("a360.jobs")

QUEUE = "a360-jobs"
RECORDS_VERSION = "1"
"""Version of the order and names of all steps. Jobs of another version are not taken up again by DBOS."""
MOST_RECOVERIES = 5
"""A job that takes the service down with it is given up after as many starts."""
_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})

_engine: "JobEngine | None" = None


@DBOS.workflow(name="a360-job", max_recovery_attempts=MOST_RECOVERIES)
def run_job(job_id: str) -> None:
    """Run one job; DBOS calls this again after a crash."""
    if _engine is None:
        raise RuntimeError("no engine is running in this process")
    _engine.run(job_id)


class JobEngine(LoggingConfigurable):
    """Runs jobs in the background of the service; one per process, since DBOS is."""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    concurrency = Int(3, help="Jobs that run at the same time.").tag(config=True)
    job_seconds = Float(3600.0, help="A job that takes longer is ended; 0 for no limit.").tag(config=True)
    polling_seconds = Float(0.2, help="How often the queue is looked at.").tag(config=True)
    sweep_seconds = Float(30.0, help="How often jobs that were lost sight of are looked for.").tag(
        config=True
    )

    journal: Journal

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._running: set[str] = set()
        self._cancelled: dict[str, str] = {}  # running jobs, and who cancelled them
        self._watcher = threading.Thread(target=self._watch, name="a360-jobs", daemon=True)

    def start(self, context: Context) -> None:
        """Take up what was running when the service stopped, and be ready for more.

        Waits while another process works on the same state directory, such as the service before this one
        that is still ending.
        """
        global _engine
        if _engine is not None:
            raise RuntimeError("there is an engine in this process already")
        self._context = context
        self.journal = Journal(context.database)
        self._lock = self._only_one()
        self._sweep_folders()
        _engine = self
        try:
            DBOS(config=self._configuration(context.database.url))
            DBOS.launch()
            DBOS.register_queue(
                QUEUE,
                worker_concurrency=self.concurrency,
                polling_interval_sec=self.polling_seconds,
                on_conflict="always_update",
            )
        except BaseException:
            self.stop()
            raise
        self._watcher.start()

    def stop(self) -> None:
        """Stop taking up jobs. Those that are running go on until the process ends; see :attr:`busy`."""
        global _engine
        self._stopping.set()
        self._wake.set()
        if _engine is not self:
            return
        if self._watcher.is_alive():
            self._watcher.join(10)
        DBOS.destroy()
        _engine = None
        if not self.busy:
            # While a job still runs here, nobody else may begin it again: the lock ends with the process.
            self._lock.close()

    @property
    def busy(self) -> bool:
        """Whether a job is running in this process."""
        return bool(self._running)

    def enqueue(self, session: Session, job: Job) -> None:
        """Have a new job started as soon as the transaction that holds it is committed."""
        session.flush()

        def committed(_: Session) -> None:
            self._wake.set()

        event.listen(session, "after_commit", committed, once=True)

    def cancel(self, session: Session, job: Job, by: str) -> None:
        """Cancel an active job whose row the caller's transaction holds.

        One that waits ends with the transaction. One that runs ends soon after it, where it next looks; what
        it has made by then is taken away.
        """
        job_id, job.cancelled_by = job.id, by
        if job.status == "queued":
            work = self._work(job, "cancel")
            self._write_outcome(session, KINDS[job.kind], work, failure_of(Cancelled(by), job.id))
            shutil.rmtree(work.folder, ignore_errors=True)
        else:
            self.journal.add(session, job.id, "log", f"{by} cancels this job.")

        def committed(_: Session) -> None:
            if job_id in self._running:
                self._cancelled[job_id] = by
            self.journal.written(job_id)

        event.listen(session, "after_commit", committed, once=True)

    def run(self, job_id: str) -> None:
        """Do a job's steps and write down how it ended. Called as a workflow."""
        self._running.add(job_id)
        try:
            kind = self._begin(job_id)
            if kind is not None:
                self._run_steps(job_id, kind)
        except Exception as error:
            # The records of DBOS cannot be written, for instance because the disk is full.
            if self._stopping.is_set():
                raise
            self._finish(job_id, asdict(failure_of(error, job_id)))
        finally:
            self._running.discard(job_id)
            self._cancelled.pop(job_id, None)

    def _run_steps(self, job_id: str, kind: JobKind) -> None:
        outcome: Mapping[str, Any] | None = None
        for step in kind.steps:
            outcome = DBOS.run_step({"name": step.name}, self._attempt, job_id, step.name)
            if outcome:
                break
        DBOS.run_step({"name": "finish"}, self._finish, job_id, outcome)

    def _begin(self, job_id: str) -> JobKind | None:
        """Mark a job as running; ``None`` if it has ended already."""
        with self._context.database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.status not in ACTIVE:
                return None
            if job.cancelled_by:
                self._cancelled[job_id] = job.cancelled_by
            if job.status == "queued":
                job.status, job.started_at = "running", utcnow()
                self.journal.add(session, job_id, "status", "running")
            else:
                self.journal.add(session, job_id, "log", "The platform was restarted; this job goes on.")
            kind = KINDS[job.kind]
        self.journal.written(job_id)
        return kind

    def _attempt(self, job_id: str, name: str) -> dict[str, Any] | None:
        """Run one step; what went wrong with it, or ``None``."""
        with self._context.database.session(write=False) as session:
            job = session.get_one(Job, job_id)
        step = next(step for step in KINDS[job.kind].steps if step.name == name)
        self.journal.append(job_id, "step", step.title, name)
        try:
            with interruptible(lambda: self._asked(job)):
                check()
                step.run(self._work(job, name))
                check()
        except Exception as error:
            return asdict(failure_of(error, job_id))
        return None

    def _asked(self, job: Job) -> Interrupted | None:
        """Why a running job is to end early, if it is."""
        if by := self._cancelled.get(job.id):
            return Cancelled(by)
        assert job.started_at
        if self.job_seconds and (utcnow() - job.started_at).total_seconds() > self.job_seconds:
            return Interrupted(
                f"This took longer than {self.job_seconds / 60:.0f} minutes, and was ended.",
                hint="Start it again; if it really needs more time, ask the operator to raise the limit.",
            )
        return None

    def _finish(self, job_id: str, outcome: Mapping[str, Any] | None) -> None:
        failure = Failure(**outcome) if outcome else None
        with self._context.database.session(write=False) as session:
            job = session.get(Job, job_id)
        if job is None or job.status not in ACTIVE:
            return
        kind, work = KINDS[job.kind], self._work(job, "finish")
        if failure is None:
            try:
                self._settle(kind, work, None)
            except Exception as error:
                failure = failure_of(error, job_id)
        if failure is not None:
            try:
                kind.undo(work)
            except Exception as error:
                work.log(f"Not everything could be cleaned up. {failure_of(error, job_id).error}")
            # Gone before the outcome is written: what fills the disk may be ours.
            shutil.rmtree(work.folder, ignore_errors=True)
            self._settle(kind, work, failure)
        shutil.rmtree(work.folder, ignore_errors=True)

    def _settle(self, kind: JobKind, work: Work, failure: Failure | None) -> None:
        """Write the outcome; as long as the database cannot be written (full, locked), try again."""
        pause = 0.2
        while True:
            try:
                with self._context.database.session() as session:
                    self._write_outcome(session, kind, work, failure)
                self.journal.written(work.job_id)
                return
            except DBAPIError as error:
                if not _passes(error):
                    raise
                log.error("the outcome of job %s cannot be written yet: %s", work.job_id, error.orig)
                if self._stopping.wait(pause):
                    raise
                pause = min(pause * 2, 30)

    def _write_outcome(self, session: Session, kind: JobKind, work: Work, failure: Failure | None) -> None:
        job = session.get(Job, work.job_id, with_for_update=True)
        if job is None or job.status not in ACTIVE:
            return
        if failure is None:
            kind.succeed(session, work)
            job.status = "succeeded"
        else:
            try:
                with session.begin_nested():
                    kind.fail(session, work, failure)
            except (A360Error, WrongState):
                # The model went another way meanwhile; the job has to end all the same.
                log.exception("the failure of job %s could not be passed on", job.id)
            job.status = "cancelled" if failure.cancelled else "failed"
            job.error, job.hint = failure.error, failure.hint or None
            self.journal.add(session, job.id, "log", " ".join(filter(None, (failure.error, failure.hint))))
        job.ended_at = utcnow()
        self.journal.add(session, job.id, "status", job.status)

    def _work(self, job: Job, step: str) -> Work:
        def write(line: str) -> None:
            self.journal.append(job.id, "log", line, step)
            check()

        folder = self._folders() / job.id
        folder.mkdir(parents=True, exist_ok=True)
        return Work(self._context, job.id, job.model_id, job.subject_id, job.created_by, folder, write)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._sweep()
            except Exception:
                log.exception("looking for jobs to start failed")
                if self._stopping.wait(1):
                    return
                self._wake.set()
            self._wake.wait(self.sweep_seconds)

    def _sweep(self) -> None:
        with self._context.database.session(write=False) as session:
            active = session.scalars(select(Job.id).where(Job.status.in_(ACTIVE)).order_by(Job.id)).all()
        for job_id in active:
            status = DBOS.get_workflow_status(job_id)
            if status is None:
                with SetWorkflowID(job_id):
                    DBOS.enqueue_workflow(QUEUE, run_job, job_id)
            elif status.status in _ENDED and job_id not in self._running:
                log.error("job %s ended as %s without an outcome", job_id, status.status)
                given_up = Failure(
                    "The platform was stopped again and again while it worked on this, and gave up.",
                    "Try again; if that does not help, ask the operator to look at the service's log.",
                )
                self._finish(job_id, asdict(given_up))

    def _folders(self) -> Path:
        return Path(self.home, "service", "jobs")

    def _sweep_folders(self) -> None:
        """Remove what ended jobs left when the service was killed."""
        folders = self._folders()
        folders.mkdir(parents=True, exist_ok=True)
        with self._context.database.session(write=False) as session:
            active = set(session.scalars(select(Job.id).where(Job.status.in_(ACTIVE))))
        for folder in folders.iterdir():
            if folder.name not in active:
                shutil.rmtree(folder, ignore_errors=True)

    def _only_one(self) -> IO[str]:
        path = Path(self.home, "service", "jobs.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
        waited = False
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            if self._stopping.is_set():
                file.close()
                raise RuntimeError("stopped while waiting for another process to end")
            if not waited:
                log.warning("another process works on the jobs in %s; waiting for it to end", path.parent)
            waited = True
            time.sleep(0.1)

    def _configuration(self, database_url: str) -> DBOSConfig:
        sqlite = database_url.startswith("sqlite")
        records = f"sqlite:///{Path(self.home, 'service', 'jobs.sqlite')}" if sqlite else database_url
        return {
            "name": "a360",
            "system_database_url": records,
            "dbos_system_schema": "a360_jobs",
            # Fixed, so that a restarted service finds its own jobs again.
            "application_version": RECORDS_VERSION,
            "executor_id": "a360",
            # The default is pickle, and nothing is unpickled in this process.
            "serializer": DBOSPortableJSONSerializer(),
            "use_listen_notify": False,
            "enable_otlp": False,
            "log_level": "WARNING",
        }


def _passes(error: DBAPIError) -> bool:
    """Whether this may be over in a while, rather than be an answer of the database."""
    said = str(error.orig)
    return error.connection_invalidated or "full" in said or "locked" in said or "disk I/O" in said
