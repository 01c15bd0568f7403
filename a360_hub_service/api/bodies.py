"""JSON bodies, read without keeping the interpreter for longer than the event loop may be held up.

A reader in C keeps the interpreter to its end, in whatever thread it runs, and its time depends on how many
values a body has more than on its length: a megabyte of empty lists takes fifty times as long as a megabyte
of baselines. So the values are counted first.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from .problems import HTTPProblem

LARGE = 64 * 1024
"""Bytes from which on a body is read in a thread."""
MOST_CONTAINERS = 16_000
"""Lists and objects of one body: an experiment's baseline has one for each of up to 15,000 features."""
MOST_VALUES = 50_000
STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


async def read_body(
    model: type[BaseModel], raw: bytes, in_thread: Callable[..., Awaitable[Any]]
) -> BaseModel:
    """The body as the route's model.

    Parameters
    ----------
    model
        What the route takes.
    raw
        The bytes of the body.
    in_thread
        Awaits a function with its arguments in another thread.

    Raises
    ------
    HTTPProblem
        400 if it is not JSON, 413 if it holds too many values.
    ValidationError
        It is not what the route takes.
    """
    if len(raw) <= LARGE:
        _count(raw)
        return _validate(model, raw)
    # Two steps: the event loop has its turn between them.
    await in_thread(_count, raw)
    body: BaseModel = await in_thread(_validate, model, raw)
    return body


def _count(raw: bytes) -> None:
    shape = STRING.sub(b"", raw)
    if shape.count(b"[") + shape.count(b"{") > MOST_CONTAINERS or shape.count(b",") > MOST_VALUES:
        raise HTTPProblem(
            413,
            "too-many-values",
            "Too large",
            f"The body holds more than {MOST_VALUES:,} values or {MOST_CONTAINERS:,} lists and objects.",
            "Send less at once.",
        )


def _validate(model: type[BaseModel], raw: bytes) -> BaseModel:
    try:
        # Strict: 0 is no false and "1" no number, or the document of the API would not tell the truth.
        return model.model_validate_json(raw or b"{}", strict=True)
    except ValidationError as error:
        if raw and error.error_count() == 1 and error.errors()[0]["type"] == "json_invalid":
            raise HTTPProblem(
                400, "bad-json", "Not JSON", "The body is not valid JSON.", "Send a JSON object."
            ) from None
        raise
