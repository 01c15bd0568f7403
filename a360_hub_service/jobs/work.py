"""What kinds of jobs are made of: steps that can be repeated, and what follows from their outcome."""

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from ..backends.base import BackendError
from ..backends.interruption import Interrupted
from ..entities import new_id
from ..errors import A360Error, OutOfSpace
from ..services.context import Context

log = logging.getLogger("a360.jobs")

ACTIVE = ("queued", "running")
"""Statuses of a job that has not ended."""


@dataclass(frozen=True, slots=True)
class Work:
    """One job, as its steps see it: identifiers, a folder of its own and a log.

    What steps find out goes to the database or into the folder, where it is found when they are repeated.

    Attributes
    ----------
    subject_id
        The package or endpoint the job is about.
    actor
        Who pressed the button.
    folder
        For files between steps; gone when the job has ended.
    log
        Takes one line for the job's viewers.
    """

    context: Context
    job_id: str
    model_id: str
    subject_id: str
    actor: str
    folder: Path
    log: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed and what a person can do about it; or that somebody cancelled it."""

    error: str
    hint: str = ""
    cancelled: bool = False


class Cancelled(Interrupted):
    """Somebody cancelled the job."""

    def __init__(self, by: str) -> None:
        super().__init__(f"Cancelled by {by}.", hint="Start it again when you want to.")


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of a job that may be run again: what it finds done already it leaves as it is.

    ``name`` identifies it in the records of running jobs, so it stays the same from version to version.
    """

    name: str
    title: str
    run: Callable[[Work], None]


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job.

    Attributes
    ----------
    steps
        In this order; the first that raises ends the job.
    succeed, fail
        Write the outcome, in the transaction that ends the job.
    undo
        Called before ``fail``: takes away what the steps left outside the database.
    """

    name: str
    steps: tuple[Step, ...]
    succeed: Callable[[Session, Work], None]
    fail: Callable[[Session, Work, Failure], None]
    undo: Callable[[Work], None]


def failure_of(error: BaseException, job_id: str) -> Failure:
    """What to tell a person about an exception; the service's log gets the traceback of an unexpected one."""
    if isinstance(error, A360Error):
        return Failure(error.detail, error.hint)
    if isinstance(error, BackendError):
        return Failure(error.message, error.hint, isinstance(error, Cancelled))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(
            f"{OutOfSpace.title}: there is no space left on the platform's disk.",
            "Ask the operator to free or add space, then try again.",
        )
    reference = new_id()[-12:]
    log.error("unexpected error %s in job %s", reference, job_id, exc_info=error)
    return Failure(
        "Something went wrong on the platform's side.",
        f"Try again; if that does not help, tell your administrator this reference: {reference}",
    )
