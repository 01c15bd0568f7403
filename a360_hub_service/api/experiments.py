"""Experiments of a model."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from ..entities import Experiment
from ..services import experiments
from .json_values import Values
from .routing import Call, Form, Page, View
from .texts import DISPLAY_NAME, SOME_TEXT, Dimension

Name = Annotated[str, Field(min_length=1, max_length=512)]
Feature = Annotated[str, Field(min_length=1, max_length=512, pattern=SOME_TEXT)]
File = Annotated[str, Field(max_length=4096)]
Signature = Annotated[str, Field(min_length=1)]
Flavor = Literal["sklearn", "xgboost", "pytorch", "tensorflow", "huggingface"]
Baseline = dict[Name, Values]


class ExperimentForm(Form):
    """An experiment to get or to create; its name is unique in the model."""

    experiment_name: str = Field(min_length=1, max_length=128, json_schema_extra=DISPLAY_NAME)
    model_flavor: Flavor
    input_signature: Signature = Field(description="Such as `age big_integer, income float`.")
    output_signature: Signature
    train_shape: list[Dimension] = Field(default_factory=list, max_length=16)
    feature_names: list[Feature] = Field(
        default_factory=list, max_length=50_000, json_schema_extra={"uniqueItems": True}
    )
    baseline: Baseline | None = Field(None, description="Feature → mean, std and what else the kit computed.")
    target_baseline: Baseline | None = None
    enable_drift_monitoring: bool = False
    monitoring_expected_value: Literal["mean", "median"] = "mean"
    data_exploration_file: File | None = None
    data_preparation_file: File | None = None
    model_training_file: File | None = None
    pipeline_name: str | None = Field(None, max_length=64)
    framework: str | None = Field(None, max_length=64)


class ExperimentEdit(Form):
    """What changes; what is left out stays. Nothing else of an experiment can (M128)."""

    baseline: Baseline | None = None
    target_baseline: Baseline | None = None
    enable_drift_monitoring: bool = False
    monitoring_expected_value: Literal["mean", "median"] = "mean"
    data_exploration_file: File | None = None
    data_preparation_file: File | None = None
    model_training_file: File | None = None


class ExperimentView(View):
    """An experiment."""

    id: str
    model_id: str
    experiment_name: str
    model_flavor: str
    input_signature: str
    output_signature: str
    train_shape: list[int]
    feature_names: list[str]
    baseline: dict[str, dict[str, JsonValue]] | None
    target_baseline: dict[str, dict[str, JsonValue]] | None
    enable_drift_monitoring: bool
    monitoring_expected_value: str
    data_exploration_file: str | None
    data_preparation_file: str | None
    model_training_file: str | None
    pipeline_name: str | None
    framework: str | None
    best_run_id: str | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    warnings: list[str] = Field(
        default_factory=list, description="What the caller should know about this request."
    )


def list_experiments(call: Call) -> Page[ExperimentView]:
    """List a model's experiments"""
    rows, cursor = experiments.list_experiments(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[ExperimentView.model_validate(row) for row in rows], next_cursor=cursor)


def get_or_create_experiment(call: Call) -> ExperimentView:
    """Get the experiment of this name, or create it"""
    values: dict[str, Any] = call.body.model_dump()
    spec = experiments.ExperimentSpec(**values)
    experiment, made, warnings = experiments.get_or_create(call.session, call.actor, call.entity, spec)
    call.status = 201 if made else 200
    return _view(experiment, warnings)


def get_experiment(call: Call) -> ExperimentView:
    """Show an experiment"""
    return _view(call.entity)


def edit_experiment(call: Call) -> ExperimentView:
    """Change an experiment"""
    return _view(experiments.edit(call.session, call.entity, call.body.model_dump(exclude_unset=True)))


def _view(experiment: Experiment, warnings: list[str] | None = None) -> ExperimentView:
    view = ExperimentView.model_validate(experiment)
    view.warnings = warnings or []
    return view
