"""Lists in pieces: keyset pages over identifiers, newest first or oldest first, or over any unique column."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import InstrumentedAttribute

from ..errors import Invalid

T = TypeVar("T")


def encode_cursor(value: str) -> str:
    """An opaque cursor for the last value of a page."""
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """The value back.

    Raises
    ------
    Invalid
        If it is not one of ours.
    """
    try:
        value = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        value = "\0"
    if "\0" in value:
        raise Invalid.field("cursor", "is not one that this list gave")
    return value


def page(
    session: Session,
    query: Select[T],
    column: InstrumentedAttribute[str],
    *,
    limit: int,
    cursor: str | None,
    descending: bool = True,
) -> tuple[Sequence[T], str | None]:
    """One page of a query ordered by a unique column.

    Returns
    -------
    tuple
        The rows and the next cursor, ``None`` at the end.
    """
    if cursor is not None:
        value = decode_cursor(cursor)
        query = query.where(column < value if descending else column > value)
    query = query.order_by(column.desc() if descending else column.asc()).limit(limit + 1)
    rows: list[Any] = list(session.scalars(query))
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, encode_cursor(getattr(rows[-1], column.key)) if more else None


def slice_by(
    items: Sequence[T], key: Callable[[T], str], *, limit: int, cursor: str | None
) -> tuple[list[T], str | None]:
    """One page of a list that is in memory, sorted by ``key``, which is unique."""
    after = decode_cursor(cursor) if cursor is not None else None
    rest = [item for item in items if after is None or key(item) > after]
    return rest[:limit], encode_cursor(key(rest[limit - 1])) if len(rest) > limit else None
