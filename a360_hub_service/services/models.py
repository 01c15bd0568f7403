"""Models: the one place that moves them through their life, and what can be changed about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ..database import insert_first
from ..entities import Collaborator, Experiment, Model, ModelEvent, Project, Run
from ..errors import Conflict, Invalid, NotFound
from ..lifecycle import EDITABLE, Command, State, next_state
from .context import Actor, Settings
from .naming import check_name
from .paging import page

SHORT_NAME = 15
"""Longer names are cut where monitoring shows them (C10)."""

FINAL_RUN_ARTIFACT = "trained_model"
"""Without this one a run cannot be packaged, so it cannot be final."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a new model is made of."""

    model_name: str
    version: str = "1.0"
    model_type: str = ""
    imported: bool = False


def lock(session: Session, model: Model) -> None:
    """Hold the model's row until the transaction ends, and read it as it is now.

    PostgreSQL locks the row; on SQLite a writing session holds the write lock from its beginning
    (see :meth:`a360_hub_service.database.Database.session`), so nothing else is needed there.
    """
    query = select(Model).where(Model.id == model.id).with_for_update()
    if session.scalar(query.execution_options(populate_existing=True)) is None:
        raise NotFound("There is no such model any more.")


def transition(session: Session, model: Model, command: Command, actor: str, comment: str = "") -> ModelEvent:
    """Give a model a command: the one place where its status changes.

    The row is locked first, so of two commands given at once the second one finds what the first one made.
    Who may give the command has been settled by the caller.

    Parameters
    ----------
    session
        A writing session; the caller's transaction decides whether the step counts.
    model
        The model, of that session.
    command
        What is asked.
    actor
        Name of the person, also where a job reports what became of their order.
    comment
        What they said.

    Returns
    -------
    ModelEvent
        The entry in the model's history.

    Raises
    ------
    WrongState
        If the model's state has no such step.
    """
    lock(session, model)
    before = State(model.status)
    after = next_state(before, command)
    model.status = after.value
    if command is Command.SUBMIT:
        model.submitted_by, model.approved_by = actor, None
    elif command is Command.APPROVE:
        model.approved_by = actor
    elif command is Command.REVISE:
        # An approval was for what stood there then.
        model.submitted_by = model.reviewer = model.approved_by = None
    return record(session, model, command.value, actor, comment, before=before)


def record(
    session: Session,
    model: Model,
    command: str,
    actor: str,
    comment: str = "",
    *,
    before: State | None = None,
) -> ModelEvent:
    """Write into a model's history; without ``before`` as something that left the status alone."""
    event = ModelEvent(
        model_id=model.id,
        actor=actor,
        command=command,
        from_status=before.value if before else model.status,
        to_status=model.status,
        comment=comment,
    )
    session.add(event)
    session.flush()
    return event


def require_editable(session: Session, model: Model, what: str) -> None:
    """Refuse ``what`` unless the model's state lets its experiments, runs and final run change.

    Raises
    ------
    Conflict
        With what to do about it.
    """
    lock(session, model)
    state = State(model.status)
    if state in EDITABLE:
        return
    hints = {
        State.IN_REVIEW: f"Wait for {model.reviewer or 'the reviewer'} to decide, or work on a new version.",
        State.PUBLISHED: "Work on a new version of the model.",
        State.TERMINATED: "Work on a new version of the model.",
        State.PACKAGING: "Wait until packaging has ended.",
        State.PUBLISHING: "Wait until publishing has ended.",
    }
    raise Conflict(
        f"“{model.model_name}” {model.version} is “{state}”; "
        f"{what} is possible in {' and '.join(sorted(EDITABLE))} only.",
        hint=hints.get(state, "Send it back to Draft first (revise), or work on a new version of the model."),
    )


def list_models(
    session: Session, actor: Actor, *, limit: int, cursor: str | None, project_id: str | None = None
) -> tuple[Sequence[Model], str | None]:
    """The models of one project, or of every project the caller works on; newest first (F240)."""
    query = select(Model)
    if project_id is not None:
        query = query.where(Model.project_id == project_id)
    else:
        mine = select(Collaborator.project_id).where(Collaborator.user_name == actor.name)
        query = query.where(Model.project_id.in_(mine))
    return page(session, query, Model.id, limit=limit, cursor=cursor)


def get_or_create(
    session: Session, actor: Actor, project: Project, spec: ModelSpec
) -> tuple[Model, bool, list[str]]:
    """The project's model of this name and version, made if there is none (M035, M036, C10).

    Returns
    -------
    tuple
        The model, whether it was made now, and warnings: for a name that will be cut short, and for wishes
        that an existing model does not fulfil.

    Raises
    ------
    Invalid
        For a name or version that nobody could read.
    """
    check_name("model_name", spec.model_name)
    check_name("version", spec.version)
    warnings = []
    if len(spec.model_name) > SHORT_NAME:
        warnings.append(
            f"The name has {len(spec.model_name)} characters; "
            f"monitoring shows the first {SHORT_NAME}: “{spec.model_name[:SHORT_NAME]}”."
        )
    found = session.scalar(_same(project, spec))
    if found is None:
        made = Model(
            project_id=project.id,
            model_name=spec.model_name,
            version=spec.version,
            model_type=spec.model_type,
            imported=spec.imported,
            created_by=actor.name,
        )
        if insert_first(session, made):
            record(session, made, "create", actor.name)
            return made, True, warnings
        found = session.scalars(_same(project, spec)).one()
    if spec.model_type and spec.model_type != found.model_type:
        warnings.append(
            f"The model exists with the type “{found.model_type or 'unknown'}”, which stays; "
            "change it on the model if it is wrong."
        )
    return found, False, warnings


def edit(session: Session, actor: Actor, model: Model, changes: dict[str, str]) -> Model:
    """Change what may change of a model: its type. Everything else the platform sets (M136)."""
    require_editable(session, model, "changing the model")
    for name, value in changes.items():
        if getattr(model, name) != value:
            record(session, model, "edit", actor.name, f"{name}: “{getattr(model, name)}” → “{value}”")
            setattr(model, name, value)
    session.flush()
    return model


def set_final_run(session: Session, actor: Actor, model: Model, experiment_id: str, run_id: str) -> Model:
    """Choose the run that is reviewed, packaged and published (M072).

    Raises
    ------
    Conflict
        In states that no longer allow it: what was approved is what gets published.
    Invalid
        If the run is none of that experiment of this model, did not finish, or saved no model.
    """
    require_editable(session, model, "choosing the final run")
    experiment = session.get(Experiment, experiment_id)
    if experiment is None or experiment.model_id != model.id:
        raise Invalid.field("experiment_id", "is no experiment of this model")
    run = session.get(Run, run_id)
    if run is None or run.experiment_id != experiment.id:
        raise Invalid.field("run_id", f"is no run of the experiment “{experiment.experiment_name}”")
    if run.status != "finished":
        raise Invalid.field("run_id", f"the run is {run.status}; only a finished run can be final")
    if FINAL_RUN_ARTIFACT not in {artifact.name for artifact in run.artifacts}:
        raise Invalid.field(
            "run_id",
            "the run saved no model",
            hint="Log one with run.log_model inside the run, then choose it.",
        )
    if (model.best_experiment_id, model.best_run_id) != (experiment.id, run.id):
        experiment.best_run_id = run.id
        model.best_experiment_id, model.best_run_id = experiment.id, run.id
        record(session, model, "final_run", actor.name, f"{experiment.experiment_name}: {run.id}")
    return model


def history(
    session: Session, model: Model, *, limit: int, cursor: str | None
) -> tuple[Sequence[ModelEvent], str | None]:
    """What happened to a model, oldest first: every command, and every choice of a final run."""
    query = select(ModelEvent).where(ModelEvent.model_id == model.id)
    return page(session, query, ModelEvent.id, limit=limit, cursor=cursor, descending=False)


def detail_url(settings: Settings, model_id: str) -> str:
    """Where people read about a model (M081)."""
    return f"{settings.public_url}/models/{model_id}"


def _same(project: Project, spec: ModelSpec) -> Select[Model]:
    return select(Model).where(
        Model.project_id == project.id, Model.model_name == spec.model_name, Model.version == spec.version
    )
