"""Jobs: how one is begun, and what is shown of it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..entities import Job, Model
from ..errors import Conflict
from ..jobs.work import ACTIVE
from .context import Actor, Context
from .models import lock
from .paging import page

PACKAGE, PUBLISH, WITHDRAW = "package", "publish", "withdraw"
_ENDED = {"succeeded": "succeeded", "failed": "failed", "cancelled": "was cancelled"}
_DOING = {PACKAGE: "packaged", PUBLISH: "published", WITHDRAW: "withdrawn"}


def refuse_second(session: Session, model: Model) -> None:
    """Hold the model's row, and refuse while a job works on the model.

    Raises
    ------
    Conflict
        Saying what is being done.
    """
    lock(session, model)
    active = session.scalar(select(Job).where(Job.model_id == model.id, Job.status.in_(ACTIVE)))
    if active is not None:
        raise _busy(model, _DOING[active.kind])


def begin(
    session: Session, context: Context, actor: Actor, model: Model, *, kind: str, subject_id: str
) -> Job:
    """Make a job that starts when the caller's transaction is committed.

    Raises
    ------
    Conflict
        If another one got ahead.
    """
    job = Job(kind=kind, model_id=model.id, subject_id=subject_id, created_by=actor.name, status="queued")
    # The index on active jobs is what decides, whatever was seen before. Made ahead: it reads the model.
    busy = _busy(model, "worked on")
    session.add(job)
    try:
        session.flush()
    except IntegrityError:
        raise busy from None
    context.jobs.journal.add(session, job.id, "status", "queued")
    context.jobs.enqueue(session, job)
    return job


def cancel(session: Session, context: Context, actor: Actor, job: Job) -> Job:
    """Cancel a job; the model can be packaged or published again after it.

    Raises
    ------
    Conflict
        If it has ended, or is a withdrawal: half of one is worse than none or a whole one.
    """
    session.refresh(job, with_for_update=True)
    if job.status not in ACTIVE:
        raise Conflict(f"This job has ended already: it {_ENDED[job.status]}.")
    if job.kind == WITHDRAW:
        raise Conflict("A withdrawal cannot be cancelled.", hint="Wait for its end, and publish again.")
    if job.cancelled_by is None:
        context.jobs.cancel(session, job, actor.name)
        session.flush()
    return job


def list_jobs(
    session: Session, model: Model, *, limit: int, cursor: str | None
) -> tuple[Sequence[Job], str | None]:
    """A model's jobs, newest first (F271)."""
    return page(session, select(Job).where(Job.model_id == model.id), Job.id, limit=limit, cursor=cursor)


def newest_of(session: Session, model_id: str, subject_ids: Sequence[str]) -> dict[str, Job]:
    """The newest job about each of a model's packages or endpoints, by their identifiers."""
    query = select(Job).where(Job.model_id == model_id, Job.subject_id.in_(subject_ids)).order_by(Job.id)
    return {job.subject_id: job for job in session.scalars(query)}


def _busy(model: Model, doing: str) -> Conflict:
    return Conflict(
        f"“{model.model_name}” {model.version} is being {doing} right now.",
        hint="Follow the log of that job; when it has ended you can go on.",
    )
