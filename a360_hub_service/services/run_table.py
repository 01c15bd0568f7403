"""Runs as the rows of a table: what compares them, and no more, for lists of thousands."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..entities import Artifact, Experiment, Run
from .paging import decode_cursor, encode_cursor


@dataclass(slots=True)
class RunRow:
    """One run; ``artifact_paths`` has the keys of its artifacts by their names."""

    id: str
    status: str
    dataset: str | None
    error: str | None
    hyperparameters: dict[str, Any]
    metrics: dict[str, Any]
    metadata: dict[str, Any]
    started_at: datetime
    artifact_paths: dict[str, str] = field(default_factory=dict)


def rows(
    session: Session, experiment: Experiment, *, limit: int, cursor: str | None
) -> tuple[list[RunRow], str | None]:
    """An experiment's runs in the order they were begun.

    Columns instead of entities: with those, ten thousand runs take four times as long.
    """
    query = select(
        Run.id,
        Run.status,
        Run.dataset,
        Run.error,
        Run.hyperparameters,
        Run.metrics,
        Run.run_metadata,
        Run.started_at,
    ).where(Run.experiment_id == experiment.id)
    if cursor is not None:
        query = query.where(Run.id > decode_cursor(cursor))
    found = session.execute(query.order_by(Run.id).limit(limit + 1)).all()
    more = len(found) > limit
    page = [RunRow(*run) for run in found[:limit]]
    by_id = {row.id: row for row in page}
    artifacts = select(Artifact.run_id, Artifact.name, Artifact.file_key)
    for run_id, name, key in session.execute(
        artifacts.where(Artifact.run_id.in_(by_id)).order_by(Artifact.id)
    ):
        by_id[run_id].artifact_paths[name] = key
    return page, encode_cursor(page[-1].id) if more else None
