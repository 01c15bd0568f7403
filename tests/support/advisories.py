"""Advisories in the form their publishers give them, and a stand-in for Trivy that says what it is told."""

import json
import sys
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"
MEDIUM = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N"


def record(
    name: str = "GHSA-aaaa-bbbb-cccc",
    package: str = "numpy",
    *,
    ecosystem: str = "PyPI",
    events: Iterable[Mapping[str, str]] = ({"introduced": "0"},),
    vector: str = "",
    affected: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A record of OSV about a package, of today."""
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    about = {"package": {"ecosystem": ecosystem, "name": package}, "ranges": ranges}
    return {
        "id": name,
        "modified": now(),
        "summary": f"A fault of {package}.",
        "affected": [about | dict(affected or {})],
        **({"severity": [{"type": "CVSS_V3", "score": vector}]} if vector else {}),
        **more,
    }


def now(days: float = 0) -> str:
    """A time so many days ago."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def write_osv(place: Path, *records: Mapping[str, Any]) -> Path:
    """Write records as osv.dev gives them: a zip of JSON files."""
    with zipfile.ZipFile(place, "w") as archive:
        for each in records:
            archive.writestr(f"{each['id']}.json", json.dumps(each))
    return place


TRIVY_VERSION = {
    "Version": "0.57.1",
    "VulnerabilityDB": {
        "Version": 2,
        "NextUpdate": "2024-11-20T00:16:19.041683243Z",
        "UpdatedAt": "2024-11-19T00:16:19.041683483Z",
        "DownloadedAt": "2024-11-19T08:02:11.121512Z",
    },
}
"""What ``trivy version --format json`` writes."""


def trivy_report(*results: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """What ``trivy image --format json`` writes."""
    return {
        "SchemaVersion": 2,
        "CreatedAt": "2024-11-19T08:02:13.901Z",
        "ArtifactName": "image.tar",
        "ArtifactType": "container_image",
        "Metadata": metadata,
        "Results": list(results),
    }


def trivy_result(kind: str, packages: Mapping[str, str], *found: Mapping[str, Any]) -> dict[str, Any]:
    """A result of such a report: packages with their versions, and vulnerabilities."""
    return {
        "Target": "Python" if kind == "python-pkg" else "image.tar (debian 12.7)",
        "Class": "lang-pkgs" if kind == "python-pkg" else "os-pkgs",
        "Type": kind,
        "Packages": [{"Name": name, "Version": version} for name, version in packages.items()],
        "Vulnerabilities": list(found),
    }


JINJA = {
    "VulnerabilityID": "CVE-2024-34064",
    "PkgName": "Jinja2",
    "PkgPath": "app/site/jinja2-3.1.3.dist-info/METADATA",
    "PkgIdentifier": {"PURL": "pkg:pypi/jinja2@3.1.3", "UID": "a0b7c9d2e4f68013"},
    "InstalledVersion": "3.1.3",
    "FixedVersion": "3.1.4",
    "Status": "fixed",
    "SeveritySource": "ghsa",
    "PrimaryURL": "https://avd.aquasec.com/nvd/cve-2024-34064",
    "Title": "jinja2: accepts keys containing non-attribute characters",
    "Severity": "MEDIUM",
    "CweIDs": ["CWE-79"],
    "CVSS": {
        "ghsa": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:L/I:L/A:N", "V3Score": 5.4},
        "redhat": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:L/I:L/A:N", "V3Score": 5.4},
    },
}
ZLIB = {
    "VulnerabilityID": "CVE-2023-45853",
    "VendorIDs": ["DSA-0000-1"],
    "PkgID": "zlib1g@1:1.2.13.dfsg-1",
    "PkgName": "zlib1g",
    "InstalledVersion": "1:1.2.13.dfsg-1",
    "Status": "will_not_fix",
    "SeveritySource": "nvd",
    "Title": "zlib: integer overflow and resultant heap-based buffer overflow in zipOpenNewFileInZip4_6",
    "Severity": "CRITICAL",
    "CVSS": {"nvd": {"V2Score": 6.8, "V3Score": 9.8}},
}
"""Vulnerabilities as Trivy writes them."""


def fake_trivy(
    folder: Path,
    report: Any,
    *,
    version: Any = TRIVY_VERSION,
    code: int = 0,
    complaint: str = "",
    seconds: float = 0,
) -> Path:
    """A program that takes Trivy's arguments and writes this report; ``arguments`` beside it says which.

    A text is written as it is, ``None`` writes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answers = {
        "report": report if report is None or isinstance(report, str) else json.dumps(report),
        "version": version if isinstance(version, str) else json.dumps(version),
        "code": code,
        "complaint": complaint,
        "seconds": seconds,
    }
    (folder / "answers.json").write_text(json.dumps(answers))
    program = folder / "trivy"
    program.write_text(f"#!{sys.executable} -IS\n{_TRIVY}")
    program.chmod(0o755)
    return program


_TRIVY = """
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
told = json.loads((here / "answers.json").read_text())
if sys.argv[1] == "version":
    print(told["version"])
    sys.exit(0)
place = pathlib.Path(sys.argv[-1])
assert place.is_dir() == (sys.argv[1] == "rootfs") and place.exists(), sys.argv
(here / "pid").write_text(str(os.getpid()))
with (here / "arguments").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
time.sleep(told["seconds"])
sys.stderr.write(told["complaint"])
if told["report"] is not None:
    pathlib.Path(sys.argv[sys.argv.index("--output") + 1]).write_text(told["report"])
sys.exit(told["code"])
"""
