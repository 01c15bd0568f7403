"""What can go wrong in a use case, in words a user can act on; the API makes problem documents of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field and what is wrong with it."""

    field: str
    message: str


class A360Error(Exception):
    """A use case that cannot be done.

    Parameters
    ----------
    detail
        What happened and why, in one or two sentences.
    hint
        What to do next.
    errors
        The fields concerned, if the caller filled in a form.
    """

    code = "error"
    title = "The request failed"

    def __init__(self, detail: str, *, hint: str = "", errors: list[FieldError] | None = None) -> None:
        super().__init__(detail)
        self.detail, self.hint, self.errors = detail, hint, errors or []


class NotFound(A360Error):
    """There is no such thing, or none for this caller."""

    code, title = "not-found", "Not found"


class Forbidden(A360Error):
    """The caller is known and may not do this."""

    code, title = "forbidden", "Not allowed"


class Invalid(A360Error):
    """The input breaks a rule."""

    code, title = "invalid", "The input is not valid"

    @classmethod
    def field(cls, field: str, message: str, *, hint: str = "") -> "Invalid":
        """An error of one field."""
        return cls(f"{field}: {message}", hint=hint, errors=[FieldError(field, message)])


class Conflict(A360Error):
    """The thing is not in a state that allows this, or exists already."""

    code, title = "conflict", "Not possible right now"


class TooLarge(A360Error):
    """More than the platform takes in one piece."""

    code, title = "too-large", "Too large"


class OutsideFailure(A360Error):
    """A server that somebody named, such as that of a credential's buckets, does not do its part."""

    code, title = "outside-failure", "A server outside the platform did not do its part"


class Unavailable(A360Error):
    """A part of the platform itself does not answer, or is not set up."""

    code, title = "unavailable", "A part of the platform is not available"


class OutOfSpace(A360Error):
    """The storage is full."""

    code, title = "out-of-space", "The storage is full"
