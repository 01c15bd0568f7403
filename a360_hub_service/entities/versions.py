"""Versions of data repos: commits, what they changed, and the branches and tags that name them.

A commit lies on a line, which is what was committed to one branch, at a depth that grows by one from parent
to child. ``ancestry`` says up to which depth other lines are part of its past. So the files as of a commit
are, of each key, the deepest entry of a few lines; a new branch is one row, whatever the size of the data.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Identified, Stamped, utcnow


class DataCommit(Identified, Base):
    """One change of a data repo: who, when, and why."""

    __tablename__ = "data_commits"
    __table_args__ = (
        UniqueConstraint("line_id", "depth"),
        Index("ix_data_commits_data_repo_id_id", "data_repo_id", "id"),
    )

    data_repo_id: Mapped[str] = mapped_column(ForeignKey("data_repos.id", ondelete="CASCADE"))
    line_id: Mapped[str] = mapped_column(String(32))
    depth: Mapped[int] = mapped_column(Integer)
    parent_id: Mapped[str | None] = mapped_column(String(32))
    ancestry: Mapped[list[Any]] = mapped_column(JSON, default=list)
    branch: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(20))
    message: Mapped[str] = mapped_column(Text, default="")
    # Enough for lists: how many keys changed, and the first of them.
    change_count: Mapped[int] = mapped_column(Integer)
    keys: Mapped[list[str]] = mapped_column(default=list)
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)


class DataEntry(Base):
    """What a commit made of one key: the content of this SHA-256, or nothing where it deleted it.

    ``etag`` is that of the plain file the content was last written to; a file of another one was written by
    somebody else since.
    """

    __tablename__ = "data_entries"
    __table_args__ = (Index("ix_data_entries_commit_id", "commit_id"),)

    line_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    depth: Mapped[int] = mapped_column(Integer, primary_key=True)
    commit_id: Mapped[str] = mapped_column(ForeignKey("data_commits.id", ondelete="CASCADE"))
    sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None] = mapped_column(BigInteger)
    etag: Mapped[str | None] = mapped_column(Text)


class DataBranch(Identified, Stamped, Base):
    """A name that moves on with every commit to it; ``main`` is what the plain keys hold."""

    __tablename__ = "data_branches"
    __table_args__ = (UniqueConstraint("data_repo_id", "name"),)

    data_repo_id: Mapped[str] = mapped_column(ForeignKey("data_repos.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    line_id: Mapped[str] = mapped_column(String(32))
    head_id: Mapped[str | None] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(255))


class DataTag(Identified, Base):
    """A name that stays with one commit."""

    __tablename__ = "data_tags"
    __table_args__ = (UniqueConstraint("data_repo_id", "name"),)

    data_repo_id: Mapped[str] = mapped_column(ForeignKey("data_repos.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    commit_id: Mapped[str] = mapped_column(String(32))
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
