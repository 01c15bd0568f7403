"""Models: what they are, their final run and their history."""

from datetime import datetime

from pydantic import Field

from ..entities import Model
from ..services import models
from ..services.context import Context
from .routing import Call, Form, Page, View
from .texts import DISPLAY_NAME


class ModelForm(Form):
    """A model to get or to create; name and version are unique in the project (C10)."""

    model_name: str = Field(min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    version: str = Field("1.0", min_length=1, max_length=12, json_schema_extra=DISPLAY_NAME)
    model_type: str = Field(
        "", max_length=64, description="Such as regression, classification, clustering or time series."
    )
    imported: bool = Field(False, description="Trained elsewhere.")


class ModelEdit(Form):
    """What changes; what is left out stays."""

    model_type: str = Field("", max_length=64)


class FinalRunForm(Form):
    """The run to review, package and publish."""

    experiment_id: str = Field(pattern="^[0-9a-f]{32}$")
    run_id: str = Field(pattern="^[0-9a-f]{32}$")


class ModelView(View):
    """A model."""

    id: str
    project_id: str
    model_name: str
    version: str
    model_type: str
    status: str
    best_experiment_id: str | None
    best_run_id: str | None
    imported: bool
    created_by: str
    submitted_by: str | None
    reviewer: str | None
    approved_by: str | None
    detail_url: str = ""
    created_at: datetime
    updated_at: datetime
    warnings: list[str] = Field(
        default_factory=list, description="What the caller should know about this request."
    )


class ModelEventView(View):
    """One entry of a model's history; `from_status` and `to_status` are alike where nothing was decided."""

    id: str
    at: datetime
    actor: str
    command: str
    from_status: str
    to_status: str
    comment: str


def model_view(context: Context, model: Model, warnings: list[str] | None = None) -> ModelView:
    """A model as the API shows it."""
    view = ModelView.model_validate(model)
    view.detail_url = models.detail_url(context.settings, model.id)
    view.warnings = warnings or []
    return view


def list_models(call: Call) -> Page[ModelView]:
    """List the models of the caller's projects"""
    rows, cursor = models.list_models(
        call.session, call.actor, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[model_view(call.context, row) for row in rows], next_cursor=cursor)


def list_project_models(call: Call) -> Page[ModelView]:
    """List a project's models"""
    rows, cursor = models.list_models(
        call.session, call.actor, project_id=call.entity.id, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[model_view(call.context, row) for row in rows], next_cursor=cursor)


def get_or_create_model(call: Call) -> ModelView:
    """Get the model of this name and version, or create it"""
    spec = models.ModelSpec(**call.body.model_dump())
    model, made, warnings = models.get_or_create(call.session, call.actor, call.entity, spec)
    call.status = 201 if made else 200
    return model_view(call.context, model, warnings)


def get_model(call: Call) -> ModelView:
    """Show a model"""
    return model_view(call.context, call.entity)


def edit_model(call: Call) -> ModelView:
    """Change a model"""
    changes = call.body.model_dump(exclude_unset=True)
    return model_view(call.context, models.edit(call.session, call.actor, call.entity, changes))


def set_final_run(call: Call) -> ModelView:
    """Choose the run that is reviewed, packaged and published"""
    model = models.set_final_run(
        call.session, call.actor, call.entity, call.body.experiment_id, call.body.run_id
    )
    call.session.flush()
    return model_view(call.context, model)


def get_model_history(call: Call) -> Page[ModelEventView]:
    """List what happened to a model, oldest first"""
    rows, cursor = models.history(call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor)
    return Page(items=[ModelEventView.model_validate(row) for row in rows], next_cursor=cursor)
