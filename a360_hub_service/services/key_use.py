"""When keys were last used: replicas remember it, and are asked now and then; no call writes anything."""

import logging
from datetime import UTC, datetime

from sqlalchemy import or_, select, update

from ..entities import Endpoint, EndpointKey
from .context import Context
from .endpoints import RUNNING

log = logging.getLogger("a360.endpoints")


def collect(context: Context) -> int:
    """Ask the replicas of all running endpoints, and keep what is new; says of how many keys."""
    with context.database.session(write=False) as session:
        running = select(Endpoint.slug, Endpoint.target).where(Endpoint.desired == RUNNING)
        endpoints = [(row.slug, row.target) for row in session.execute(running)]
    used: dict[str, float] = {}
    for slug, name in endpoints:
        target = context.targets.get(name)
        if target is None:
            continue
        try:
            used |= target.key_use(slug)
        except Exception:
            log.warning("the replicas of %s could not be asked when its keys were used", slug, exc_info=True)
    return _keep(context, used) if used else 0


def _keep(context: Context, used: dict[str, float]) -> int:
    changed = 0
    with context.database.session() as session:
        for key_id, seconds in used.items():
            at = datetime.fromtimestamp(seconds, UTC)
            older = or_(EndpointKey.last_used_at.is_(None), EndpointKey.last_used_at < at)
            done = session.execute(
                update(EndpointKey).where(EndpointKey.id == key_id, older).values(last_used_at=at)
            )
            changed += int(getattr(done, "rowcount", 0))
    return changed
