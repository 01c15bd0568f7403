"""Trivy's reports, as a stand-in for the program writes them, and all the ways in which it can fail."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.backends.images.inventory import (
    Distribution,
    Inventory,
    Release,
    Subject,
    SystemPackage,
)
from a360_hub_service.backends.interruption import Interrupted, interruptible
from a360_hub_service.backends.scanners import Report, ScanError, Severity, scan_with
from a360_hub_service.backends.scanners.embedded import EmbeddedScanner
from a360_hub_service.backends.scanners.trivy import TrivyScanner
from tests.support.advisories import (
    JINJA,
    TRIVY_VERSION,
    ZLIB,
    fake_trivy,
    now,
    record,
    trivy_report,
    trivy_result,
    write_osv,
)
from tests.support.failing import FailingBuilder

FRESH = TRIVY_VERSION | {"VulnerabilityDB": {"Version": 2, "UpdatedAt": now().replace("+00:00", "999Z")}}
IMAGE = Inventory(
    (Distribution("jinja2", "3.1.3"),),
    (SystemPackage("zlib1g", "1:1.2.13.dfsg-1", "zlib", "1:1.2.13.dfsg-1", "amd64"),),
    (),
    Release("debian", "12", "bookworm"),
    True,
)
REPORT = trivy_report(
    trivy_result("debian", {"zlib1g": "1:1.2.13.dfsg-1"}, ZLIB),
    trivy_result("python-pkg", {"Jinja2": "3.1.3"}, JINJA, JINJA),
    OS={"Family": "debian", "Name": "12.7"},
)


def image(folder: Path, inventory: Inventory = IMAGE) -> Subject:
    archive = folder / "image.tar"
    archive.write_bytes(b"layers")
    return Subject(inventory, archive=lambda: archive)


def look(program: Path, subject: Subject, work: Path, **traits: Any) -> Report:
    return TrivyScanner(home=str(work), program=str(program), **traits).scan(subject, work, print)


@pytest.mark.row("F247")
def test_what_trivy_finds_in_an_image(tmp_path: Path) -> None:
    program = fake_trivy(tmp_path / "bin", REPORT, version=FRESH)
    report = look(program, image(tmp_path), tmp_path, arguments=["--offline-scan"], cache_folder="/srv/trivy")
    zlib, jinja = report.findings
    assert (zlib.package, zlib.ecosystem, zlib.advisory) == ("zlib1g", "Debian", "CVE-2023-45853")
    assert (zlib.severity, zlib.score, zlib.fixed_in, zlib.aliases) == ("critical", 9.8, "", ("DSA-0000-1",))
    assert (jinja.package, jinja.version, jinja.ecosystem) == ("jinja2", "3.1.3", "PyPI")
    assert (jinja.severity, jinja.score, jinja.fixed_in) == (Severity.MEDIUM, 5.4, "3.1.4")
    assert report.version == "0.57.1"
    assert report.unchecked == ()
    arguments = (tmp_path / "bin" / "arguments").read_text().split()
    assert arguments[0] == "image"
    assert {"--list-all-pkgs", "--offline-scan", "--cache-dir"} <= set(arguments)
    assert arguments[-2:] == ["--input", str(tmp_path / "image.tar")]


def test_a_bundle_is_given_as_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    program = fake_trivy(tmp_path / "bin", trivy_report(), version=FRESH)
    report = look(program, Subject(Inventory((Distribution("jinja2", "3.1.3"),)), folder=folder), tmp_path)
    assert (tmp_path / "bin" / "arguments").read_text().startswith("rootfs ")
    # It listed nothing, so nothing was looked at: no finding does not mean that there is none.
    assert report.unchecked == ("Trivy did not look at 1 of the packages: jinja2.",)


def test_what_trivy_leaves_out_is_unknown(tmp_path: Path) -> None:
    ended = trivy_report(OS={"Family": "debian", "Name": "10.1", "EOSL": True})
    report = look(fake_trivy(tmp_path / "bin", ended, version=FRESH), image(tmp_path), tmp_path)
    assert report.unchecked == (
        "debian 10.1 gets no security updates any more: what is wrong with it is not told.",
        "Trivy did not look at 2 of the packages: zlib1g, jinja2.",
    )


def test_what_nobody_reads_is_unknown_with_trivy_too(tmp_path: Path) -> None:
    python = "a Python that no package brought"
    held = Inventory(release=Release("alpine", "3.20"), is_image=True, unread=(python, "packages of Alpine"))
    report = look(
        fake_trivy(tmp_path / "bin", trivy_report(), version=FRESH), image(tmp_path, held), tmp_path
    )
    assert report.unchecked == (f"Not read: {python}.",)
    # Of a builder that does not say what is in its packages.
    untold = FailingBuilder(home=str(tmp_path)).inspect("a" * 32, "slug", tmp_path)
    scanners = [
        TrivyScanner(program=str(tmp_path / "bin" / "trivy")),
        EmbeddedScanner(home=str(tmp_path)),
    ]
    assert scan_with(scanners, untold, tmp_path, print).unchecked == (
        "Not read: what packages of the kind “” hold.",
    )


@pytest.mark.parametrize(
    ("version", "date", "said"),
    [
        (TRIVY_VERSION, datetime(2024, 11, 19, 0, 16, 19, 41683, UTC), "days old, of 2024-11-19"),
        ({"Version": "0.57.1"}, None, "The age of Trivy's database is not known."),
        ("0.57.1", None, "The age of Trivy's database is not known."),
        ({"Version": "1", "VulnerabilityDB": {"UpdatedAt": "yesterday"}}, None, "is not known"),
    ],
)
def test_a_database_that_is_old_or_of_an_unknown_day_is_told(
    tmp_path: Path, version: Any, date: datetime | None, said: str
) -> None:
    report = look(fake_trivy(tmp_path / "bin", REPORT, version=version), image(tmp_path), tmp_path)
    assert len(report.findings) == 2
    assert report.sources[0].date == date
    (line,) = report.unchecked
    assert said in line


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (None, "No such file"),
        ("", "Expecting value"),
        ("not JSON", "Expecting value"),
        ('{"SchemaVersion": 2, "Results": [', "Expecting value"),
        ("[" * 100_000, "recursion"),
        ([], "schema version 2"),
        ({"SchemaVersion": 1}, "schema version 2"),
        ({"SchemaVersion": 2, "Results": {"a": "b"}}, "'str'"),
        ({"SchemaVersion": 2, "Results": ["b"]}, "'str'"),
        ({"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{}]}]}, "'PkgName'"),
        ({"SchemaVersion": 2, "Results": [{"Vulnerabilities": [JINJA | {"CVSS": {"a": 5}}]}]}, "'int'"),
    ],
)
def test_reports_that_cannot_be_read_are_an_error(tmp_path: Path, report: Any, said: str) -> None:
    with pytest.raises(ScanError) as caught:
        look(fake_trivy(tmp_path / "bin", report, version=FRESH), image(tmp_path), tmp_path)
    assert caught.value.message.startswith("Trivy's report cannot be read: ")
    assert said in caught.value.message
    assert "schema version 2" in caught.value.hint


def test_an_exit_code_is_told_with_the_end_of_what_trivy_said(tmp_path: Path) -> None:
    complaint = "2026-11-19 FATAL Error run error: init error: DB error: failed to download vulnerability DB"
    program = fake_trivy(tmp_path / "bin", REPORT, code=1, complaint=complaint)
    with pytest.raises(ScanError, match=r"Trivy ended with code 1: .*failed to download vulnerability DB"):
        look(program, image(tmp_path), tmp_path)
    with pytest.raises(ScanError, match="Trivy ended with code 3: It said nothing"):
        look(fake_trivy(tmp_path / "bin", REPORT, code=3), image(tmp_path), tmp_path)


def test_a_scan_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    program = fake_trivy(tmp_path / "bin", REPORT, seconds=60)
    begun = time.monotonic()
    with pytest.raises(ScanError, match=r"Trivy took longer than 1 seconds\."):
        look(program, image(tmp_path), tmp_path, timeout=1)
    assert time.monotonic() - begun < 20


def test_a_cancelled_scan_ends(tmp_path: Path) -> None:
    program = fake_trivy(tmp_path / "bin", REPORT, seconds=60)
    started = tmp_path / "bin" / "arguments"
    with (
        interruptible(lambda: Interrupted("Cancelled.") if started.exists() else None),
        pytest.raises(Interrupted),
    ):
        look(program, image(tmp_path), tmp_path)


def test_a_trivy_that_was_named_and_is_missing_does_not_open_the_gate(tmp_path: Path) -> None:
    missing = TrivyScanner(home=str(tmp_path), program=str(tmp_path / "trivy"))
    assert missing.health().available
    subject, empty = image(tmp_path), EmbeddedScanner(home=str(tmp_path))
    with pytest.raises(ScanError, match="There is no program"):
        scan_with([missing, empty], subject, tmp_path, print)
    # With advisories the embedded one stands behind it.
    copies = [str(write_osv(tmp_path / "all.zip", record("CVE-1", "jinja2")))]
    embedded = EmbeddedScanner(home=str(tmp_path), advisories=copies)
    assert scan_with([missing, embedded], subject, tmp_path, print).scanner == "embedded"


def test_a_trivy_nobody_asked_for_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    scanner = TrivyScanner(home=str(tmp_path))
    assert not scanner.health().available
    assert "PATH" in scanner.health().reason
    fake_trivy(tmp_path / "bin", REPORT, version=FRESH)
    assert scanner.health().available
    embedded = EmbeddedScanner(home=str(tmp_path))
    assert scan_with([scanner, embedded], image(tmp_path), tmp_path, print).scanner == "trivy"
