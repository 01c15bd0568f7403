"""Waivers: known vulnerabilities an administrator accepts until a day, with a reason."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from packaging.utils import canonicalize_name
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.scanners import Finding
from ..entities import Waiver, utcnow
from ..errors import Conflict, Invalid
from .context import Actor
from .paging import page

log = logging.getLogger("a360.waivers")
LONGEST = timedelta(days=366)
"""For how long a waiver may be given: what is accepted is looked at again."""


@dataclass(frozen=True, slots=True)
class WaiverSpec:
    """A new waiver; without a ``component`` it is for every package that has the advisory."""

    advisory: str
    reason: str
    until: date
    component: str | None = None


def add(session: Session, actor: Actor, spec: WaiverSpec) -> Waiver:
    """Accept an advisory until the end of a day (UTC).

    Raises
    ------
    Invalid
        For a day that is over, or too far away.
    """
    today = utcnow().date()
    if not today <= spec.until <= today + LONGEST:
        raise Invalid.field(
            "until",
            f"has to be a day from today to {today + LONGEST}",
            hint="Give a day within a year; when it is over the waiver can be given again.",
        )
    row = Waiver(
        advisory=spec.advisory,
        component=spec.component,
        reason=spec.reason,
        until=spec.until,
        created_by=actor.name,
    )
    session.add(row)
    session.flush()
    log.info("%s waived %s until %s: waiver %s", actor.name, _what(row), row.until, row.id)
    return row


def remove(session: Session, actor: Actor, row: Waiver) -> None:
    """Take a waiver back; packages made with it stay as they are.

    Raises
    ------
    Conflict
        If somebody took it back before.
    """
    session.refresh(row, with_for_update=True)
    if row.removed_at is not None:
        raise Conflict(f"{row.removed_by} took this waiver back already.")
    row.removed_by, row.removed_at = actor.name, utcnow()
    log.info("%s took back waiver %s of %s", actor.name, row.id, _what(row))


def list_waivers(
    session: Session, *, past: bool, limit: int, cursor: str | None
) -> tuple[Sequence[Waiver], str | None]:
    """Waivers, newest first; ``past`` ones, expired or taken back, only when asked for."""
    query = select(Waiver)
    if not past:
        query = query.where(Waiver.removed_at.is_(None), Waiver.until >= utcnow().date())
    return page(session, query, Waiver.id, limit=limit, cursor=cursor)


def that_count(session: Session, names: Iterable[str]) -> Sequence[Waiver]:
    """The waivers that hold today for any of these advisories, by their identifiers in upper case."""
    query = select(Waiver).where(Waiver.removed_at.is_(None), Waiver.until >= utcnow().date())
    wanted = set(names)
    return [row for row in session.scalars(query.order_by(Waiver.until.desc())) if row.advisory in wanted]


def waiver_of(finding: Finding, waivers: Sequence[Waiver]) -> Waiver | None:
    """The waiver that accepts a finding: it names the advisory or an alias, and its package or none."""
    return next((each for each in waivers if each.advisory in finding.names and _is_for(each, finding)), None)


def _is_for(waiver: Waiver, finding: Finding) -> bool:
    name = waiver.component
    if name is None or name.lower() == finding.package.lower():
        return True
    # PyPI knows a package under many spellings.
    return finding.ecosystem == "PyPI" and canonicalize_name(name) == canonicalize_name(finding.package)


def _what(row: Waiver) -> str:
    return f"{row.advisory} of {row.component}" if row.component else row.advisory
