"""Trivy: a program that is installed beside the platform and writes what it finds as JSON."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from packaging.utils import canonicalize_name
from traitlets import Float, List, Unicode

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.children import environment, finished, tied
from a360_hub_service.backends.images.inventory import FOREIGN_SYSTEMS, Inventory, Subject
from a360_hub_service.backends.scanners import severity
from a360_hub_service.backends.scanners.base import Finding, Report, ScanError, Scanner, Source

_ECOSYSTEMS = {"python-pkg": "PyPI", "debian": "Debian"}
_DATABASE = "Trivy's database"
_LARGEST = 256 * 1024 * 1024
_SHOWN = 5


class TrivyScanner(Scanner):
    """Has Trivy look at the package: at the folder of a bundle, at an archive of an image."""

    name: ClassVar[str] = "trivy"

    program = Unicode("trivy", help="Trivy's program: a name on PATH, or a path.").tag(config=True)
    timeout = Float(
        300.0, help="Seconds a scan may take, with the download of Trivy's database if it does one."
    ).tag(config=True)
    arguments = List(
        Unicode(), help="More arguments of every scan, as --offline-scan and --skip-db-update."
    ).tag(config=True)
    cache_folder = Unicode("", help="Where Trivy keeps its database; empty: where it does by itself.").tag(
        config=True
    )

    def health(self) -> Health:
        """Say whether the program is there. One that was named and is missing counts as there: it fails."""
        if shutil.which(self.program) or self.program != "trivy":
            return Health(True)
        return Health(False, "There is no program trivy on the service's PATH.")

    def scan(self, subject: Subject, work: Path, log: Log) -> Report:
        """Run it; see `Scanner.scan`."""
        out = work / "trivy.json"
        if subject.folder:
            what = ["rootfs", str(subject.folder)]
        elif subject.archive:
            what = ["image", "--input", str(subject.archive())]
        else:
            # Of a builder that does not say what it makes.
            nothing = ("Trivy was given nothing it can read.",)
            return Report(self.name, "", (), (), nothing, checked=False)
        kind, *place = what
        options = ["--format", "json", "--output", str(out), "--scanners", "vuln", "--list-all-pkgs"]
        options += ["--quiet", "--timeout", f"{self.timeout:.0f}s", *self._cache(), *self.arguments]
        self._run([kind, *options, *place])
        report = _document(out)
        version, source = self._version()
        findings, seen, unchecked = _read(report)
        unchecked += _unseen(subject.inventory, seen)
        if stale := self.outdated(source):
            unchecked.append(stale)
        return Report(self.name, version, tuple(findings), (source,), tuple(unchecked), checked=True)

    def _version(self) -> tuple[str, Source]:
        """Return which Trivy it is, and of when its database is."""
        try:
            told = json.loads(self._run(["version", "--format", "json", *self._cache()]))
            updated = (told.get("VulnerabilityDB") or {}).get("UpdatedAt")
            # Go writes nanoseconds, of which Python takes six digits.
            date = datetime.fromisoformat(_microseconds(str(updated))) if updated else None
            return str(told.get("Version", "")), Source(_DATABASE, date if date and date.tzinfo else None)
        except (ValueError, AttributeError):
            return "", Source(_DATABASE, None)

    def _cache(self) -> list[str]:
        return ["--cache-dir", self.cache_folder] if self.cache_folder else []

    def _run(self, arguments: list[str]) -> str:
        program = shutil.which(self.program)
        if program is None:
            raise ScanError(
                f"There is no program {self.program}.", hint="The operator has to install Trivy there."
            )
        try:
            done = finished(tied([program, *arguments]), self.timeout, env=environment())
        except subprocess.TimeoutExpired as error:
            raise ScanError(
                f"Trivy took longer than {self.timeout:.0f} seconds.",
                hint="Package again; the operator can raise TrivyScanner.timeout.",
            ) from error
        if done.returncode:
            shown = done.stderr.strip()[-600:] or "It said nothing."
            raise ScanError(
                f"Trivy ended with code {done.returncode}: {shown}",
                hint="Package again; if that does not help, tell the operator.",
            )
        return done.stdout


def _document(out: Path) -> Mapping[str, Any]:
    """Return Trivy's report. Raises `ScanError` for what is none of the known version."""
    try:
        if out.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        report = json.loads(out.read_bytes())
        if not isinstance(report, dict) or report.get("SchemaVersion") != 2:
            raise ValueError("it is not a report of schema version 2")
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(error) from error
    return report


def _read(report: Mapping[str, Any]) -> tuple[list[Finding], set[tuple[str, str]], list[str]]:
    """Return what was found, which packages (ecosystem, name) were looked at, and what was not."""
    findings, seen, unchecked = [], set(), []
    try:
        for result in report.get("Results") or ():
            ecosystem = _ECOSYSTEMS.get(result.get("Type", ""), str(result.get("Type", "")))
            seen |= {(ecosystem, _name(ecosystem, each["Name"])) for each in result.get("Packages") or ()}
            findings += [_finding(ecosystem, each) for each in result.get("Vulnerabilities") or ()]
        system = (report.get("Metadata") or {}).get("OS") or {}
        if system.get("EOSL"):
            unchecked.append(
                f"{system.get('Family', 'The system')} {system.get('Name', '')} gets no security updates any "
                "more: what is wrong with it is not told."
            )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unreadable(error) from error
    # One package may be listed for several places in an image.
    return list(dict.fromkeys(findings)), seen, unchecked


def _finding(ecosystem: str, told: Mapping[str, Any]) -> Finding:
    scores = [
        float(score)
        for each in (told.get("CVSS") or {}).values()
        if (score := each.get("V40Score") or each.get("V3Score") or each.get("V2Score"))
    ]
    return Finding(
        _name(ecosystem, told["PkgName"]),
        str(told["InstalledVersion"]),
        ecosystem,
        str(told["VulnerabilityID"]),
        tuple(str(each) for each in told.get("VendorIDs") or ()),
        severity.of_word(told.get("Severity")),
        max(scores, default=None),
        str(told.get("FixedVersion") or ""),
        str(told.get("Title") or "")[:300],
        str(told.get("PrimaryURL") or ""),
    )


def _unseen(inventory: Inventory, seen: set[tuple[str, str]]) -> Iterator[str]:
    """Say what the package holds and Trivy did not list: it was not looked at."""
    held = {("PyPI", each.name) for each in inventory.distributions}
    if inventory.is_image and inventory.release.id == "debian":
        held |= {("Debian", each.name) for each in inventory.packages}
    if missed := sorted(held - seen):
        shown = ", ".join(name for _, name in missed[:_SHOWN]) + (", …" if len(missed) > _SHOWN else "")
        yield f"Trivy did not look at {len(missed)} of the packages: {shown}."
    yield from (f"Not read: {what}." for what in inventory.unread if what not in FOREIGN_SYSTEMS)


def _name(ecosystem: str, name: object) -> str:
    return str(canonicalize_name(str(name))) if ecosystem == "PyPI" else str(name)


def _microseconds(time: str) -> str:
    head, dot, rest = time.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return f"{head}{dot}{digits[:6].ljust(6, '0')}{rest[len(digits) :]}" if dot else time


def _unreadable(error: Exception) -> ScanError:
    return ScanError(
        f"Trivy's report cannot be read: {error}.",
        hint="The operator has to see that the Trivy installed writes JSON of schema version 2.",
    )
