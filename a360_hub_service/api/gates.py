"""What scanners found in packages, bills of materials, and waivers."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from pydantic import Field, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..entities import PackageScan
from ..services import bom, scanning, waivers
from .handlers import BaseHandler
from .routing import Call, Form, Page, PageQuery, View
from .scope import authorise

ADVISORY = r"^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9.:/+~_-]+)+$"
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
COMPONENT = r"^[A-Za-z0-9][A-Za-z0-9.+_-]*$"


class ScanSummary(View):
    """What the scan of a package came to."""

    scanner: str
    status: str = Field(
        description="`clean`: all was checked and nothing found; `vulnerable`; `unknown`: something could "
        "not be checked."
    )
    allowed: bool = Field(description="Whether the policy lets the package through.")
    counts: dict[str, int] = Field(description="Findings without a waiver, by severity.")
    waived: int
    scanned_at: datetime


class ScanView(ScanSummary):
    """The scan of a package."""

    package_id: str
    scanner_version: str
    sources: dict[str, datetime | None] = Field(description="What was looked into, and of when it is.")
    unchecked: list[str] = Field(description="What could not be checked, in sentences.")


class FindingView(View):
    """A known vulnerability of something in a package."""

    id: str
    component: str
    version: str
    ecosystem: str
    advisory: str
    aliases: list[str]
    severity: str = Field(description="`critical`, `high`, `medium`, `low`, or `unknown` if nobody rated it.")
    score: float | None = Field(description="Of CVSS.")
    fixed_in: str
    title: str
    url: str
    stops: bool = Field(description="Whether it stopped the package.")
    waiver_id: str | None


class WaiverForm(Form):
    """Accept a known vulnerability until a day."""

    advisory: str = Field(
        max_length=255, pattern=ADVISORY, description="Its identifier, as CVE-2026-12345; any that it has."
    )
    component: str | None = Field(
        None, max_length=255, pattern=COMPONENT, description="The package it is in; any if left out."
    )
    reason: str = Field(min_length=1, max_length=2000)
    until: str = Field(
        pattern=DAY,
        description="The last day on which it counts (UTC), within a year.",
        json_schema_extra={"format": "date"},
    )

    @field_validator("until")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        try:
            date.fromisoformat(value)
        except ValueError:
            raise ValueError("is no day of the calendar") from None
        return value

    def spec(self) -> waivers.WaiverSpec:
        """What the use case takes."""
        until = date.fromisoformat(self.until)
        return waivers.WaiverSpec(self.advisory.upper(), self.reason, until, self.component)


class WaiverView(View):
    """A waiver: who accepted what, why and until when, and who took it back."""

    id: str
    advisory: str
    component: str | None
    reason: str
    until: date
    created_by: str
    created_at: datetime
    removed_by: str | None
    removed_at: datetime | None


class WaiversQuery(PageQuery):
    """Which waivers."""

    past: bool = Field(False, description="Those too that expired or were taken back.")


def summaries(session: Session, package_ids: Sequence[str]) -> dict[str, ScanSummary]:
    """The scans of packages, by the packages' identifiers."""
    rows = session.scalars(select(PackageScan).where(PackageScan.package_id.in_(package_ids)))
    return {row.package_id: ScanSummary.model_validate(row) for row in rows}


def get_package_scan(call: Call) -> ScanView:
    """Show what the scan of a package came to"""
    return ScanView.model_validate(scanning.scan_of(call.session, call.entity))


def list_package_findings(call: Call) -> Page[FindingView]:
    """List the known vulnerabilities of a package, the worst first"""
    scanning.scan_of(call.session, call.entity)
    rows, cursor = scanning.list_findings(
        call.session, call.entity, limit=call.query.limit, cursor=call.query.cursor
    )
    return Page(items=[FindingView.model_validate(row) for row in rows], next_cursor=cursor)


class PackageBomHandler(BaseHandler):
    """A package's bill of materials as a file to keep."""

    operations = {"GET": "get_package_sbom"}

    async def get(self, package_id: str) -> None:
        """Download what a package holds, as CycloneDX 1.6"""
        self.route.query.model_validate(self.query_arguments())
        document = await self.web.run(self._document)
        self.set_header("Content-Type", bom.MEDIA_TYPE)
        self.set_header("Content-Disposition", f'attachment; filename="sbom-{package_id}.cdx.json"')
        await self.finish(document)

    def _document(self) -> str:
        assert self.actor
        with self.web.context.database.session(write=False) as session:
            package: Any = authorise(session, self.actor, self.route.action, self.ids)
            return scanning.scan_of(session, package).sbom


def list_waivers(call: Call) -> Page[WaiverView]:
    """List waivers, newest first"""
    query = call.query
    rows, cursor = waivers.list_waivers(call.session, past=query.past, limit=query.limit, cursor=query.cursor)
    return Page(items=[WaiverView.model_validate(row) for row in rows], next_cursor=cursor)


def add_waiver(call: Call) -> WaiverView:
    """Accept a known vulnerability until a day"""
    return WaiverView.model_validate(waivers.add(call.session, call.actor, call.body.spec()))


def remove_waiver(call: Call) -> None:
    """Take a waiver back"""
    waivers.remove(call.session, call.actor, call.entity)
