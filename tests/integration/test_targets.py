"""Endpoints that really run: as processes, and as containers where an engine answers."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from a360_hub_service.backends.images import BuiltPackage, builder_class
from a360_hub_service.backends.targets import (
    EndpointSpec,
    EndpointStatus,
    Gateway,
    Target,
    TargetError,
    supervisor,
    target_class,
)
from tests.support import endpoints
from tests.support.endpoints import KEY, ROW, call, calling, eventually, key_record

SLUG = "iris-forest-1-0"

# One worker makes the image and runs all that need it.
DOCKER = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


@dataclasses.dataclass
class Place:
    """A target with a gateway of its own and a package it runs."""

    home: Path
    kind: str
    package: BuiltPackage
    settings: dict[str, Any]
    port: int = 0

    def open(self) -> Target:
        """Make the target anew, as a service that starts does."""
        self.port = self.port or endpoints.free_port()
        gateway = Gateway(home=str(self.home), port=self.port)
        return target_class(self.kind)(home=str(self.home), gateway=gateway, **self.settings)

    def publish(self, target: Target, **changes: Any) -> EndpointStatus:
        spec = EndpointSpec(changes.pop("slug", SLUG), changes.pop("package", self.package), **changes)
        target.write_keys(spec.slug, [key_record()])
        return target.apply(spec, print)


@pytest.fixture(params=["process", pytest.param("docker", marks=DOCKER)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    kind = request.param
    package = request.getfixturevalue("bundle" if kind == "process" else "image")
    settings = {"drain_timeout": 5.0, "start_timeout": 60.0}
    settings |= {} if kind == "process" else {"prefix": f"a360-test-{os.getpid()}"}
    made = Place(tmp_path, kind, package, settings)
    yield made
    target = made.open()
    for folder in (tmp_path / "endpoints").glob("*/"):
        target.remove(folder.name, print)
    target.gateway.stop()
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that name a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.row("F322", "F323", "F325", "F331", "F361", "F314")
def test_an_endpoint_is_published_called_and_withdrawn(place: Place) -> None:
    target = place.open()
    assert target.health().available
    assert target.status(SLUG) == EndpointStatus(SLUG, place.kind, "absent")
    log: list[str] = []
    target.write_keys(SLUG, [key_record()])
    status = target.apply(EndpointSpec(SLUG, place.package), log.append)
    assert status.url == f"http://127.0.0.1:{place.port}/{SLUG}/"
    assert (status.status, status.ready_replicas, status.package) == ("running", 1, place.package.reference)
    assert status.url in log[-1]
    assert target.slugs() == [SLUG]
    assert call(status.url).text == '{"prediction": 0.0}'
    assert call(status.url.rstrip("/")).ok
    assert call(status.url, key="wrong").status_code == 401
    assert requests.get(f"{status.url}healthz", timeout=5).status_code == 404
    assert call(f"http://127.0.0.1:{place.port}/other/").status_code == 404
    eventually(lambda: "access time=" in target.logs(SLUG))  # lines are written a moment's worth at a time
    target.remove(SLUG, print)
    target.remove(SLUG, print)
    assert target.status(SLUG).status == "absent"
    assert target.slugs() == []
    assert call(status.url).status_code == 404
    assert not (place.home / "endpoints" / SLUG).exists()


def test_the_same_spec_again_changes_nothing(place: Place) -> None:
    target = place.open()
    first = place.publish(target, replicas=2)
    assert place.publish(place.open(), replicas=2, labels={"a": "b"}) == first


@pytest.mark.row("F316")
def test_a_change_is_made_without_a_failed_call(place: Place) -> None:
    target = place.open()
    url = place.publish(target, environment={"GREETING": "one"}).url
    with calling(url) as calls:
        eventually(lambda: calls.good > 10)
        second = place.publish(target, replicas=2, environment={"GREETING": "two"})
        assert call(url, {"environment": "GREETING"}).json() == {"prediction": "two"}
        seen = calls.good
        eventually(lambda: calls.good > seen + 20)
    assert calls.bad == []
    assert (second.replicas, second.ready_replicas) == (2, 2)
    running = [line for line in processes_of(place.home) if "supervisor.py" in line and SLUG in line]
    assert len(running) == (1 if place.kind == "process" else 0)


def test_calls_are_spread_over_the_replicas(place: Place) -> None:
    target = place.open()
    status = place.publish(target, replicas=2)
    eventually(lambda: target.status(SLUG).ready_replicas == 2)
    for _ in range(20):
        assert call(status.url).ok
    ports = {item.address for item in status.items}
    assert len(ports) == 2
    eventually(lambda: target.logs(SLUG, 1000).count("status=200") == 20)


def kill_replica(status: EndpointStatus, kind: str) -> None:
    identity = status.items[0].identity
    if kind == "process":
        os.kill(int(identity), signal.SIGKILL)
    else:
        # From inside, as a crash: the engine does not restart what its own kill ended.
        pid = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Pid}}", identity],
            capture_output=True,
            text=True,
            check=True,
        )
        os.kill(int(pid.stdout), signal.SIGKILL)


def test_a_killed_replica_comes_back(place: Place) -> None:
    target = place.open()
    before = place.publish(target)
    kill_replica(before, place.kind)
    after = eventually(
        lambda: (now := target.status(SLUG)).items[0].restarts == 1 and now.ready_replicas and now
    )
    assert after.items[0].address == before.items[0].address
    eventually(lambda: call(after.url).ok)


def test_one_of_two_replicas_may_die_unnoticed(place: Place) -> None:
    target = place.open()
    before = place.publish(target, replicas=2)
    with calling(before.url, callers=1) as calls:
        eventually(lambda: calls.good > 10)
        kill_replica(before, place.kind)
        eventually(lambda: target.status(SLUG).ready_replicas == 2)
    # An answer that was on its way when the replica died may be cut off; every other call is answered.
    assert len(calls.bad) <= 1


@pytest.mark.row("F314", "F355")
def test_keys_are_rotated_without_a_restart(place: Place) -> None:
    target = place.open()
    before = place.publish(target)
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    target.write_keys(SLUG, [key_record(KEY, soon), key_record("a360_second")])
    eventually(lambda: call(before.url, key="a360_second").ok)
    assert call(before.url).ok
    target.write_keys(SLUG, [key_record("a360_second")])
    eventually(lambda: call(before.url).status_code == 401)
    assert call(before.url, key="a360_second").ok
    assert target.status(SLUG) == before


@pytest.mark.row("F321")
def test_the_environment_is_what_the_form_says_and_nothing_of_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    given = {"GREETING": "hello world", "A360_KEYS_FILE": "/tmp/other.json"}
    url = place.publish(place.open(), environment=given).url
    assert call(url, {"environment": "GREETING"}).json() == {"prediction": "hello world"}
    assert call(url, {"environment": "JUPYTERHUB_API_TOKEN"}).json() == {"prediction": None}


SERVICE = """
import json, sys
from a360_hub_service.backends.images import BuiltPackage
from a360_hub_service.backends.targets import EndpointSpec, Gateway, KeyRecord, target_class
given = json.loads(sys.argv[1])
gateway = Gateway(home=given["home"], port=given["port"])
target = target_class(given["kind"])(home=given["home"], gateway=gateway, **given["settings"])
target.write_keys(given["slug"], [KeyRecord(**given["key"])])
status = target.apply(EndpointSpec(given["slug"], BuiltPackage(**given["package"])), lambda line: None)
print(status.url, flush=True)
sys.stdin.read()
"""


def test_an_endpoint_outlives_the_service_and_is_found_again(place: Place) -> None:
    target = place.open()
    given = {
        "kind": place.kind,
        "home": str(place.home),
        "port": place.port,
        "settings": place.settings,
        "slug": SLUG,
        "key": asdict(key_record()),
        "package": asdict(place.package),
    }
    command = [sys.executable, "-c", SERVICE, json.dumps(given)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as service:
        assert service.stdout is not None
        url = service.stdout.readline().strip()
        with calling(url, callers=1) as calls:
            eventually(lambda: calls.good > 5)
            os.killpg(service.pid, signal.SIGKILL)
            service.wait()
            seen = calls.good
            eventually(lambda: calls.good > seen + 10)
            target.restore(print)
            assert target.status(SLUG).status == "running"
            place.publish(target)
        assert calls.bad == []
    assert target.slugs() == [SLUG]


def test_the_gateway_is_put_back_by_restore(place: Place) -> None:
    target = place.open()
    status = place.publish(target)
    target.gateway.stop()
    with pytest.raises(requests.ConnectionError):
        call(status.url)
    place.open().restore(print)
    assert eventually(lambda: call(status.url).ok)


@pytest.mark.row("F308", "F324")
def test_what_does_not_come_up_leaves_nothing(place: Place, tmp_path: Path) -> None:
    target = place.open()
    # More than the machine can start with: the model does not fit in.
    with pytest.raises(TargetError, match=SLUG) as caught:
        place.publish(target, memory_limit=0.02)
    assert caught.value.hint
    assert target.status(SLUG).status == "absent"
    assert not (place.home / "endpoints" / SLUG).exists()
    assert [line for line in processes_of(place.home) if SLUG in line] == []
    # The next try works.
    assert call(place.publish(target).url).ok


@pytest.mark.row("F324")
def test_what_does_not_come_up_leaves_what_ran(place: Place) -> None:
    target = place.open()
    before = place.publish(target)
    with calling(before.url, callers=1) as calls:
        with pytest.raises(TargetError):
            place.publish(target, memory_limit=0.02)
        seen = calls.good
        eventually(lambda: calls.good > seen + 5)
    assert calls.bad == []
    assert target.status(SLUG) == before


def test_endpoints_do_not_disturb_each_other(place: Place) -> None:
    target = place.open()
    first = place.publish(target)
    second = place.publish(target, slug="iris-forest-2-0")
    assert target.slugs() == [SLUG, "iris-forest-2-0"]
    target.write_keys(SLUG, [])
    eventually(lambda: call(first.url).status_code == 401)
    assert call(second.url).ok
    target.remove(SLUG, print)
    assert call(second.url).ok


def test_two_jobs_at_once_give_one_endpoint(place: Place) -> None:
    target = place.open()
    target.write_keys(SLUG, [key_record()])
    spec = EndpointSpec(SLUG, place.package)
    found: list[EndpointStatus] = []
    threads = [threading.Thread(target=lambda: found.append(target.apply(spec, print))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]


def test_a_package_of_another_builder_is_refused(place: Place) -> None:
    other = dataclasses.replace(place.package, builder="buildah")
    with pytest.raises(TargetError, match="does not run packages made by the buildah") as caught:
        place.publish(place.open(), package=other)
    assert caught.value.field == "target"


def test_a_package_that_is_gone_is_named(place: Place) -> None:
    gone = dataclasses.replace(place.package, reference=f"{place.package.reference}-gone")
    with pytest.raises(TargetError, match="gone"):
        place.publish(place.open(), package=gone)


@pytest.mark.row("F317", "F318", "F319", "F320")
def test_limits_are_applied_or_said_not_to_be(place: Place) -> None:
    status = place.publish(place.open(), cpu_request=0.5, cpu_limit=0.5, memory_request=0.1, memory_limit=0.4)
    assert "memory limit 0.4 GB" in status.limits
    if "CPU limit not enforced" in status.limits:
        pytest.skip("control groups cannot be written here")
    started = time.perf_counter()
    with requests.Session() as session:
        session.headers["apikey"] = KEY
        while time.perf_counter() - started < 1:
            assert session.post(status.url, data=json.dumps(ROW)).ok
    assert call(status.url, {"environment": "A360_THREADS"}).json() == {"prediction": "1"}


GREEDY = """
def predict(artifact_list, payload):
    import json
    return len(bytearray(int(json.loads(payload))))
"""


@pytest.mark.row("F320")
@pytest.mark.parametrize("use_cgroups", [True, False])
def test_a_process_that_wants_too_much_memory_is_stopped(
    tmp_path: Path, package_home: Path, model_file: Path, use_cgroups: bool
) -> None:
    repo = endpoints.write_files(tmp_path / "repo", {"predict.py": GREEDY, "requirements.txt": "numpy\n"})
    package = builder_class("bundle")(home=str(package_home)).build(
        endpoints.package_request(model_file, repo, slug="greedy"), print
    )
    place = Place(tmp_path, "process", package, {"use_cgroups": use_cgroups})
    target = place.open()
    status = place.publish(target, slug="greedy", memory_limit=0.4)
    assert ("(control group)" in status.limits) == (
        use_cgroups and os.access("/sys/fs/cgroup/memory", os.W_OK)
    )
    try:
        assert call(status.url, 1_000_000).json() == {"prediction": 1_000_000}
        # With control groups the process ends and is started again; with data limits Python raises.
        assert call(status.url, 2_000_000_000).status_code in (500, 502)
        eventually(lambda: target.status("greedy").ready_replicas == 1 and call(status.url, 1000).ok)
    finally:
        target.remove("greedy", print)
        target.gateway.stop()


def test_a_supervisor_that_dies_is_replaced_and_adopts_the_replicas(
    bundle: BuiltPackage, tmp_path: Path
) -> None:
    place = Place(tmp_path, "process", bundle, {"drain_timeout": 5.0})
    target = place.open()
    before = place.publish(target)
    state = json.loads(next((tmp_path / "endpoints" / SLUG).glob("revisions/*/state.json")).read_text())
    dead = int(state["supervisor"]["pid"])
    os.kill(dead, signal.SIGKILL)
    try:
        assert call(before.url).ok
        # What is killed lives on until it gets a processor.
        eventually(lambda: not supervisor.identity(dead))
        target.restore(print)
        after = target.status(SLUG)
        assert after.items == before.items
        # The new supervisor tends what it adopted.
        kill_replica(after, "process")
        eventually(lambda: target.status(SLUG).items[0].restarts == 1 and target.status(SLUG).ready_replicas)
    finally:
        target.remove(SLUG, print)
        target.gateway.stop()
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("name", ["nothing", "json.JSONDecoder"])
def test_names_that_are_no_target(name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        target_class(name)
