"""Workspaces: named servers of the Hub, each tied to one project."""

from typing import Any

from sqlalchemy import Float, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base, Identified, Stamped
from .projects import Project


class Workspace(Identified, Stamped, Base):
    """A person's place to work in a project: an image and a size, kept whether running or not (F233)."""

    __tablename__ = "workspaces"
    __table_args__ = (
        Index("uq_workspaces_owner_server_name", "owner", "server_name", unique=True),
        Index("uq_workspaces_project_owner_name", "project_id", "owner", "name", unique=True),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(255))
    server_name: Mapped[str] = mapped_column(String(30))
    image: Mapped[str] = mapped_column(String(64))
    cpu: Mapped[float] = mapped_column(Float)
    memory: Mapped[str] = mapped_column(String(16))
    gpus: Mapped[int] = mapped_column(Integer, default=0)
    message: Mapped[str] = mapped_column(Text, default="")
    limits: Mapped[dict[str, Any] | None]

    project: Mapped[Project] = relationship()
