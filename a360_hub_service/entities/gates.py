"""What scanners said of packages, and which of it an administrator accepts for a while."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, Identified, utcnow


class PackageScan(Base):
    """The scan of a package and its bill of materials; gone with the package."""

    __tablename__ = "package_scans"

    package_id: Mapped[str] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), primary_key=True)
    scanner: Mapped[str] = mapped_column(String(64))
    scanner_version: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[str] = mapped_column(String(10))  # clean, vulnerable or unknown
    allowed: Mapped[bool]
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)  # severity -> findings without a waiver
    waived: Mapped[int] = mapped_column(default=0)
    sources: Mapped[dict[str, Any]] = mapped_column(default=dict)  # name -> of when it is, or nothing
    unchecked: Mapped[list[str]] = mapped_column(default=list)
    scanned_at: Mapped[datetime] = mapped_column(default=utcnow)
    # Large, and asked for by itself.
    sbom: Mapped[str] = mapped_column(Text, deferred=True)


class ScanFinding(Identified, Base):
    """One known vulnerability of a package, the worst first in the order of identifiers."""

    __tablename__ = "scan_findings"
    __table_args__ = (Index("ix_scan_findings_package_id_id", "package_id", "id"),)

    package_id: Mapped[str] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"))
    component: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    ecosystem: Mapped[str] = mapped_column(Text)
    advisory: Mapped[str] = mapped_column(Text)
    aliases: Mapped[list[str]] = mapped_column(default=list)
    severity: Mapped[str] = mapped_column(String(10))
    score: Mapped[float | None]
    fixed_in: Mapped[str] = mapped_column(Text, default="")
    title: Mapped[str] = mapped_column(Text, default="")
    url: Mapped[str] = mapped_column(Text, default="")
    stops: Mapped[bool] = mapped_column(default=False)
    waiver_id: Mapped[str | None] = mapped_column(ForeignKey("waivers.id"))


class Waiver(Identified, Base):
    """Somebody accepts an advisory until a day. Never deleted: who gave it, and who took it back, stays."""

    __tablename__ = "waivers"

    advisory: Mapped[str] = mapped_column(String(255))
    component: Mapped[str | None] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text)
    until: Mapped[date]
    created_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    removed_by: Mapped[str | None] = mapped_column(String(255))
    removed_at: Mapped[datetime | None]
