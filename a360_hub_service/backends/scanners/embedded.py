"""The scanner that comes with the platform: what is installed against advisories on this machine's disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from traitlets import List, Unicode

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.images.inventory import Inventory, Subject, SystemPackage
from a360_hub_service.backends.scanners import osv, severity, versions
from a360_hub_service.backends.scanners.advisories import Index, open_index
from a360_hub_service.backends.scanners.base import Finding, Report, Scanner

_SHOWN = 5
"""How many names a sentence about what was not checked lists."""


@dataclass
class _Result:
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    checked: bool = False


class EmbeddedScanner(Scanner):
    """Looks up installed Python distributions and Debian packages; needs no network and no other program."""

    name: ClassVar[str] = "embedded"

    advisories = List(
        Unicode(),
        help="Copies of advisories: a folder, zip or tar of OSV records (of PyPI, of Debian), the JSON file "
        "of Debian's security tracker, or the list of packages of a security suite of Debian.",
    ).tag(config=True)

    def health(self) -> Health:
        """Say that it works; without advisories it says of everything that it is unknown."""
        return Health(True, "" if self.advisories else "No advisories are configured: nothing is checked.")

    def scan(self, subject: Subject, work: Path, log: Log) -> Report:
        """Look everything up; see `Scanner.scan`."""
        cache = Path(self.home, "cache", "advisories")
        indexes = [open_index(Path(place), cache, log) for place in self.advisories]
        found = {index: index.found for index in indexes}
        inventory, result = subject.inventory, _Result()
        python = [index for index in indexes if "PyPI" in found[index].ecosystems]
        self._python(inventory, python, result)
        if inventory.is_image:
            self._system(inventory, indexes, result)
        for index in indexes:
            if stale := self.outdated(found[index].source):
                result.unchecked.append(stale)
            if broken := found[index].broken:
                result.unchecked.append(
                    f"Records of {found[index].source.name} that cannot be read: {broken}."
                )
        result.unchecked += [f"Not read: {what}." for what in inventory.unread]
        return Report(
            self.name,
            "",
            tuple(dict.fromkeys(result.findings)),
            tuple(found[index].source for index in indexes),
            tuple(result.unchecked),
            result.checked,
        )

    def _python(self, inventory: Inventory, indexes: Sequence[Index], result: _Result) -> None:
        if not inventory.distributions:
            return
        if not indexes:
            result.unchecked.append(
                f"Python packages were not checked ({len(inventory.distributions)}): no advisories of PyPI "
                "are configured."
            )
            return
        result.checked = True
        named = sorted({(each.name, each.version) for each in inventory.distributions})
        for name, version in named:
            _look_up(indexes, "PyPI", name, (name, version), result)

    def _system(self, inventory: Inventory, indexes: Sequence[Index], result: _Result) -> None:
        release, packages = inventory.release, inventory.packages
        if not packages:
            if not inventory.unread:
                result.unchecked.append("The image does not say which packages its system is made of.")
            return
        if release.id != "debian":
            result.unchecked.append(
                f"Packages of the system {release if release.id else 'without a name'} were not checked "
                f"({len(packages)}): only Debian's are known here."
            )
            return
        checked = list(_debian_checks(inventory, indexes, result))
        result.checked = result.checked or bool(checked)
        if not checked:
            result.unchecked.append(
                f"Debian packages were not checked ({len(packages)}): no advisories of {release} "
                f"({release.codename}) are configured."
            )
        elif all(kind == "suite" for kind in checked):
            result.unchecked.append(
                "Debian packages were only compared with their security updates: what has no update yet was "
                "not looked for."
            )


def _debian_checks(inventory: Inventory, indexes: Sequence[Index], result: _Result) -> Iterator[str]:
    """Check the Debian packages; yields the kind of each index that could be used."""
    release = inventory.release
    kinds = {
        "osv": f"Debian:{release.version}",
        "tracker": f"tracker:{release.codename}",
        "suite": f"suite:{release.codename}",
    }
    for kind, ecosystem in kinds.items():
        usable = [index for index in indexes if ecosystem in index.found.ecosystems]
        if not usable:
            continue
        yield kind
        for package in inventory.packages:
            if kind == "osv":
                named = (package.name, package.version)
                _look_up(usable, ecosystem, package.source, named, result, package.source_version)
            else:
                key = package.source if kind == "tracker" else package.name
                for entry in (entry for index in usable for entry in index.entries(ecosystem, key)):
                    _compare(kind, package, entry, result)


def _look_up(
    indexes: Sequence[Index],
    ecosystem: str,
    key: str,
    named: tuple[str, str],
    result: _Result,
    version: str = "",
) -> None:
    """Add what OSV records say of a package: `key` is its name there, `named` how it is called to people."""
    hits: list[tuple[dict[str, Any], str]] = []
    unclear: list[str] = []
    for entry in (entry for index in indexes for entry in index.entries(ecosystem, key)):
        try:
            concerned, fixed = osv.affects(entry, ecosystem, version or named[1])
        except osv.Unjudgeable:
            unclear.append(entry["id"])
            continue
        if concerned:
            hits.append((entry, fixed))
    result.findings += osv.merged(*named, ecosystem, hits)
    if unclear:
        shown = ", ".join(sorted(set(unclear))[:_SHOWN])
        result.unchecked.append(f"It cannot be told whether {shown} concerns {named[0]} {named[1]}.")


def _compare(kind: str, package: SystemPackage, entry: dict[str, Any], result: _Result) -> None:
    """Add what the tracker or a suite says of a package."""
    version = package.source_version if kind == "tracker" else package.version
    fixed = entry["fixed"]
    try:
        if entry.get("status") not in ("open", "undetermined") and (
            fixed in ("", "0") or versions.debian(version) >= versions.debian(fixed)
        ):
            return
    except ValueError as error:
        result.unchecked.append(f"{package.name} could not be compared with {entry['id']}: {error}.")
        return
    tracked = kind == "tracker"
    title = entry.get("title") or ("" if tracked else f"There is a security update of {package.name}.")
    page = "https://security-tracker.debian.org/tracker/"
    result.findings.append(
        Finding(
            package.name,
            package.version,
            "Debian",
            entry["id"] if tracked else f"{entry['id']}/{package.name}-{fixed}",
            severity=severity.of_word(entry.get("word", "")),
            fixed_in="" if fixed == "0" else fixed,
            title=title,
            url=f"{page}{entry['id'] if tracked else f'source-package/{package.source}'}",
        )
    )
