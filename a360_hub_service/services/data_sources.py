"""Data sources: databases that members of a group may read (rows F029, F078, F092)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.datasources import KINDS
from ..entities import Credential
from ..errors import NotFound
from .context import Actor, Context
from .paging import slice_by
from .volumes import DATA_SOURCE

log = logging.getLogger("a360")


@dataclass(frozen=True, slots=True)
class DataSource:
    """What everybody may know who may use it."""

    id: str
    name: str
    description: str
    datasource_type: str
    database: str | None
    schema: str | None
    warehouse: str | None


def list_data_sources(
    session: Session, actor: Actor, *, datasource_type: str | None, limit: int, cursor: str | None
) -> tuple[Sequence[DataSource], str | None]:
    """The data sources of the caller's groups by name, of one type or of all."""
    types = [datasource_type] if datasource_type else list(KINDS)
    query = select(Credential).where(Credential.category == DATA_SOURCE, Credential.service.in_(types))
    found = [_view(row) for row in session.scalars(query) if _may_use(actor, row)]

    def rank(source: DataSource) -> str:
        return f"{source.name.lower()}\x1f{source.id}"

    return slice_by(sorted(found, key=rank), rank, limit=limit, cursor=cursor)


def connect(session: Session, context: Context, actor: Actor, source_id: str) -> dict[str, Any]:
    """What a notebook needs to connect, secrets included.

    Raises
    ------
    NotFound
        If there is no such data source, or none for the caller: both answer alike.
    """
    row = session.get(Credential, source_id)
    if row is None or row.category != DATA_SOURCE or row.service not in KINDS or not _may_use(actor, row):
        raise NotFound(
            "There is no such data source.", hint="It may have been deleted, or given to other groups."
        )
    log.info("%s connects to the data source %s (%s)", actor.name, row.id, row.service)
    shown = {name: row.settings.get(name) for name in KINDS[row.service].shown}
    return {
        **shown,
        **context.secrets.decrypt(row.secret),
        "id": row.id,
        "name": row.name,
        "datasource_type": row.service,
    }


def _may_use(actor: Actor, row: Credential) -> bool:
    return bool(set(row.groups) & set(actor.groups))


def _view(row: Credential) -> DataSource:
    place = (row.settings.get(name) for name in ("database", "schema", "warehouse"))
    return DataSource(row.id, row.name, row.description, row.service, *place)
