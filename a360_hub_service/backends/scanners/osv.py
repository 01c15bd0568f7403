"""Records of OSV (ossf.github.io/osv-schema): which versions they concern, and what is one matter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.utils import canonicalize_name

from a360_hub_service.backends.scanners import severity, versions
from a360_hub_service.backends.scanners.base import Finding

_ORDERED = ("ECOSYSTEM", "SEMVER")
"""Kinds of ranges whose events are versions; those of git are commits, and say nothing about packages."""
_PREFERRED = ("CVE-", "GHSA-", "PYSEC-")


class Unjudgeable(ValueError):
    """A record does not say, in a way that can be read, which versions it concerns."""


def trimmed(record: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (ecosystem, package, what is needed of the record) for each package of one that stands.

    Nothing is returned for one that was withdrawn. Raises `ValueError`, `TypeError`, `KeyError` or
    `AttributeError` for what is no record.
    """
    if record.get("withdrawn"):
        return []
    common = {
        "id": str(record["id"]),
        "aliases": [str(each) for each in record.get("aliases") or ()] + _upstream(record),
        "title": str(record.get("summary") or record.get("details") or "").strip().partition("\n")[0][:300],
        "severity": record.get("severity") or [],
        "word": (record.get("database_specific") or {}).get("severity"),
    }
    found = []
    for affected in record.get("affected") or ():
        package = affected.get("package") or {}
        ecosystem, name = str(package.get("ecosystem", "")), str(package.get("name", ""))
        if ecosystem.partition(":")[0] not in ("PyPI", "Debian") or not name:
            continue
        name = canonicalize_name(name) if ecosystem == "PyPI" else name
        word = (affected.get("ecosystem_specific") or {}).get("urgency")
        own = {
            "versions": [str(each) for each in affected.get("versions") or ()],
            "ranges": [each for each in affected.get("ranges") or () if each.get("type") in _ORDERED],
            "severity": affected.get("severity") or common["severity"],
            "word": common["word"] or word,
        }
        found.append((ecosystem, name, common | own))
    return found


def _upstream(record: Mapping[str, Any]) -> list[str]:
    """Return the vulnerability that a record of Debian is about; one of a whole update is about several."""
    one = str(record["id"]).startswith("DEBIAN-CVE-")
    return [str(each) for each in record.get("upstream") or ()] if one else []


def affects(entry: Mapping[str, Any], ecosystem: str, version: str) -> tuple[bool, str]:
    """Return whether an entry concerns a version, and in which one that is fixed ("" when in none).

    Raises `Unjudgeable` when it cannot be told.
    """
    try:
        wanted = versions.parse(ecosystem, version)
        hit, fixes = False, []
        for each in entry["ranges"]:
            inside, fixed = _in_range(each["events"], ecosystem, wanted)
            hit = hit or inside
            fixes += fixed
        listed = version in entry["versions"] or _listed(entry["versions"], ecosystem, wanted)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if version in entry["versions"]:
            return True, ""
        raise Unjudgeable(str(error)) from error
    if not hit and not listed and not entry["ranges"] and not entry["versions"]:
        raise Unjudgeable("it names no versions")
    return hit or listed, str(min(fixes)[1]) if fixes and (hit or listed) else ""


def _in_range(
    events: Sequence[Mapping[str, str]], ecosystem: str, version: Any
) -> tuple[bool, list[tuple[Any, str]]]:
    """Return whether a version is inside a range, and which later versions of it are fixed."""
    # At one version a range that ends comes before one that begins.
    order = {"fixed": 0, "limit": 0, "introduced": 1, "last_affected": 2}
    points = []
    for event in events:
        for kind, text in event.items():
            if (kind, text) == ("limit", "*"):
                continue
            from_start = text == "0" and kind == "introduced"
            points.append((None if from_start else versions.parse(ecosystem, text), order[kind], kind, text))
    if not any(kind == "introduced" for _, _, kind, _ in points):
        raise ValueError("a range does not say where it begins")
    points.sort(key=lambda point: point[1])
    points.sort(key=_Place)
    inside = False
    for place, _, kind, _ in points:
        if kind == "introduced" and (place is None or version >= place):
            inside = True
        elif (kind in ("fixed", "limit") and version >= place) or (
            kind == "last_affected" and version > place
        ):
            inside = False
    fixed = [(place, text) for place, _, kind, text in points if kind == "fixed" and place > version]
    return inside, fixed


class _Place:
    """Sorts points of a range: the beginning of all versions before any of them."""

    def __init__(self, point: tuple[Any, int, str, str]) -> None:
        self.version = point[0]

    def __lt__(self, other: "_Place") -> bool:
        if self.version is None or other.version is None:
            return self.version is None and other.version is not None
        return bool(self.version < other.version)


def _listed(listed: Iterable[str], ecosystem: str, version: Any) -> bool:
    for each in listed:
        try:
            if versions.parse(ecosystem, each) == version:
                return True
        except ValueError:
            # Of long ago, and no version by today's rules: it is not the one that was parsed.
            continue
    return False


def merged(
    package: str, version: str, ecosystem: str, hits: Sequence[tuple[Mapping[str, Any], str]]
) -> list[Finding]:
    """Return one finding for each matter: records that name each other, or a third one, are the same.

    `hits` are entries that concern the version, each with the version that fixes it.
    """
    groups: list[tuple[set[str], list[tuple[Mapping[str, Any], str]]]] = []
    for entry, fixed in hits:
        names, members = {entry["id"], *entry["aliases"]}, [(entry, fixed)]
        apart = []
        for other, theirs in groups:
            if names & other:
                names, members = names | other, [*theirs, *members]
            else:
                apart.append((other, theirs))
        groups = [*apart, (names, members)]
    return [_finding(package, version, ecosystem, names, members) for names, members in groups]


def _finding(
    package: str,
    version: str,
    ecosystem: str,
    names: set[str],
    members: Sequence[tuple[Mapping[str, Any], str]],
) -> Finding:
    first, *others = sorted(names, key=_preference)
    rated = [severity.rate(entry["severity"], entry["word"]) for entry, _ in members]
    worst = min(rated, key=lambda each: (each[0].rank, -(each[1] or 0)))
    fixes = [fixed for _, fixed in members if fixed]
    # Where records differ, the latest: it satisfies all of them.
    fixed = max(fixes, key=lambda text: versions.parse(ecosystem, text)) if fixes else ""
    title = next((entry["title"] for entry, _ in members if entry["title"]), "")
    page = f"https://osv.dev/vulnerability/{members[0][0]['id']}"
    return Finding(
        package, version, ecosystem.partition(":")[0], first, tuple(others), *worst, fixed, title, page
    )


def _preference(name: str) -> tuple[int, str]:
    kinds = [number for number, start in enumerate(_PREFERRED) if name.startswith(start)]
    return kinds[0] if kinds else len(_PREFERRED), name
