"""Peer review: who may be asked, and what the answer does (rows F251 to F255, F272 to F284; ruling C12)."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..entities import Collaborator, GroupRole, Model
from ..errors import Conflict, Forbidden, Invalid
from ..lifecycle import Command, State, next_state
from ..policy import Action, Role, Verdict, judge, may_review
from . import models
from .context import Actor, Settings

SELF_REVIEW = "self_review"


def submit(
    session: Session,
    settings: Settings,
    actor: Actor,
    model: Model,
    reviewer: str,
    reviewer_groups: Sequence[str] | None,
) -> Model:
    """Send a model's final run to a reviewer.

    Parameters
    ----------
    reviewer
        A collaborator of the project whose role lets them review.
    reviewer_groups
        The reviewer's Hub groups, ``None`` if the Hub knows no such user.

    Raises
    ------
    WrongState
        If the model is not in Draft or Needs Revisions.
    Conflict
        If no final run was chosen.
    Invalid
        If that person cannot review this model.
    """
    models.lock(session, model)
    next_state(State(model.status), Command.SUBMIT)
    if model.best_run_id is None:
        raise Conflict(
            "There is nothing to review: the model has no final run.",
            hint="Choose one with model.set_final_run(experiment, run_id).",
        )
    if reviewer == actor.name and not _self_review(session, settings, model):
        raise Invalid.field("reviewer", "nobody reviews their own model", hint="Choose another collaborator.")
    member = session.get(Collaborator, (model.project_id, reviewer)) is not None
    if reviewer_groups is None or not member:
        raise Invalid.field(
            "reviewer", f"{reviewer} is not on this project", hint="Add them as a collaborator first."
        )
    rows = session.scalars(select(GroupRole.role).where(GroupRole.group_name.in_(reviewer_groups)))
    roles = frozenset(Role(row) for row in rows)
    if judge(Action.MODEL_REVIEW, roles, member) is not Verdict.ALLOWED:
        raise Invalid.field("reviewer", f"{reviewer} has no role that reviews models")
    models.transition(session, model, Command.SUBMIT, actor.name, f"Reviewer: {reviewer}")
    model.reviewer = reviewer
    session.flush()
    return model


def approve(session: Session, settings: Settings, actor: Actor, model: Model, comment: str) -> Model:
    """Say that the final run may be packaged and published; the comment may be empty (F279).

    Raises
    ------
    WrongState
        If the model is not in review.
    Forbidden
        If the caller is not its reviewer, or submitted it.
    """
    return _decide(session, settings, actor, model, Command.APPROVE, comment)


def deny(session: Session, settings: Settings, actor: Actor, model: Model, comment: str) -> Model:
    """Send the model back; the submitter is told why (F283).

    Raises
    ------
    Invalid
        Without a comment.
    WrongState, Forbidden
        As for :func:`approve`.
    """
    if not comment.strip():
        raise Invalid.field("comment", "is required: say what has to change")
    return _decide(session, settings, actor, model, Command.DENY, comment)


def revise(session: Session, actor: Actor, model: Model, comment: str = "") -> Model:
    """Take an approved model back to Draft; its approval is void."""
    models.transition(session, model, Command.REVISE, actor.name, comment)
    return model


def terminate(session: Session, actor: Actor, model: Model, comment: str = "") -> Model:
    """Give a model up for good; what it was stays readable."""
    models.transition(session, model, Command.TERMINATE, actor.name, comment)
    return model


def _self_review(session: Session, settings: Settings, model: Model) -> bool:
    """Whether submitters may decide: the setting is for projects of one person only (C12)."""
    people = select(func.count()).where(Collaborator.project_id == model.project_id)
    return settings.self_review_allowed and session.scalar(people) == 1


def _decide(
    session: Session, settings: Settings, actor: Actor, model: Model, command: Command, comment: str
) -> Model:
    models.lock(session, model)
    next_state(State(model.status), command)
    refusal = may_review(
        reviewer=model.reviewer,
        actor=actor.name,
        submitter=model.submitted_by,
        self_review_allowed=_self_review(session, settings, model),
    )
    if refusal:
        raise Forbidden(refusal)
    models.transition(session, model, command, actor.name, comment)
    if actor.name == model.submitted_by:
        models.record(
            session,
            model,
            SELF_REVIEW,
            actor.name,
            "The submitter decided about their own model; the setting self_review_allowed lets them.",
        )
    return model
