"""Models, experiments, runs, artifacts, and what was decided about them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..lifecycle import State
from .base import Base, Identified, Stamped, utcnow
from .projects import Project


class Model(Identified, Stamped, Base):
    """One business problem: a name and a version, unique in its project (C10)."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("project_id", "model_name", "version"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    model_name: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(12), default="1.0")
    model_type: Mapped[str] = mapped_column(String(64), default="")
    status: Mapped[str] = mapped_column(String(32), default=State.DRAFT.value)
    best_experiment_id: Mapped[str | None] = mapped_column(String(32))
    best_run_id: Mapped[str | None] = mapped_column(String(32))
    imported: Mapped[bool] = mapped_column(Boolean, default=False)
    created_by: Mapped[str] = mapped_column(String(255))
    submitted_by: Mapped[str | None] = mapped_column(String(255))
    reviewer: Mapped[str | None] = mapped_column(String(255))
    approved_by: Mapped[str | None] = mapped_column(String(255))

    project: Mapped[Project] = relationship()


class ModelEvent(Identified, Base):
    """One step in a model's life: who gave which command, and what they said."""

    __tablename__ = "model_events"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime] = mapped_column(default=utcnow)
    actor: Mapped[str] = mapped_column(String(255))
    command: Mapped[str] = mapped_column(String(40))
    from_status: Mapped[str] = mapped_column(String(32))
    to_status: Mapped[str] = mapped_column(String(32))
    comment: Mapped[str] = mapped_column(Text, default="")


class Experiment(Identified, Stamped, Base):
    """One approach to a model, with the signatures and the baseline its runs share."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("model_id", "experiment_name"),)

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    experiment_name: Mapped[str] = mapped_column(String(128))
    model_flavor: Mapped[str] = mapped_column(String(32))
    input_signature: Mapped[str] = mapped_column(Text)
    output_signature: Mapped[str] = mapped_column(Text)
    train_shape: Mapped[list[int]] = mapped_column(default=list)
    feature_names: Mapped[list[str]] = mapped_column(default=list)
    baseline: Mapped[dict[str, Any] | None]
    target_baseline: Mapped[dict[str, Any] | None]
    enable_drift_monitoring: Mapped[bool] = mapped_column(Boolean, default=False)
    monitoring_expected_value: Mapped[str] = mapped_column(String(10), default="mean")
    data_exploration_file: Mapped[str | None] = mapped_column(Text)
    data_preparation_file: Mapped[str | None] = mapped_column(Text)
    model_training_file: Mapped[str | None] = mapped_column(Text)
    pipeline_name: Mapped[str | None] = mapped_column(String(64))
    framework: Mapped[str | None] = mapped_column(String(64))
    best_run_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(255))

    model: Mapped[Model] = relationship()


class Run(Identified, Base):
    """One set of hyperparameters, tried. Its artifacts exist only once it is finished."""

    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_experiment_id_id", "experiment_id", "id"),)

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(10), default="running")
    hyperparameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # "metadata" is taken by the declarative base, so the attribute has another name than its column.
    run_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", JSON, default=dict)
    dataset: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    certificate: Mapped[dict[str, Any] | None]
    data_repo_id: Mapped[str] = mapped_column(ForeignKey("data_repos.id", ondelete="CASCADE"))
    artifact_prefix: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime] = mapped_column(default=utcnow)
    ended_at: Mapped[datetime | None]

    experiment: Mapped[Experiment] = relationship()
    artifacts: Mapped[list["Artifact"]] = relationship(
        back_populates="run", cascade="all, delete-orphan", passive_deletes=True, order_by="Artifact.id"
    )


class Artifact(Identified, Base):
    """One stored object of a run; ``file_key`` is its place in the run's data repo."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("run_id", "name"),)

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(20))
    file_key: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    run: Mapped[Run] = relationship(back_populates="artifacts")
