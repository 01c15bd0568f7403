"""Users as the platform knows them, and the roles of their groups."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Stamped


class User(Stamped, Base):
    """A person who may sign in. The Hub holds the account and the groups; we hold what it does not."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    display_name: Mapped[str] = mapped_column(String(255), default="")
    email: Mapped[str] = mapped_column(String(320), default="")
    status: Mapped[str] = mapped_column(String(20), default="Active")


class GroupRole(Base):
    """One role of one group (a Hub group); roles reach users only this way (F018)."""

    __tablename__ = "group_roles"

    group_name: Mapped[str] = mapped_column(String(255), primary_key=True)
    role: Mapped[str] = mapped_column(String(40), primary_key=True)
