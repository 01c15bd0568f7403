"""The embedded scanner: which versions advisories concern, how bad they are, and what it does not know."""

import gzip
import itertools
import json
import os
import shutil
import subprocess
import tarfile
import time
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
from a360_hub_service.backends.scanners import (
    Report,
    ScanError,
    Severity,
    advisories,
    scan_with,
    scanner_class,
    versions,
)
from a360_hub_service.backends.scanners import severity as severities
from a360_hub_service.backends.scanners.embedded import EmbeddedScanner
from tests.support.advisories import CRITICAL, MEDIUM, now, record, write_osv

BOOKWORM = Release("debian", "12", "bookworm")
OPENSSL = SystemPackage("libssl3", "3.0.16-1~deb12u1", "openssl", "3.0.16-1~deb12u1", "amd64")


def python(**named: str) -> Inventory:
    return Inventory(tuple(Distribution(name, version) for name, version in named.items()))


def debian(*packages: SystemPackage, release: Release = BOOKWORM) -> Inventory:
    return Inventory(packages=packages or (OPENSSL,), release=release, is_image=True)


def look(home: Path, inventory: Inventory, *places: Path, **traits: Any) -> Report:
    scanner = EmbeddedScanner(home=str(home), advisories=[str(place) for place in places], **traits)
    return scanner.scan(Subject(inventory), home, print)


FROM_2 = [{"introduced": "2"}, {"fixed": "2.1.4"}]


@pytest.mark.parametrize(
    ("events", "version", "hit", "fixed"),
    [
        ([{"introduced": "0"}], "1.0", True, ""),
        (FROM_2, "1.9", False, ""),
        (FROM_2, "2.0", True, "2.1.4"),
        (FROM_2, "2.1.4rc1", True, "2.1.4"),
        (FROM_2, "2.1.4", False, ""),
        (FROM_2, "2.1.10", False, ""),
        ([{"fixed": "2.1.4"}, {"introduced": "2"}], "2.0", True, "2.1.4"),
        ([{"introduced": "0"}, {"last_affected": "2.0"}], "2.0", True, ""),
        ([{"introduced": "0"}, {"last_affected": "2.0"}], "2.0+cpu", True, ""),
        ([{"introduced": "0"}, {"last_affected": "2.0"}], "2.0.1", False, ""),
        ([{"introduced": "0"}, {"fixed": "2.0"}], "2.0+cpu", False, ""),
        ([{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"fixed": "2.3"}], "1.5", False, ""),
        (
            [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"fixed": "2.3"}],
            "2.1",
            True,
            "2.3",
        ),
        (
            [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.2"}, {"fixed": "2.3"}],
            "1.2",
            True,
            "2.3",
        ),
        ([{"introduced": "0"}, {"limit": "2.0"}], "2.0", False, ""),
        ([{"introduced": "0"}, {"limit": "*"}], "2.0", True, ""),
    ],
)
def test_ranges(tmp_path: Path, events: list[dict[str, str]], version: str, hit: bool, fixed: str) -> None:
    report = look(tmp_path, python(numpy=version), write_osv(tmp_path / "all.zip", record(events=events)))
    assert [(found.advisory, found.fixed_in) for found in report.findings] == (
        [("GHSA-aaaa-bbbb-cccc", fixed)] if hit else []
    )
    assert report.unchecked == ()


def test_listed_versions_count_beside_ranges_and_withdrawn_records_do_not(tmp_path: Path) -> None:
    listed = {"ranges": [], "versions": ["1.0.0", "not a version"]}
    place = write_osv(
        tmp_path / "all.zip",
        record("PYSEC-2026-1", affected=listed),
        record("PYSEC-2026-2", withdrawn=now()),
        record("PYSEC-2026-3", affected={"package": {"ecosystem": "npm", "name": "numpy"}}),
        record("PYSEC-2026-4", "Flask_Login"),
    )
    report = look(tmp_path, python(numpy="1.0"), place)
    assert [found.advisory for found in report.findings] == ["PYSEC-2026-1"]
    # PyPI takes many spellings of a name for one.
    report = look(tmp_path, Inventory((Distribution("flask-login", "1"),)), place)
    assert [found.advisory for found in report.findings] == ["PYSEC-2026-4"]


def test_records_of_one_matter_become_one_finding(tmp_path: Path) -> None:
    place = write_osv(
        tmp_path / "all.zip",
        record("PYSEC-2026-7", aliases=["CVE-2026-7"], events=[{"introduced": "0"}, {"fixed": "2.0"}]),
        record(
            "GHSA-xxxx-yyyy-zzzz",
            aliases=["CVE-2026-7"],
            vector=CRITICAL,
            events=[{"introduced": "0"}, {"fixed": "2.0.1"}],
        ),
        record("GHSA-other", vector=MEDIUM),
    )
    found = look(tmp_path, python(numpy="1.0"), place).findings
    one, other = sorted(found, key=lambda each: each.advisory)
    assert (one.advisory, one.aliases) == ("CVE-2026-7", ("GHSA-xxxx-yyyy-zzzz", "PYSEC-2026-7"))
    # The worst rating, and the version that satisfies both.
    assert (one.severity, one.score, one.fixed_in) == (Severity.CRITICAL, 9.8, "2.0.1")
    assert (other.advisory, other.severity) == ("GHSA-other", Severity.MEDIUM)


@pytest.mark.parametrize(
    ("ratings", "word", "severity", "score"),
    [
        ([{"type": "CVSS_V3", "score": CRITICAL}], None, "critical", 9.8),
        ([{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}], None, "high", 7.5),
        (
            [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"}],
            None,
            "critical",
            9.3,
        ),
        (
            [{"type": "CVSS_V3", "score": MEDIUM}, {"type": "CVSS_V3", "score": CRITICAL}],
            "LOW",
            "critical",
            9.8,
        ),
        ([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}], "HIGH", "high", None),
        ([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}], None, "unknown", None),
        ([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"}], None, "low", 0.0),
        ([], "MODERATE", "medium", None),
        ([], "not yet assigned", "unknown", None),
        ([], None, "unknown", None),
        (["HIGH"], None, "unknown", None),
        ([{"type": "Ubuntu", "score": "medium"}, {"score": None}], None, "unknown", None),
    ],
)
def test_severities(ratings: list[Any], word: str | None, severity: str, score: float | None) -> None:
    assert severities.rate(ratings, word) == (Severity(severity), score)


@pytest.mark.row("F247")
def test_without_data_all_is_unknown_and_nothing_is_clean(tmp_path: Path) -> None:
    report = look(tmp_path, Inventory((Distribution("numpy", "1.0"),), (OPENSSL,), (), BOOKWORM, True))
    assert not report.checked
    assert report.unchecked == (
        "Python packages were not checked (1): no advisories of PyPI are configured.",
        "Debian packages were not checked (1): no advisories of debian 12 (bookworm) are configured.",
    )
    assert scan_with([], Subject(Inventory()), tmp_path, print).unchecked == (
        "No scanner is set up: nothing was checked.",
    )


@pytest.mark.row("F247")
def test_what_cannot_be_judged_is_named(tmp_path: Path) -> None:
    commits = {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}
    place = write_osv(
        tmp_path / "all.zip",
        record("PYSEC-2026-1", affected=commits),
        record("PYSEC-2026-2", "torch"),
        record("PYSEC-2026-3", "scipy", events=[{"introduced": "one"}]),
        record("PYSEC-2026-4", "pandas", events=[{"fixed": "1"}]),
        {"id": "PYSEC-2026-5", "affected": "everything"},
    )
    report = look(tmp_path, python(numpy="1", torch="nightly", scipy="1", pandas="1"), place)
    assert report.findings == ()
    assert report.unchecked == (
        "It cannot be told whether PYSEC-2026-1 concerns numpy 1.",
        "It cannot be told whether PYSEC-2026-4 concerns pandas 1.",
        "It cannot be told whether PYSEC-2026-3 concerns scipy 1.",
        "It cannot be told whether PYSEC-2026-2 concerns torch nightly.",
        "Records of the advisories in all.zip that cannot be read: 1.",
    )


def test_old_data_leaves_open_what_became_known_since(tmp_path: Path) -> None:
    place = write_osv(tmp_path / "all.zip", record(modified=now(days=40), vector=CRITICAL))
    report = look(tmp_path, python(numpy="1", scipy="1"), place)
    assert len(report.findings) == 1
    (line,) = report.unchecked
    assert "is 40 days old" in line
    assert "not looked for" in line
    assert look(tmp_path, python(numpy="1"), place, max_age_days=0).unchecked == ()
    undated = write_osv(tmp_path / "undated.zip", {k: v for k, v in record().items() if k != "modified"})
    assert look(tmp_path, python(numpy="1"), undated).unchecked == (
        "The age of the advisories in undated.zip is not known.",
    )


def test_folders_and_tars_are_read_too_and_read_again_when_they_change(tmp_path: Path) -> None:
    folder = tmp_path / "vulns"
    (folder / "numpy").mkdir(parents=True)
    file = folder / "numpy" / "PYSEC-2026-1.yaml"
    file.write_text(json.dumps(record("PYSEC-2026-1")))  # YAML holds JSON
    (folder / "README.md").write_text("no record")
    with tarfile.open(tmp_path / "database.tar.gz", "w:gz") as tar:
        tar.add(folder, "advisory-database/vulns")
    for place in (folder, tmp_path / "database.tar.gz"):
        log: list[str] = []
        scanner = EmbeddedScanner(home=str(tmp_path), advisories=[str(place)])
        for _ in range(2):
            report = scanner.scan(Subject(python(numpy="1")), tmp_path, log.append)
            assert [found.advisory for found in report.findings] == ["PYSEC-2026-1"]
        assert log == [f"Reading the advisories in {place.name}."]
    indexes = tmp_path / "cache" / "advisories"
    for old in indexes.glob("*.sqlite"):
        os.utime(old, (0, 0))
    (folder / "numpy" / "PYSEC-2026-2.json").write_text(json.dumps(record("PYSEC-2026-2")))
    assert len(look(tmp_path, python(numpy="1"), folder).findings) == 2
    # An index for each place, none of what lay there before.
    assert len(list(indexes.glob("*.sqlite"))) == 2


def write(place: Path, content: bytes) -> Path:
    place.write_bytes(content)
    return place


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.zip", None, "there is no such file or folder"),
        ("half.zip", b"PK\x05\x06 half", "it is none of the known kinds"),
        ("broken.json", b"{", "Expecting property name"),
        ("other.json", b'{"a": "b"}', "cannot be read"),
        ("list.json", b"[]", "cannot be read"),
        ("empty.json", b"{}", "holds no advisory for PyPI or Debian"),
        ("Packages", b"Package: a\nVersion: 1\n", "does not say which suite"),
        ("bookworm-security.gz", b"not gzip", "Not a gzipped file"),
    ],
)
def test_advisories_that_cannot_be_read_are_an_error_not_an_answer(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    place = tmp_path / name
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(ScanError) as caught:
        look(tmp_path, python(numpy="1"), place)
    assert said in caught.value.message
    assert "EmbeddedScanner.advisories" in caught.value.hint
    assert not list((tmp_path / "cache" / "advisories").glob("*.sqlite"))


def test_large_advisories_are_read_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advisories, "_LARGE", 10)
    place = write_osv(tmp_path / "all.zip", record())
    assert len(look(tmp_path, python(numpy="1"), place).findings) == 1
    place.write_bytes(b"PK no zip at all")
    with pytest.raises(ScanError, match=r"all\.zip cannot be read: it is none of the known kinds"):
        look(tmp_path, python(numpy="1"), place)


def test_a_broken_scanner_is_no_open_gate(tmp_path: Path) -> None:
    broken = EmbeddedScanner(home=str(tmp_path), advisories=[str(tmp_path / "nothing.zip")])
    empty = EmbeddedScanner(home=str(tmp_path))
    subject = Subject(python(numpy="1"))
    with pytest.raises(ScanError, match=r"The package could not be scanned\. The advisories in"):
        scan_with([broken, empty], subject, tmp_path, print)
    working = EmbeddedScanner(home=str(tmp_path), advisories=[str(write_osv(tmp_path / "all.zip", record()))])
    log: list[str] = []
    assert len(scan_with([broken, working], subject, tmp_path, log.append).findings) == 1
    assert log[0].startswith("Warning: the scanner embedded failed.")


def test_debian_packages_against_the_tracker(tmp_path: Path) -> None:
    tracker = {
        "openssl": {
            "CVE-2026-1": {
                "description": "fixed later",
                "releases": {"bookworm": resolved("3.0.17-1~deb12u2"), "trixie": resolved("3.0.15-1")},
            },
            "CVE-2026-2": {"releases": {"bookworm": resolved("3.0.15-1~deb12u1")}},
            "CVE-2026-3": {"releases": {"bookworm": {"status": "open", "urgency": "unimportant"}}},
            "CVE-2026-4": {"releases": {"bookworm": resolved("0")}},
            "CVE-2026-5": {
                "releases": {"bookworm": {"status": "undetermined", "urgency": "not yet assigned"}}
            },
            "CVE-2026-6": {"releases": {"sid": {"status": "open", "urgency": "high"}}},
        },
        "libssl3": {"CVE-2026-9": {"releases": {"bookworm": {"status": "open", "urgency": "high"}}}},
    }
    place = write(tmp_path / "tracker.json", json.dumps(tracker).encode())
    report = look(tmp_path, debian(), place)
    assert {found.advisory: (found.severity, found.fixed_in) for found in report.findings} == {
        "CVE-2026-1": ("unknown", "3.0.17-1~deb12u2"),
        "CVE-2026-3": ("low", ""),
        "CVE-2026-5": ("unknown", ""),
    }
    assert {found.package for found in report.findings} == {"libssl3"}
    assert report.checked
    assert report.unchecked == ()
    os.utime(place, (time.time() - 9 * 86400,) * 2)
    assert "9 days old" in look(tmp_path, debian(), place).unchecked[0]


def resolved(version: str) -> dict[str, str]:
    return {"status": "resolved", "fixed_version": version, "urgency": "not yet assigned"}


def test_debian_packages_against_records_of_osv(tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "3.0.17-1~deb12u2"}]
    place = write_osv(
        tmp_path / "all.zip",
        record("DEBIAN-CVE-2026-1", "openssl", ecosystem="Debian:12", events=events, upstream=["CVE-2026-1"]),
        record("DEBIAN-CVE-2026-2", "openssl", ecosystem="Debian:13", upstream=["CVE-2026-2"]),
    )
    (found,) = look(tmp_path, debian(), place).findings
    assert (found.advisory, found.package, found.ecosystem) == ("CVE-2026-1", "libssl3", "Debian")
    assert found.fixed_in == "3.0.17-1~deb12u2"


def test_a_security_suite_tells_updates_and_admits_that_it_tells_no_more(tmp_path: Path) -> None:
    text = b"Package: libssl3\nSource: openssl\nVersion: 3.0.17-1~deb12u3\n\nPackage: bash\nVersion: 1\n"
    place = tmp_path / "bookworm-security_main_binary-amd64_Packages.gz"
    place.write_bytes(gzip.compress(text))
    report = look(tmp_path, debian(), place)
    (found,) = report.findings
    assert found.advisory == "bookworm-security/libssl3-3.0.17-1~deb12u3"
    assert found.severity is Severity.UNKNOWN
    assert "what has no update yet was not looked for" in report.unchecked[0]


@pytest.mark.parametrize(
    ("inventory", "said"),
    [
        (
            debian(release=Release("ubuntu", "24.04", "noble")),
            "system ubuntu 24.04 were not checked (1): only Debian's",
        ),
        (debian(release=Release()), "system without a name were not checked"),
        (debian(release=Release("debian", "99", "none")), "no advisories of debian 99 (none)"),
        (Inventory(is_image=True), "does not say which packages its system is made of"),
        (Inventory(is_image=True, unread=("packages of Alpine",)), "Not read: packages of Alpine."),
        (
            debian(SystemPackage("a", "1 2", "openssl", "1 2", "all")),
            "It cannot be told whether DEBIAN-CVE-1",
        ),
    ],
)
def test_systems_that_are_not_known_are_unknown(tmp_path: Path, inventory: Inventory, said: str) -> None:
    place = write_osv(tmp_path / "all.zip", record("DEBIAN-CVE-1", "openssl", ecosystem="Debian:12"))
    report = look(tmp_path, inventory, place)
    assert report.findings == ()
    assert [line for line in report.unchecked if said in line], report.unchecked


DEBIAN_VERSIONS = [
    *("0", "1.0", "1.0~rc1", "1.0~", "1:0.9", "1.0-1", "1.0-1+deb12u1", "1.0-1~bpo1", "1.0+dfsg-1", "1.0a"),
    *("1.0-0", "1.0-1.1", "2.36-9+deb12u10", "1.0+", "3.0.17-1~deb12u2", "3.0.17-1~deb12u3", "1.0-01"),
    *("00:1.0", "1.0-1-1", "1.0.a", "1.0.Z", "1.0.~", "9.10", "9.9"),
]


@pytest.mark.skipif(not shutil.which("dpkg"), reason="asks dpkg")
def test_debian_versions_are_ordered_as_dpkg_does() -> None:
    pairs = list(itertools.combinations(DEBIAN_VERSIONS, 2))
    script = "".join(f'dpkg --compare-versions "{a}" lt "{b}"; echo $?\n' for a, b in pairs)
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [versions.debian(a) < versions.debian(b) for a, b in pairs] == [code == "0" for code in said]


def test_scanners_are_found_by_name() -> None:
    assert scanner_class("embedded") is EmbeddedScanner
    with pytest.raises(ValueError, match="embedded, trivy"):
        scanner_class("crystal ball")
