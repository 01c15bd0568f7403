"""Experiments: one approach to a model each, with the signatures and baselines its runs share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..database import insert_first
from ..entities import Experiment, Model
from ..errors import Invalid
from . import models
from .context import Actor
from .naming import check_name
from .paging import page

MUTABLE = (
    "baseline",
    "target_baseline",
    "data_exploration_file",
    "data_preparation_file",
    "model_training_file",
    "enable_drift_monitoring",
    "monitoring_expected_value",
)
"""What may change after an experiment was made (M128)."""

FIXED = ("model_flavor", "input_signature", "output_signature", "feature_names", "pipeline_name")
"""What a second call may ask differently in vain, and is told so."""


@dataclass(slots=True)
class ExperimentSpec:
    """What a new experiment is made of; signatures are texts as the kit prints them."""

    experiment_name: str
    model_flavor: str
    input_signature: str
    output_signature: str
    train_shape: list[int] = field(default_factory=list)
    feature_names: list[str] = field(default_factory=list)
    baseline: dict[str, Any] | None = None
    target_baseline: dict[str, Any] | None = None
    enable_drift_monitoring: bool = False
    monitoring_expected_value: str = "mean"
    data_exploration_file: str | None = None
    data_preparation_file: str | None = None
    model_training_file: str | None = None
    pipeline_name: str | None = None
    framework: str | None = None


def list_experiments(
    session: Session, model: Model, *, limit: int, cursor: str | None
) -> tuple[Sequence[Experiment], str | None]:
    """A model's experiments in the order they were made."""
    query = select(Experiment).where(Experiment.model_id == model.id)
    return page(session, query, Experiment.id, limit=limit, cursor=cursor, descending=False)


def get_or_create(
    session: Session, actor: Actor, model: Model, spec: ExperimentSpec
) -> tuple[Experiment, bool, list[str]]:
    """The model's experiment of this name, made if there is none (M044).

    Returns
    -------
    tuple
        The experiment, whether it was made now, and a warning for each wish an existing one does not fulfil.

    Raises
    ------
    Conflict
        If it would have to be made and the model's state does not allow that.
    Invalid
        For names and baselines that do not fit together.
    """
    check_name("experiment_name", spec.experiment_name)
    same = select(Experiment).where(
        Experiment.model_id == model.id, Experiment.experiment_name == spec.experiment_name
    )
    found = session.scalar(same)
    if found is None:
        _check_features(spec.feature_names, spec.baseline, spec.enable_drift_monitoring, spec.target_baseline)
        models.require_editable(session, model, "a new experiment")
        values = {name: getattr(spec, name) for name in spec.__slots__}
        made = Experiment(model_id=model.id, created_by=actor.name, **values)
        if insert_first(session, made):
            return made, True, []
        found = session.scalars(same).one()
    return found, False, [_kept(found, name) for name in FIXED if _differs(found, spec, name)]


def edit(session: Session, experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """Change the fields that may change, while the model may.

    Raises
    ------
    Conflict
        If the model's state does not allow it.
    Invalid
        If the baseline is not about the experiment's features.
    """
    models.require_editable(session, experiment.model, "changing an experiment")
    for name in MUTABLE:
        if name in changes:
            setattr(experiment, name, changes[name])
    _check_features(
        experiment.feature_names,
        experiment.baseline,
        experiment.enable_drift_monitoring,
        experiment.target_baseline,
    )
    session.flush()
    return experiment


def _check_features(
    names: Sequence[str],
    baseline: Mapping[str, Any] | None,
    monitored: bool,
    target_baseline: Mapping[str, Any] | None,
) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid.field("feature_names", f"“{twice[0]}” stands there twice")
    unknown = [name for name in baseline or () if names and name not in names]
    if unknown:
        raise Invalid.field("baseline", f"“{unknown[0]}” is none of the feature names")
    if monitored and not baseline and not target_baseline:
        raise Invalid.field(
            "enable_drift_monitoring",
            "needs a baseline of the features or of the target",
            hint="Pass train_features or train_target, so that the baseline can be computed.",
        )


def _differs(found: Experiment, spec: ExperimentSpec, name: str) -> bool:
    wanted = getattr(spec, name)
    return bool(wanted) and wanted != getattr(found, name)


def _kept(found: Experiment, name: str) -> str:
    return (
        f"The experiment “{found.experiment_name}” exists with another {name} ({getattr(found, name)!r}), "
        "which stays; take a new experiment_name for a different one."
    )
