"""Runs: begun, filled while they run, and closed once, whole or as failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from ..backends.storage import Storage
from ..backends.storage.keys import check_key
from ..entities import Artifact, DataRepo, Experiment, Model, Project, Run, new_id, utcnow
from ..errors import Conflict, FieldError, Invalid, NotFound
from . import certificates, models
from .context import Actor, Context
from .naming import slugify
from .paging import page

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
MOST_VALUES = 1000
"""Most hyperparameters, metrics or metadata of one run; every run of a list carries all of them."""

COLUMNS = {"hyperparameters": "hyperparameters", "metrics": "metrics", "metadata": "run_metadata"}
"""The run's dictionaries: their names outside and their attributes."""


@dataclass(slots=True)
class Values:
    """What a run knows about itself; what is given is merged into what is there."""

    hyperparameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None


@dataclass(frozen=True, slots=True)
class ArtifactSpec:
    """A stored object of a run: its key in the run's data repo, bytes and SHA-256 in hexadecimal."""

    name: str
    kind: str
    file_key: str
    size: int
    sha256: str


@dataclass(slots=True)
class Outcome:
    """How a run ended."""

    status: str
    values: Values
    error: str | None = None
    artifacts: Sequence[ArtifactSpec] = ()
    certificate: dict[str, Any] | None = None


def list_runs(
    session: Session, experiment: Experiment, *, limit: int, cursor: str | None
) -> tuple[Sequence[Run], str | None]:
    """An experiment's runs with their artifacts, in the order they were begun."""
    query = select(Run).where(Run.experiment_id == experiment.id).options(selectinload(Run.artifacts))
    return page(session, query, Run.id, limit=limit, cursor=cursor, descending=False)


def start(session: Session, actor: Actor, experiment: Experiment, values: Values) -> Run:
    """Begin a run; its artifacts go under ``artifact_prefix`` in the project's default data repo (M015).

    Raises
    ------
    Conflict
        If the model's state allows no new runs, or the project has no data repo.
    """
    model = experiment.model
    models.require_editable(session, model, "a new run")
    repo = session.scalar(
        select(DataRepo).where(DataRepo.project_id == model.project_id, DataRepo.is_default)
    )
    if repo is None:
        raise Conflict(
            "The project has no default data repo, so there is no place for the run's artifacts.",
            hint="Choose a default data repo for the project.",
        )
    run_id = new_id()
    run = Run(
        id=run_id,
        experiment_id=experiment.id,
        data_repo_id=repo.id,
        artifact_prefix=prefix(model.project, model, experiment, run_id),
        created_by=actor.name,
    )
    _merge(run, values)
    session.add(run)
    session.flush()
    return run


def prefix(project: Project, model: Model, experiment: Experiment, run_id: str) -> str:
    """The folder of a run in its data repo."""
    names = (
        project.slug,
        slugify(model.model_name),
        slugify(model.version),
        slugify(experiment.experiment_name),
    )
    return "/".join(("Projects", *names, run_id))


def update(session: Session, run: Run, values: Values) -> Run:
    """Merge what a running run has found out.

    The model's state does not matter: what began while it allowed runs may come to its end.

    Raises
    ------
    Conflict
        If the run has ended.
    """
    _lock(session, run)
    if run.status != RUNNING:
        raise Conflict(f"The run is {run.status} and cannot change any more.", hint="Begin a new run.")
    _merge(run, values)
    session.flush()
    return run


def check_outcome(outcome: Outcome) -> None:
    """See that an outcome makes sense by itself: a failed run has no artifacts, a finished one no error.

    A certificate is about the artifacts.

    Raises
    ------
    Invalid
        With the fields concerned.
    """
    if outcome.status == FAILED and outcome.artifacts:
        raise Invalid.field("artifacts", "a failed run has none")
    if outcome.status == FINISHED and outcome.error:
        raise Invalid.field("error", "a finished run has none", hint="Close the run as failed.")
    for what in ("name", "file_key"):
        given = [getattr(artifact, what) for artifact in outcome.artifacts]
        twice = sorted({value for value in given if given.count(value) > 1})
        if twice:
            raise Invalid.field("artifacts", f"the {what} “{twice[0]}” stands there twice")
    if outcome.certificate is not None:
        if outcome.status == FAILED:
            raise Invalid.field("certificate", "a failed run has none")
        certificates.check(outcome.certificate, outcome.artifacts)


def check_files(storage: Storage, run_prefix: str, artifacts: Sequence[ArtifactSpec]) -> None:
    """See that every artifact's file is there, whole, and in the run's own folder.

    Asks the storage, which may be far away: call it outside a transaction.

    Raises
    ------
    Invalid
        Naming every artifact that is not as announced.
    """
    wrong = []
    for number, artifact in enumerate(artifacts):
        if problem := _problem(storage, run_prefix, artifact):
            wrong.append(FieldError(f"artifacts.{number}", f"{artifact.name}: {problem}"))
    if wrong:
        raise Invalid(
            "; ".join(error.message for error in wrong),
            hint="Upload the files into the run's folder first, then close the run.",
            errors=wrong,
        )


def finish(session: Session, run: Run, outcome: Outcome) -> Run:
    """Close a run; it never changes again. To close it the same way once more changes nothing.

    Raises
    ------
    Conflict
        If it was closed in another way.
    """
    _lock(session, run)
    if run.status != RUNNING:
        if _is_repeat(run, outcome):
            return run
        raise Conflict(
            f"The run was closed as {run.status} already, with other content.", hint="Begin a new run."
        )
    _merge(run, outcome.values)
    run.status, run.error, run.ended_at = outcome.status, outcome.error, utcnow()
    run.certificate = outcome.certificate
    run.artifacts = [
        Artifact(
            name=artifact.name,
            kind=artifact.kind,
            file_key=artifact.file_key,
            size=artifact.size,
            sha256=artifact.sha256,
        )
        for artifact in outcome.artifacts
    ]
    session.flush()
    return run


def open_storage(session: Session, context: Context, run: Run) -> Storage:
    """Where the run's artifacts are."""
    return context.storages.open(session, session.get_one(DataRepo, run.data_repo_id))


def _lock(session: Session, run: Run) -> None:
    query = select(Run).where(Run.id == run.id).with_for_update()
    if session.scalar(query.execution_options(populate_existing=True)) is None:
        raise NotFound("There is no such run any more.")


def _merged(run: Run, values: Values) -> dict[str, dict[str, Any]]:
    return {
        attribute: {**(getattr(run, attribute) or {}), **getattr(values, name)}
        for name, attribute in COLUMNS.items()
    }


def _merge(run: Run, values: Values) -> None:
    # New dictionaries: the database is not told of changes inside the old ones.
    for attribute, merged in _merged(run, values).items():
        if len(merged) > MOST_VALUES:
            name = next(name for name, column in COLUMNS.items() if column == attribute)
            raise Invalid.field(name, f"a run takes at most {MOST_VALUES:,} of them")
        setattr(run, attribute, merged)
    if values.dataset is not None:
        run.dataset = values.dataset


def _is_repeat(run: Run, outcome: Outcome) -> bool:
    """Whether closing the run with this outcome would change nothing."""
    stored = {ArtifactSpec(a.name, a.kind, a.file_key, a.size, a.sha256) for a in run.artifacts}
    return (
        (run.status, run.error) == (outcome.status, outcome.error)
        and outcome.values.dataset in (None, run.dataset)
        and stored == set(outcome.artifacts)
        and _same({"certificate": run.certificate}, {"certificate": outcome.certificate})
        and all(_same(getattr(run, name), merged) for name, merged in _merged(run, outcome.values).items())
    )


def _same(stored: Mapping[str, Any], merged: Mapping[str, Any]) -> bool:
    # In Python True == 1, in JSON not.
    return json.dumps(stored, sort_keys=True) == json.dumps(merged, sort_keys=True)


def _problem(storage: Storage, run_prefix: str, artifact: ArtifactSpec) -> str:
    if not artifact.file_key.startswith(f"{run_prefix}/"):
        return f"its file is not in the run's folder {run_prefix}/"
    found = storage.stat(check_key(artifact.file_key, field="artifacts"))
    if found is None:
        return f"there is no file {artifact.file_key}"
    if found.size != artifact.size:
        return f"its file has {found.size:,} bytes, announced were {artifact.size:,}"
    return ""
