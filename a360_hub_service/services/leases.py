"""Runs whose kernel is gone: they do not stay running for ever.

Whoever begins a run may promise to send heartbeats. Without them the run counts as failed after a while. If
it was only the network, nothing is lost: the run goes on with the next heartbeat, or ends as its kernel says.
"""

from datetime import timedelta

from sqlalchemy import update

from ..entities import Run, utcnow
from .context import Context

ABANDONED = "The kernel ended, or lost its connection to the platform, before the run was closed."
_RUNNING, _FAILED = "running", "failed"


def renew(run: Run, seconds: int) -> None:
    """Let a run count as running for another while."""
    run.alive_until = utcnow() + timedelta(seconds=seconds)


def is_open(run: Run) -> bool:
    """Whether a run can still be closed: it is running, or only counts as failed."""
    return run.status == _RUNNING or (run.status == _FAILED and run.error == ABANDONED)


def revive(run: Run) -> None:
    """Let a run that counts as failed be running again; its kernel has just spoken."""
    if run.status == _FAILED and run.error == ABANDONED:
        run.status, run.error, run.ended_at = _RUNNING, None, None


def abandon(context: Context) -> int:
    """Let runs without a heartbeat count as failed; says how many."""
    now = utcnow()
    late = update(Run).where(Run.status == _RUNNING, Run.alive_until < now)
    with context.database.session() as session:
        done = session.execute(late.values(status=_FAILED, error=ABANDONED, ended_at=now))
        return int(getattr(done, "rowcount", 0))
