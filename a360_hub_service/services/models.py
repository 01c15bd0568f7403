"""Models: the one place that moves them through their life, and what can be changed about them."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..entities import Model, ModelEvent
from ..errors import Conflict, NotFound
from ..lifecycle import EDITABLE, Command, State, next_state

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
