"""The gate of packages: what stops them, what is unknown, what is accepted, and what they hold."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from a360_hub_service.backends.images.base_image import obstacle
from a360_hub_service.backends.scanners import Finding, Report, Severity
from a360_hub_service.entities import Waiver
from a360_hub_service.services import scanning
from a360_hub_service.services.context import Settings
from a360_hub_service.services.waivers import waiver_of
from tests.support.advisories import CRITICAL, MEDIUM, fake_trivy, record, trivy_report, write_osv
from tests.support.delivery import SIZES, Delivery, delivery_service, linear_model, ok
from tests.support.service import ServiceProcess, wait_for

HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the advisories of the service lie."""
    return tmp_path_factory.mktemp("advisories") / "all.zip"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Iterator[ServiceProcess]:
    tracker = place.with_name("tracker.json")
    state = {"status": "open", "urgency": "high"}
    tracker.write_text(json.dumps({"openssl": {"CVE-2026-99": {"releases": {"bookworm": state}}}}))
    config = f"c.EmbeddedScanner.advisories = {[str(place), str(tracker)]!r}\n"
    home = tmp_path_factory.mktemp("service")
    with delivery_service(home, config, env={"PATH": "/usr/bin:/bin"}) as service:
        yield service


@pytest.fixture(scope="module")
def delivery(running: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    return Delivery(running, tmp_path_factory.mktemp("code")).approve()


def newest(delivery: Delivery, what: str = "") -> Any:
    """The newest package, or something of it."""
    with delivery.service.client("engineer") as client:
        package = ok(client.get(f"/models/{delivery.model_id}/packages"))["items"][0]
        return ok(client.get(f"/packages/{package['id']}{what}")) if what else package


def waive(service: ServiceProcess, user: str = "admin", **form: Any) -> httpx.Response:
    body = {"advisory": "CVE-2026-7", "reason": "The function is not used.", "until": str(TODAY)}
    with service.client(user) as client:
        return client.post("/waivers", json=body | form)


@pytest.mark.row("F247", "F257", "F286")
def test_severe_vulnerabilities_stop_a_package_until_somebody_answers_for_them(
    delivery: Delivery, place: Path
) -> None:
    service = delivery.service
    write_osv(
        place,
        record("GHSA-1", aliases=["CVE-2026-7"], vector=CRITICAL, events=[{"introduced": "0"}]),
        record("GHSA-2", "onnxruntime", vector=HIGH, events=[{"introduced": "0"}, {"fixed": "999.1"}]),
        record("GHSA-3", "flask", vector=MEDIUM),
        record("GHSA-4", "jinja2"),
    )
    job = delivery.package()
    assert job["status"] == "failed"
    assert delivery.status == "Package Failed"
    stopped = "The package has known vulnerabilities that stop it (1 critical, 1 high). numpy "
    assert job["error"].startswith(stopped)
    assert "CVE-2026-7, critical (9.8), no fixed version is known; onnxruntime " in job["error"]
    assert "GHSA-2, high (7.5), fixed in 999.1." in job["error"]
    assert "an administrator can give a waiver" in job["hint"]
    log = delivery.log(job["id"])
    assert "step scan: Scanning the package" in log
    assert "GHSA-3, medium (5.3), no fixed version is known." in log
    assert "GHSA-4, severity unknown" in log
    package = newest(delivery)
    assert not (service.home / "packages" / package["id"]).exists()
    counts = {"critical": 1, "high": 1, "medium": 1, "low": 0, "unknown": 1}
    assert package["scan"]["counts"] == counts
    assert (package["scan"]["status"], package["scan"]["allowed"]) == ("vulnerable", False)
    scan = newest(delivery, "/scan")
    assert list(scan["sources"]) == ["the advisories in all.zip", "Debian's security tracker"]
    assert scan["unchecked"] == []
    with service.client("engineer") as client:
        pages, cursor = [], None
        while cursor is not None or not pages:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            pages.append(ok(client.get(f"/packages/{package['id']}/findings", params=query)))
            cursor = pages[-1]["next_cursor"]
    found = [(item["advisory"], item["severity"], item["stops"]) for page in pages for item in page["items"]]
    assert found == [
        ("CVE-2026-7", "critical", True),
        ("GHSA-2", "high", True),
        ("GHSA-3", "medium", False),
        ("GHSA-4", "unknown", False),
    ]

    first = newest(delivery, "/sbom")
    given = ok(waive(service, advisory="ghsa-1", component="NumPy"))
    assert (given["advisory"], given["component"], given["created_by"]) == ("GHSA-1", "NumPy", "admin")
    ok(waive(service, advisory="GHSA-2"))
    job = delivery.package()
    assert job["status"] == "succeeded", job["error"]
    assert f"accepted by admin until {TODAY}." in delivery.log(job["id"])
    package = newest(delivery)
    assert (package["status"], package["scan"]["status"]) == ("ready", "vulnerable")
    assert (package["scan"]["allowed"], package["scan"]["waived"]) == (True, 2)
    assert newest(delivery, "/findings")["items"][0]["waiver_id"] == given["id"]
    with service.client("admin") as client:
        ok(client.delete(f"/waivers/{given['id']}"))
    with service.client("engineer") as client:
        refused = client.post(f"/models/{delivery.model_id}/publish", json=SIZES)
    assert refused.status_code == 409
    assert "whose waivers are over: CVE-2026-7 of numpy " in refused.json()["detail"]
    assert "a new waiver" in refused.json()["hint"]
    assert delivery.status == "Ready to Publish"
    # One for another of its names is as good.
    ok(waive(service))
    published, _ = delivery.publish()
    assert published["status"] == "succeeded"
    delivery.withdraw()
    # The same package has the same bill of materials.
    assert newest(delivery, "/sbom") == first


@pytest.mark.row("F247")
def test_a_waiver_counts_for_its_package_until_its_day_or_until_it_is_taken_back(
    running: ServiceProcess,
) -> None:
    yesterday = TODAY - timedelta(days=1)
    taken_back = ok(waive(running, advisory="CVE-2026-11"))["id"]
    ok(waive(running, advisory="CVE-2026-12", component="flask"))
    ok(waive(running, advisory="CVE-2026-14"))
    with running.client("admin") as client:
        ok(client.delete(f"/waivers/{taken_back}"))
        again = client.delete(f"/waivers/{taken_back}")
        assert (again.status_code, again.json()["detail"]) == (409, "admin took this waiver back already.")
    settings = Settings(home=running.home)
    found = tuple(
        Finding("numpy", "1", "PyPI", f"CVE-2026-{number}", severity=Severity.HIGH)
        for number in range(11, 15)
    )
    database = running.database()
    with database.session() as session:
        session.add(Waiver(advisory="CVE-2026-13", reason="Old.", until=yesterday, created_by="admin"))
    with database.session(write=False) as session:
        judged = scanning.judge(session, settings, Report("test", "", found, (), (), checked=True))
    database.close()
    assert [each.finding.advisory for each in judged if each.stops] == [f"CVE-2026-{n}" for n in (11, 12, 13)]
    # Who did what is kept, and told in the service's log.
    with running.client("engineer") as client:
        now, past = (
            {row["advisory"]: row for row in ok(client.get("/waivers", params={"past": past}))["items"]}
            for past in (False, True)
        )
    assert {"CVE-2026-11", "CVE-2026-13"} <= set(past) - set(now)
    assert (past["CVE-2026-11"]["created_by"], past["CVE-2026-11"]["removed_by"]) == ("admin", "admin")
    assert "admin waived CVE-2026-12 of flask until" in running.logged()
    assert f"admin took back waiver {taken_back} of CVE-2026-11" in running.logged()


@pytest.mark.row("F286", "F287")
def test_the_bill_of_materials_names_all_that_a_package_holds(
    running: ServiceProcess, tmp_path: Path, place: Path
) -> None:
    write_osv(place, record("GHSA-5", "django"))
    delivery = Delivery(running, tmp_path).approve()
    job = delivery.package()
    assert job["status"] == "succeeded", job["error"]
    with delivery.service.client("engineer") as client:
        answer = client.get(f"/packages/{newest(delivery)['id']}/sbom")
    assert answer.headers["Content-Type"] == "application/vnd.cyclonedx+json; version=1.6"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(answer.text) is None
    bill = answer.json()
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    package = newest(delivery)
    about = bill["metadata"]["component"]
    assert (about["name"], about["version"]) == (package["slug"], "1.0")
    told = {each["name"]: each["value"] for each in about["properties"]}
    assert told == {"a360:commit": package["commit"], "a360:digest": package["digest"]}
    parts = {each["name"]: each for each in bill["components"]}
    assert {"numpy", "onnxruntime", "flask"} <= set(parts)
    assert parts["numpy"]["purl"] == f"pkg:pypi/numpy@{parts['numpy']['version']}"
    model = parts["artifacts/trained_model"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(linear_model()).hexdigest()}]
    assert parts["script/predict.py"]["type"] == "file"


@pytest.mark.long
@pytest.mark.row("F247", "F308")
@pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")
def test_what_is_wrong_with_the_base_stops_an_image_and_leaves_nothing(
    running: ServiceProcess, tmp_path: Path, place: Path
) -> None:
    delivery = Delivery(running, tmp_path).approve()
    write_osv(place, record("GHSA-3", "django"))
    job = delivery.package(builder="oci")
    assert job["status"] == "failed"
    assert "that stop it (1 high). libssl3 3." in job["error"]
    assert "CVE-2026-99, high, no fixed version is known." in job["error"]
    assert "a newer base image" in job["hint"]
    assert not (running.home / "packages" / newest(delivery)["id"]).exists()
    bill = newest(delivery, "/sbom")
    assert bill["metadata"]["component"]["type"] == "container"
    kinds = {each["purl"].partition("@")[0] for each in bill["components"] if "purl" in each}
    assert {"pkg:deb/debian/libssl3", "pkg:deb/debian/python3.11-minimal", "pkg:pypi/numpy"} <= kinds
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None


@pytest.mark.row("F247")
def test_advisories_that_cannot_be_read_stop_a_package(
    running: ServiceProcess, tmp_path: Path, place: Path
) -> None:
    delivery = Delivery(running, tmp_path).approve()
    place.write_bytes(b"PK no zip")
    job = delivery.package()
    assert job["status"] == "failed"
    assert job["error"].startswith("The package could not be scanned. The advisories in ")
    assert "EmbeddedScanner.advisories" in job["hint"]
    package = newest(delivery)
    assert package["scan"] is None
    with running.client("engineer") as client:
        answer = client.get(f"/packages/{package['id']}/scan")
    assert (answer.status_code, answer.json()["detail"]) == (404, "This package was not scanned.")


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"advisory": "numpy"}, "advisory"),
        ({"advisory": ""}, "advisory"),
        ({"reason": " "}, "reason"),
        ({"until": str(TODAY - timedelta(days=1))}, "until"),
        ({"until": str(TODAY + timedelta(days=367))}, "until"),
        ({"until": "for ever"}, "until"),
        ({"until": f"{TODAY.year + 1}-02-30"}, "until"),
        ({"component": "no name"}, "component"),
        ({"severity": "low"}, "severity"),
    ],
)
def test_what_a_waiver_must_say(running: ServiceProcess, form: dict[str, str], field: str) -> None:
    answer = waive(running, **form)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_only_administrators_give_waivers(running: ServiceProcess) -> None:
    for user in ("engineer", "scientist"):
        assert waive(running, user).status_code == 403


@pytest.mark.long
@pytest.mark.row("F247")
def test_what_was_not_checked_is_unknown_and_an_operator_may_stop_it(
    tmp_path: Path,
) -> None:
    """Without a scanner packages are let through with a warning; with Trivy on PATH it is asked."""
    trivy = tmp_path / "bin"
    with delivery_service(tmp_path / "home", env={"PATH": f"{trivy}:/usr/bin:/bin"}) as service:
        delivery = Delivery(service, tmp_path / "code").approve()
        job = delivery.package()
        assert job["status"] == "succeeded", job["error"]
        log = delivery.log(job["id"])
        assert "Unknown: Python packages were not checked" in log
        assert "Warning: it is unknown whether the package has vulnerabilities." in log
        assert "No known vulnerability" not in log
        package = newest(delivery)
        assert (package["scan"]["status"], package["scan"]["allowed"]) == ("unknown", True)
        (line,) = newest(delivery, "/scan")["unchecked"]
        assert "no advisories of PyPI are configured" in line
        service.stop()
        service.config.write_text(service.config.read_text() + "c.A360HubService.scan_unknown = 'stop'\n")
        fake_trivy(trivy, trivy_report())
        service.start()
        delivery = Delivery(service, tmp_path / "other").approve()
        job = delivery.package()
        assert job["status"] == "failed"
        assert job["error"].startswith("It is not known whether the package has vulnerabilities, and that")
        assert "Trivy did not look at" in job["error"]
        assert "today's advisories" in job["hint"]
        assert newest(delivery)["scan"]["allowed"] is False
        assert newest(delivery, "/scan")["scanner_version"] == "0.57.1"
        assert "rootfs" in (trivy / "arguments").read_text()


@pytest.mark.long
@pytest.mark.row("F247", "F271")
def test_a_service_killed_while_it_scans_takes_the_scanner_along_and_scans_once_more(tmp_path: Path) -> None:
    trivy = tmp_path / "bin"
    fake_trivy(trivy, trivy_report(), seconds=3)
    with delivery_service(tmp_path / "home", env={"PATH": f"{trivy}:/usr/bin:/bin"}) as service:
        delivery = Delivery(service, tmp_path / "code").approve()
        with service.client("engineer") as client:
            job = ok(client.post(f"/models/{delivery.model_id}/package", json=delivery.form()))["id"]
        wait_for((trivy / "arguments").exists, seconds=120)
        scanner = psutil.Process(int((trivy / "pid").read_text()))
        service.kill()
        wait_for(lambda: not scanner.is_running(), seconds=10)
        service.start()
        assert delivery.wait(job)["status"] == "succeeded"
        assert delivery.log(job).count("The package is there already") == 0
        assert len((trivy / "arguments").read_text().splitlines()) == 2
        assert newest(delivery, "/scan")["scanner"] == "trivy"
        assert newest(delivery)["status"] == "ready"
        assert not list((service.home / "service" / "jobs").iterdir())


@pytest.mark.parametrize(
    ("component", "ecosystem", "package", "counts"),
    [
        (None, "PyPI", "numpy", True),
        ("Zope.Interface", "PyPI", "zope-interface", True),
        ("libbz2-1.0", "Debian", "libbz2-1.0", True),
        ("libbz2-1-0", "Debian", "libbz2-1.0", False),
        ("flask", "PyPI", "flask-login", False),
    ],
)
def test_waivers_know_packages_by_the_names_people_write(
    component: str | None, ecosystem: str, package: str, counts: bool
) -> None:
    waiver = Waiver(advisory="CVE-1", component=component)
    finding = Finding(package, "1", ecosystem, "GHSA-1", ("cve-1",))
    assert (waiver_of(finding, [waiver]) is waiver) is counts
