"""Review: submit, approve, deny; and the two ways back, revise and terminate."""

from pydantic import Field
from sqlalchemy.orm import Session

from ..entities import Model
from ..errors import NotFound
from ..services import reviews
from .models import ModelView, model_view
from .routing import AsyncCall, Call, Form

MOST = 10_000


class SubmitForm(Form):
    """Who reviews."""

    reviewer: str = Field(min_length=1, max_length=255, description="A collaborator of the project.")


class CommentForm(Form):
    """A comment that may be left out."""

    comment: str = Field("", max_length=MOST)


class DenyForm(Form):
    """What has to change."""

    comment: str = Field(min_length=1, max_length=MOST)


async def submit_model(call: AsyncCall) -> ModelView:
    """Send a model to a reviewer"""
    reviewer = await call.context.hub.get_user(call.body.reviewer)

    def work(session: Session) -> ModelView:
        model = session.get(Model, call.ids["model_id"])
        if model is None:
            raise NotFound("There is no such model any more.")
        groups = None if reviewer is None else reviewer.groups
        reviews.submit(session, call.context.settings, call.actor, model, call.body.reviewer, groups)
        return model_view(call.context, model)

    return await call.db(work)


def approve_model(call: Call) -> ModelView:
    """Approve a model"""
    model = reviews.approve(call.session, call.context.settings, call.actor, call.entity, call.body.comment)
    return model_view(call.context, model)


def deny_model(call: Call) -> ModelView:
    """Deny a model, saying what has to change"""
    model = reviews.deny(call.session, call.context.settings, call.actor, call.entity, call.body.comment)
    return model_view(call.context, model)


def revise_model(call: Call) -> ModelView:
    """Take an approved model back to Draft"""
    return model_view(call.context, reviews.revise(call.session, call.actor, call.entity, call.body.comment))


def terminate_model(call: Call) -> ModelView:
    """Give a model up for good"""
    return model_view(
        call.context, reviews.terminate(call.session, call.actor, call.entity, call.body.comment)
    )
