"""Packages, endpoints with their keys, and the jobs that make them."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base, Identified, Stamped, utcnow
from .models import Model
from .projects import Credential


class Job(Identified, Base):
    """Long work on a model: package, publish or withdraw. At most one is active per model."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "uq_jobs_active_model",
            "model_id",
            unique=True,
            sqlite_where=text("status IN ('queued', 'running')"),
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
        Index("ix_jobs_model_id_id", "model_id", "id"),
    )

    kind: Mapped[str] = mapped_column(String(20))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    subject_id: Mapped[str] = mapped_column(String(32))  # the package or endpoint the job works on
    status: Mapped[str] = mapped_column(String(10), default="queued")
    error: Mapped[str | None] = mapped_column(Text)
    hint: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))
    cancelled_by: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]

    model: Mapped[Model] = relationship()


class JobEvent(Base):
    """One line of a job's log. ``seq`` grows over all jobs, so a viewer resumes after any of them."""

    __tablename__ = "job_events"
    __table_args__ = (Index("ix_job_events_job_id_seq", "job_id", "seq"),)

    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=utcnow)
    kind: Mapped[str] = mapped_column(String(10))
    step: Mapped[str] = mapped_column(String(64), default="")
    message: Mapped[str] = mapped_column(Text, default="")


class Package(Identified, Stamped, Base):
    """What packaging made of a model's final run: a bundle folder or an image."""

    __tablename__ = "packages"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(10), default="building")
    builder: Mapped[str] = mapped_column(String(20))
    form: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reference: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str | None] = mapped_column(String(80))
    size: Mapped[int | None] = mapped_column(BigInteger)
    commit: Mapped[str | None] = mapped_column(String(40))
    ref: Mapped[str | None] = mapped_column(
        String(300)
    )  # the branch or tag the commit was, if one was asked for
    lock_sha256: Mapped[str | None] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(String(255))

    model: Mapped[Model] = relationship()


class Endpoint(Identified, Stamped, Base):
    """A published package: what should run (``desired``), where, and the answer's address."""

    __tablename__ = "endpoints"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), unique=True)
    package_id: Mapped[str] = mapped_column(ForeignKey("packages.id"))
    slug: Mapped[str] = mapped_column(String(63), unique=True)
    target: Mapped[str] = mapped_column(String(20))
    # The credential that says where, for targets that are not one place.
    deployment_target_id: Mapped[str | None] = mapped_column(
        ForeignKey("credentials.id", ondelete="SET NULL")
    )
    form: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # Environment variables may hold passwords: a Fernet token over their JSON.
    environment: Mapped[str] = mapped_column(Text, default="")
    desired: Mapped[str] = mapped_column(String(10), default="running")
    url: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(255))

    model: Mapped[Model] = relationship()
    package: Mapped[Package] = relationship()
    deployment_target: Mapped[Credential | None] = relationship()
    keys: Mapped[list["EndpointKey"]] = relationship(
        back_populates="endpoint",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="EndpointKey.id",
    )


class EndpointKey(Identified, Base):
    """An API key of an endpoint: only its SHA-256 is kept (C14)."""

    __tablename__ = "endpoint_keys"

    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64), default="default")  # several have it while one is rotated
    sha256: Mapped[str] = mapped_column(String(64))
    prefix: Mapped[str] = mapped_column(String(12))
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute or so: replicas are asked now and then

    endpoint: Mapped[Endpoint] = relationship(back_populates="keys")
