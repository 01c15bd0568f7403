"""From a path to the project it lies in: what authorisation needs to know about every identifier."""

from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from .. import entities as e
from ..errors import Forbidden, NotFound
from ..policy import POLICY, Action, Verdict, judge
from ..services.context import Actor


class Scope(NamedTuple):
    """What a path names, and the project it belongs to (``None`` for things outside projects)."""

    entity: Any
    project_id: str | None


def _model_project(session: Session, model_id: str) -> str | None:
    return session.scalar(select(e.Model.project_id).where(e.Model.id == model_id))


def find(session: Session, ids: dict[str, str]) -> Scope | None:
    """Load what the path names, ``None`` if it names nothing.

    Raises
    ------
    NotFound
        If there is no such thing.
    """
    for name, (entity_class, project_of) in _FINDERS.items():
        if name in ids:
            entity = session.get(entity_class, ids[name])
            if entity is None:
                raise _missing(entity_class)
            return Scope(entity, project_of(session, entity))
    return None


def _missing(entity_class: type[Any]) -> NotFound:
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in entity_class.__name__).strip()
    return NotFound(
        f"There is no such {words}.", hint="It may have been deleted, or you are not on its project."
    )


_FINDERS: dict[str, tuple[type[Any], Any]] = {
    "project_id": (e.Project, lambda s, x: x.id),
    "data_repo_id": (e.DataRepo, lambda s, x: x.project_id),
    "model_id": (e.Model, lambda s, x: x.project_id),
    "experiment_id": (e.Experiment, lambda s, x: _model_project(s, x.model_id)),
    "run_id": (e.Run, lambda s, x: _model_project(s, x.experiment.model_id)),
    "artifact_id": (e.Artifact, lambda s, x: _model_project(s, x.run.experiment.model_id)),
    "package_id": (e.Package, lambda s, x: _model_project(s, x.model_id)),
    "endpoint_id": (e.Endpoint, lambda s, x: _model_project(s, x.model_id)),
    "job_id": (e.Job, lambda s, x: _model_project(s, x.model_id)),
    "workspace_id": (e.Workspace, lambda s, x: x.project_id),
    "credential_id": (e.Credential, lambda s, x: None),
    "waiver_id": (e.Waiver, lambda s, x: None),
}


def authorise(session: Session, actor: Actor, action: Action, ids: dict[str, str]) -> Any:
    """Check a request against the policy and return the entity its path names.

    Raises
    ------
    NotFound
        If there is no such thing, or the caller is not on its project: both answer alike.
    Forbidden
        If the caller's roles do not reach that far.
    """
    if not POLICY[action].in_project:
        # Roles first: who may not manage credentials learns nothing from trying their identifiers.
        _demand(judge(action, actor.roles, None), e.Project)
        scope = find(session, ids)
        return scope.entity if scope else None
    scope = find(session, ids)
    if scope is None or scope.project_id is None:
        raise LookupError(f"the action {action} needs a path that names something in a project")
    member = session.get(e.Collaborator, (scope.project_id, actor.name)) is not None
    _demand(judge(action, actor.roles, member), type(scope.entity))
    return scope.entity


def _demand(verdict: Verdict, entity_class: type[Any]) -> None:
    if verdict is Verdict.HIDDEN:
        raise _missing(entity_class)
    if verdict is Verdict.FORBIDDEN:
        raise Forbidden(
            "Your roles do not allow this.", hint="Ask an administrator for a group that has the role."
        )
