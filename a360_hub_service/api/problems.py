"""Problem documents (RFC 9457): the one shape of every error of the API."""

import errno
import sqlite3
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import DataError, IntegrityError, NoResultFound, OperationalError

from .. import errors
from ..lifecycle import WrongState
from ..secrets import SecretsError

STATUS: dict[type[errors.A360Error], int] = {
    errors.NotFound: 404,
    errors.Forbidden: 403,
    errors.Invalid: 422,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.OutsideFailure: 424,
    errors.Unavailable: 503,
    errors.OutOfSpace: 507,
}


CHOICE, NO_CHOICE = "service=", "no_such_service"
"""What begins the tag of one of several forms, no field of theirs; and the error when there is no such."""


class FieldProblem(BaseModel):
    """One field of the input and what is wrong with it."""

    field: str
    message: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str | None = Field(None, description="What to do next.")
    errors: list[FieldProblem] | None = None


class HTTPProblem(Exception):
    """An error that only HTTP knows (no session, wrong method, body too large to read)."""

    def __init__(self, status: int, code: str, title: str, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.problem = Problem(title=title, status=status, detail=detail, code=code, hint=hint)


MOST_FIELDS = 200
"""Field problems that one document names."""


def _field(path: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in path if not str(part).startswith(CHOICE))


def _from_validation(error: ValidationError) -> Problem:
    if error.error_count() > MOST_FIELDS:  # naming a hundred thousand takes a second
        detail = f"{error.error_count():,} values of the input are wrong: it is something else altogether."
        return Problem(title=errors.Invalid.title, status=422, detail=detail, code="invalid")
    found = [
        FieldProblem(
            field=CHOICE.strip("=") if item["type"] == NO_CHOICE else _field(item["loc"]) or "body",
            message=item["msg"],
        )
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    detail = "; ".join(f"{item.field}: {item.message}" for item in found[:5])
    return Problem(title=errors.Invalid.title, status=422, detail=detail, code="invalid", errors=found)


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def problem_of(error: BaseException) -> Problem | None:
    """The problem document of an exception, or ``None`` if it is nobody's fault but ours (a 500)."""
    if isinstance(error, HTTPProblem):
        return error.problem
    if isinstance(error, ValidationError):
        return _from_validation(error)
    if isinstance(error, WrongState):
        return Problem(title=errors.Conflict.title, status=409, detail=str(error), code="wrong-state")
    known = error if isinstance(error, errors.A360Error) else _meaning(error)
    if known is None:
        return None
    return Problem(
        title=known.title,
        status=next(status for kind, status in STATUS.items() if isinstance(known, kind)),
        detail=known.detail,
        code=known.code,
        hint=known.hint or None,
        errors=[FieldProblem(field=e.field, message=e.message) for e in known.errors] or None,
    )


def _meaning(error: BaseException) -> errors.A360Error | None:
    """What an exception from below the use cases means to the caller."""
    if isinstance(error, SecretsError):
        return errors.Unavailable(
            "What is stored encrypted cannot be read: the service has lost the key it needs.",
            hint="Ask the operator to put the key back into the file of secret keys.",
        )
    if isinstance(error, NoResultFound):
        return errors.NotFound("What the request is about has just been deleted.")
    if isinstance(error, DataError):
        return errors.Invalid(
            "A value of the request is one that the database cannot hold.",
            hint="Look for NUL characters and for numbers of more than fifteen digits.",
        )
    if isinstance(error, IntegrityError):
        return errors.Conflict(
            "Something like this exists already, or what it refers to is gone.",
            hint="Load the list again; somebody may have been faster.",
        )
    if _is_full(error) or (isinstance(error, OperationalError) and error.orig and _is_full(error.orig)):
        return errors.OutOfSpace(
            "There is no space left on the platform's disk; nothing was saved.",
            hint="Ask the operator to free or add space, then try again.",
        )
    return None


def internal(reference: str) -> Problem:
    """The document of an unexpected error; ``reference`` is found in the service's log."""
    return Problem(
        title="Something went wrong on our side",
        status=500,
        detail="The request could not be finished because of an unexpected error.",
        code="internal",
        hint=f"Tell your administrator this reference: {reference}",
    )


def as_json(problem: Problem) -> dict[str, Any]:
    """The document without members that hold nothing."""
    return problem.model_dump(exclude_none=True)
