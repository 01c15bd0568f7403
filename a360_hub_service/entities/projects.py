"""Projects, who works on them, and the data repos they own."""

from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base, Identified, Stamped


class Project(Identified, Stamped, Base):
    """The boundary of access: models, data and endpoints belong to exactly one project (F169)."""

    __tablename__ = "projects"

    name: Mapped[str] = mapped_column(String(128), unique=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    customer_name: Mapped[str] = mapped_column(String(128))
    goal: Mapped[str] = mapped_column(Text, default="")
    business_process: Mapped[str] = mapped_column(Text, default="")
    kpis: Mapped[list[str]] = mapped_column(default=list)
    business_component: Mapped[str] = mapped_column(Text, default="")
    business_function: Mapped[str] = mapped_column(Text, default="")
    owner: Mapped[str] = mapped_column(String(255))

    collaborators: Mapped[list["Collaborator"]] = relationship(
        back_populates="project", cascade="all, delete-orphan", passive_deletes=True
    )


class Collaborator(Stamped, Base):
    """A user's membership of a project; the owner is one too."""

    __tablename__ = "collaborators"
    __table_args__ = (Index("ix_collaborators_user_name", "user_name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    user_name: Mapped[str] = mapped_column(String(255), primary_key=True)
    added_by: Mapped[str] = mapped_column(String(255))

    project: Mapped[Project] = relationship(back_populates="collaborators")


class DataRepo(Identified, Stamped, Base):
    """A folder or bucket of a project: its data and its artifacts.

    ``volume_account`` is the identifier of a credential, or ``local`` for folders of this machine.
    """

    __tablename__ = "data_repos"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        # One bucket or folder is one repo: two would overwrite each other's artifacts.
        UniqueConstraint("volume_account", "volume_name"),
        Index(
            "uq_data_repos_default",
            "project_id",
            unique=True,
            sqlite_where=text("is_default"),
            postgresql_where=text("is_default"),
        ),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(Text, default="")
    is_default: Mapped[bool] = mapped_column(Boolean, default=False)
    volume_account: Mapped[str] = mapped_column(String(32))
    storage_provider: Mapped[str] = mapped_column(String(20))
    volume_name: Mapped[str] = mapped_column(String(63))
    volume_region: Mapped[str | None] = mapped_column(String(63))
    created_by: Mapped[str] = mapped_column(String(255))

    project: Mapped[Project] = relationship()


class Credential(Identified, Stamped, Base):
    """An account outside the platform, given to groups and never to a single user (F023).

    ``settings`` holds what may be shown; ``secret`` is a Fernet token over the JSON of the rest.
    """

    __tablename__ = "credentials"

    name: Mapped[str] = mapped_column(String(128), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    category: Mapped[str] = mapped_column(String(40), index=True)
    service: Mapped[str] = mapped_column(String(40))
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secret: Mapped[str] = mapped_column(Text)
    groups: Mapped[list[str]] = mapped_column(default=list)
    last_connection: Mapped[dict[str, Any] | None]
    created_by: Mapped[str] = mapped_column(String(255))
