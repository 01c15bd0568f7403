"""The gate between a package that was built and one that is ready: known vulnerabilities (F247)."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ..backends.images.base import ImageBuilder
from ..backends.scanners import Finding, Report, Severity, scan_with
from ..entities import Model, Package, PackageScan, ScanFinding, Waiver
from ..errors import Conflict, NotFound
from ..jobs.work import Work
from . import bom, waivers
from .context import Settings
from .paging import page

CLEAN, VULNERABLE, UNKNOWN = "clean", "vulnerable", "unknown"
LINES = 100
"""Findings in the log of a job; the report has all."""
NAMED = 10
"""Findings in the error of a job."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding, whether it stops the package, and the waiver that accepts it."""

    finding: Finding
    stops: bool
    waiver: Waiver | None

    def __str__(self) -> str:
        found = self.finding
        score = f" ({found.score:.1f})" if found.score is not None else ""
        rated = f"{found.severity}{score}" if found.severity != Severity.UNKNOWN else "severity unknown"
        fixed = f"fixed in {found.fixed_in}" if found.fixed_in else "no fixed version is known"
        accepted = ""
        if self.waiver:
            accepted = f"; accepted by {self.waiver.created_by} until {self.waiver.until}"
        return f"{found.package} {found.version}: {found.advisory}, {rated}, {fixed}{accepted}"


def scan(work: Work, package: Package, builder: ImageBuilder) -> None:
    """Scan a finished package, keep what was found, and stop where the operator's policy says so.

    Raises
    ------
    Conflict
        If something stops the package.
    BackendError
        If the package cannot be read, or a scanner that is set up does not work.
    """
    folder = work.folder / "scan"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subject = builder.inspect(package.id, package.form["slug"], folder)
    document = bom.make(_described(work, package), subject.inventory)
    report = scan_with(work.context.scanners, subject, folder, work.log)
    shutil.rmtree(folder)
    with work.context.database.session() as session:
        judged = judge(session, work.context.settings, report)
        row = _row(package.id, report, judged, work.context.settings)
        row.sbom = document
        _store(session, row, judged)
    _tell(work, report, judged, row)
    refuse(work.context.settings, judged, report.unchecked)


def judge(session: Session, settings: Settings, report: Report) -> list[Judged]:
    """Findings with what the policy and the waivers say of them, the worst first."""
    names = {name for finding in report.findings for name in finding.names}
    accepted = waivers.that_count(session, names)
    judged = []
    for finding in dict.fromkeys(report.findings):
        waiver = waivers.waiver_of(finding, accepted)
        judged.append(Judged(finding, finding.severity in settings.scan_stops and waiver is None, waiver))
    return sorted(
        judged,
        key=lambda each: (
            not each.stops,
            each.finding.severity.rank,
            -(each.finding.score or 0),
            each.finding.package,
            each.finding.advisory,
        ),
    )


def refuse(settings: Settings, judged: Sequence[Judged], unchecked: Sequence[str]) -> None:
    """Refuse a package that something stops.

    Raises
    ------
    Conflict
        Naming what it is.
    """
    if stopping := [each for each in judged if each.stops]:
        counts = Counter(each.finding.severity for each in stopping)
        number = ", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity])
        more = f"; and {len(stopping) - NAMED} more" if len(stopping) > NAMED else ""
        raise Conflict(
            f"The package has known vulnerabilities that stop it ({number}). "
            f"{'; '.join(map(str, stopping[:NAMED]))}{more}.",
            hint="Take the fixed versions in the dependencies file or a newer base image. Where there is "
            "none, or it does no harm here, an administrator can give a waiver. Then package again.",
        )
    if settings.scan_unknown == "stop" and (why := _unknown(judged, unchecked)):
        raise Conflict(
            f"It is not known whether the package has vulnerabilities, and that stops it. {' '.join(why)}",
            hint="The operator has to set up a scanner, or give it today's advisories. Then package again.",
        )


def _unknown(judged: Sequence[Judged], unchecked: Sequence[str]) -> list[str]:
    unrated = [
        each.finding for each in judged if each.finding.severity == Severity.UNKNOWN and each.waiver is None
    ]
    named = ", ".join(f"{found.advisory} of {found.package}" for found in unrated[:NAMED])
    more = ", …" if len(unrated) > NAMED else ""
    return [*unchecked[:NAMED], *([f"Nobody rated {named}{more}."] if unrated else [])]


def _row(package_id: str, report: Report, judged: Sequence[Judged], settings: Settings) -> PackageScan:
    counts = Counter(each.finding.severity for each in judged if each.waiver is None)
    rated = any(each.finding.severity != Severity.UNKNOWN for each in judged)
    status = VULNERABLE if rated else UNKNOWN if judged or report.unchecked else CLEAN
    stops = any(each.stops for each in judged) or (
        settings.scan_unknown == "stop" and bool(_unknown(judged, report.unchecked))
    )
    return PackageScan(
        package_id=package_id,
        scanner=report.scanner,
        scanner_version=_storable(report.version),
        status=status,
        allowed=not stops,
        counts={severity.value: counts[severity] for severity in Severity},
        waived=sum(each.waiver is not None for each in judged),
        sources={source.name: source.date.isoformat() if source.date else None for source in report.sources},
        unchecked=[_storable(line) for line in report.unchecked],
    )


def _store(session: Session, row: PackageScan, judged: Sequence[Judged]) -> None:
    """Write the scan in place of one that an interrupted step left."""
    session.execute(delete(ScanFinding).where(ScanFinding.package_id == row.package_id))
    session.execute(delete(PackageScan).where(PackageScan.package_id == row.package_id))
    session.add(row)
    for each in judged:
        found = each.finding
        session.add(
            ScanFinding(
                package_id=row.package_id,
                component=_storable(found.package),
                version=_storable(found.version),
                ecosystem=_storable(found.ecosystem),
                advisory=_storable(found.advisory),
                aliases=[_storable(name) for name in found.aliases],
                severity=found.severity.value,
                score=found.score,
                fixed_in=_storable(found.fixed_in),
                title=_storable(found.title),
                url=_storable(found.url),
                stops=each.stops,
                waiver_id=each.waiver.id if each.waiver else None,
            )
        )
        # One after the other: their identifiers are made now, and pages follow them.
        session.flush()


def _tell(work: Work, report: Report, judged: Sequence[Judged], row: PackageScan) -> None:
    for source in report.sources:
        of_when = f"of {source.date:%Y-%m-%d}" if source.date else "of an unknown day"
        work.log(f"Looked into {source.name}, {of_when}.")
    for each in judged[:LINES]:
        work.log(f"{each}.")
    if len(judged) > LINES:
        work.log(f"And {len(judged) - LINES} more: the package's report lists all of them.")
    for line in report.unchecked:
        work.log(f"Unknown: {line}")
    if row.status == CLEAN:
        work.log("No known vulnerability was found.")
    elif row.status == UNKNOWN:
        work.log("Warning: it is unknown whether the package has vulnerabilities.")
    else:
        found = ", ".join(f"{number} {severity}" for severity, number in row.counts.items() if number)
        work.log(f"Known vulnerabilities: {found or 'none'}; accepted by waivers: {row.waived}.")


def _described(work: Work, package: Package) -> bom.Described:
    with work.context.database.session(write=False) as session:
        version = session.get_one(Model, package.model_id).version
    return bom.Described(package.form["slug"], version, package.digest or "", package.commit or "")


def _storable(text: str) -> str:
    """A text of an advisory without what no database takes."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def require_accepted(session: Session, settings: Settings, package: Package) -> None:
    """See that what let a package through still counts.

    Raises
    ------
    Conflict
        If a finding that a waiver kept from stopping it has none any more: it expired or was taken back.
    """
    stops = settings.scan_stops | ({Severity.UNKNOWN} if settings.scan_unknown == "stop" else set())
    query = select(ScanFinding).where(
        ScanFinding.package_id == package.id,
        ScanFinding.waiver_id.is_not(None),
        ScanFinding.severity.in_(stops),
    )
    found = [
        Finding(row.component, row.version, row.ecosystem, row.advisory, tuple(row.aliases))
        for row in session.scalars(query.order_by(ScanFinding.id))
    ]
    accepted = waivers.that_count(session, {name for each in found for name in each.names})
    over = [each for each in found if waivers.waiver_of(each, accepted) is None]
    if over:
        shown = ", ".join(f"{each.advisory} of {each.package} {each.version}" for each in over[:NAMED])
        raise Conflict(
            f"The package has known vulnerabilities whose waivers are over: {shown}"
            f"{', …' if len(over) > NAMED else ''}.",
            hint="Ask an administrator for a new waiver, or take fixed versions and package again.",
        )


def scan_of(session: Session, package: Package) -> PackageScan:
    """The scan of a package.

    Raises
    ------
    NotFound
        If it was not scanned, or not yet.
    """
    row = session.get(PackageScan, package.id)
    if row is None:
        raise NotFound(
            "This package was not scanned.", hint="If its job still runs, wait for it; else package again."
        )
    return row


def list_findings(
    session: Session, package: Package, *, limit: int, cursor: str | None
) -> tuple[Sequence[ScanFinding], str | None]:
    """What was found in a package: what stops it first, then the worst first."""
    query = select(ScanFinding).where(ScanFinding.package_id == package.id)
    return page(session, query, ScanFinding.id, limit=limit, cursor=cursor, descending=False)
