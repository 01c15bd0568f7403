"""What a scanner is given, what it finds, and what it has to admit that it did not look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from traitlets import Float, Unicode
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import BackendError, Health, Log, load_class
from a360_hub_service.backends.images.inventory import Subject


class ScanError(BackendError):
    """A scanner that is set up did not do its work."""


class Severity(StrEnum):
    """How bad it is, the worst first; `UNKNOWN` is what nobody has rated."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Place in that order, from 0."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of something a package holds.

    `advisory` is the identifier it is best known by, `aliases` the others it has. `fixed_in` is the version
    to take, empty when there is none.
    """

    package: str
    version: str
    ecosystem: str
    advisory: str
    aliases: tuple[str, ...] = ()
    severity: Severity = Severity.UNKNOWN
    score: float | None = None
    fixed_in: str = ""
    title: str = ""
    url: str = ""

    @property
    def names(self) -> frozenset[str]:
        """All its identifiers, in upper case."""
        return frozenset(name.upper() for name in (self.advisory, *self.aliases))


@dataclass(frozen=True)
class Source:
    """Data that was looked into, and of when it is; None when that cannot be told."""

    name: str
    date: datetime | None


@dataclass(frozen=True)
class Report:
    """What a scan says. `unchecked` is what it does not, in sentences; `checked`: did it look at anything?"""

    scanner: str
    version: str
    findings: tuple[Finding, ...]
    sources: tuple[Source, ...]
    unchecked: tuple[str, ...]
    checked: bool


class Scanner(LoggingConfigurable):
    """Looks for known vulnerabilities. Used from several threads at once."""

    name: ClassVar[str] = ""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    max_age_days = Float(
        7.0, help="What older data does not know counts as unknown; 0: any age is good enough."
    ).tag(config=True)

    def health(self) -> Health:
        """Say whether this scanner is set up."""
        raise NotImplementedError

    def scan(self, subject: Subject, work: Path, log: Log) -> Report:
        """Look for known vulnerabilities; `work` is a folder for files on the way.

        Raises `ScanError` when it could not do its work. Data that is too old or missing is no error: the
        report says what was not checked.
        """
        raise NotImplementedError

    def outdated(self, source: Source) -> str:
        """Say in a sentence that data is older than it may be, or that nobody knows; empty when it is not."""
        if source.date is None:
            return f"The age of {source.name} is not known." if self.max_age_days else ""
        age = datetime.now(UTC) - source.date
        if not self.max_age_days or age <= timedelta(days=self.max_age_days):
            return ""
        return (
            f"The newest entry of {source.name} is {age.days} days old, of {source.date:%Y-%m-%d}: what "
            "became known since then was not looked for."
        )


SCANNERS: dict[str, str] = {
    "trivy": "a360_hub_service.backends.scanners.trivy.TrivyScanner",
    "embedded": "a360_hub_service.backends.scanners.embedded.EmbeddedScanner",
}


def scanner_class(name: str) -> type[Scanner]:
    """Return the scanner called `name`: of `SCANNERS`, an entry point of ``a360.scanners``, a dotted path."""
    return load_class(name, Scanner, "a360.scanners", SCANNERS)


def scan_with(scanners: Sequence[Scanner], subject: Subject, work: Path, log: Log) -> Report:
    """Return what the first scanner says that is set up and works.

    Raises `ScanError` when one is set up, does not work, and none after it has anything to go by: a broken
    gate is not an open one.
    """
    broken: ScanError | None = None
    report = Report("none", "", (), (), ("No scanner is set up: nothing was checked.",), checked=False)
    for scanner in scanners:
        if not scanner.health().available:
            continue
        try:
            report = scanner.scan(subject, work, log)
        except ScanError as error:
            broken = broken or error
            log(f"Warning: the scanner {scanner.name} failed. {error.message}")
            continue
        if report.checked:
            return report
    if broken:
        raise ScanError(f"The package could not be scanned. {broken.message}", hint=broken.hint)
    return report
