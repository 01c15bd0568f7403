"""Models that are asked over MQTT, really run: as a process, and as a container where an engine answers."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.engine import engine
from a360_hub_service.backends.images import BuiltPackage, builder_class
from a360_hub_service.backends.targets import EndpointSpec, Target, target_class
from tests.support import endpoints
from tests.support.endpoints import ROW, eventually
from tests.support.mosquitto import PASSWORD, USER, Mosquitto, mosquitto
from tests.support.mqtt_client import ANSWER, ASK, Requester, write_package

pytestmark = pytest.mark.row("F313")

DOCKER = [pytest.mark.docker, pytest.mark.xdist_group("docker")]
SLUG = "iris-edge-1-0"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@dataclass
class Edge:
    """A target with a package, and the broker it is for."""

    kind: str
    target: Target
    spec: EndpointSpec
    lines: list[str]

    def publish(self, **changes: str) -> None:
        self.target.apply(replace(self.spec, broker={**self.spec.broker, **changes}), self.lines.append)

    def kill(self) -> None:
        identity = self.target.status(SLUG).items[0].identity
        if self.kind == "process":
            os.kill(int(identity), signal.SIGKILL)
            return
        with engine(BackendError) as client:
            pid = client.containers.get(identity).attrs["State"]["Pid"]
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(
    params=[
        "process",
        pytest.param("bundle", marks=pytest.mark.long),
        pytest.param("docker", marks=[*DOCKER, pytest.mark.long]),
    ]
)
def package(request: pytest.FixtureRequest, tmp_path: Path) -> BuiltPackage:
    """A package of the quick kind, which runs on the modules of the tests, or one that a builder made."""
    if request.param == "process":
        write_package(tmp_path / "package")
        return BuiltPackage("bundle", str(tmp_path / "package"), "sha256:0", 0)
    home, model, repository = map(request.getfixturevalue, ("package_home", "model_file", "repository"))
    wanted = endpoints.package_request(
        model,
        repository,
        SLUG,
        wrapper="mqtt",
        listen_topic=ASK,
        respond_topic=ANSWER,
        validation_input=json.dumps(ROW),
    )
    own = {"repository": request.getfixturevalue("image_repository")} if request.param == "docker" else {}
    built: BuiltPackage = builder_class(request.param)(home=str(home), **own).build(wanted, print)
    return built


@pytest.fixture
def edge(package: BuiltPackage, broker: Mosquitto, tmp_path: Path) -> Iterator[Edge]:
    kind = "process" if package.builder == "bundle" else "docker"
    settings = {"drain_timeout": 5.0, "start_timeout": 30.0, "prefix": f"a360-test-mqtt-{os.getpid()}"}
    target = target_class("clearblade")(home=str(tmp_path), **settings)
    login = {
        "A360_MQTT_URL": broker.url,
        "A360_MQTT_USERNAME": USER,
        "A360_MQTT_PASSWORD": PASSWORD,
        "A360_MQTT_CA": broker.ca,
        "A360_MQTT_CLIENT_ID": f"edge-{tmp_path.name}",
    }
    spec = EndpointSpec(SLUG, package, cpu_limit=1, memory_limit=1, broker=login)
    made = Edge(kind, target, spec, [])
    yield made
    target.remove(SLUG, made.lines.append)
    assert target.status(SLUG).status == "absent"
    assert not (tmp_path / "endpoints" / SLUG).exists()
    if kind == "docker":
        with engine(BackendError) as client:
            label = {"label": f"a360.prefix={settings['prefix']}"}
            assert client.containers.list(all=True, filters=label) == []
            assert client.volumes.list(filters={"name": str(settings["prefix"])}) == []
    else:
        assert (
            str(tmp_path) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        )


def test_a_model_is_published_asked_and_withdrawn(edge: Edge, broker: Mosquitto, tmp_path: Path) -> None:
    edge.publish()
    status = edge.target.status(SLUG)
    assert (status.status, status.url, status.ready_replicas) == ("running", broker.url, 1)
    assert f"Listens on {ASK}" in status.message
    requester = Requester(broker, version="3.1.1")
    try:
        requester.ask("one", ROW)
        assert "prediction" in requester.answer("one")
        # What is asked while it is down is answered when it is back.
        before = status.items[0].identity
        edge.kill()
        requester.ask("two", ROW)
        assert "prediction" in requester.answer("two")
        eventually(lambda: edge.target.status(SLUG).status == "running")
        assert edge.kind == "docker" or edge.target.status(SLUG).items[0].identity != before
        assert requester.answers == {"one": 1, "two": 1}
    finally:
        requester.close()
    assert "access time=" in edge.target.logs(SLUG)
    for secret in (PASSWORD, broker.ca.splitlines()[1]):
        assert secret not in edge.target.logs(SLUG, 10_000)
        assert secret not in (tmp_path / "endpoints" / SLUG / "endpoint.json").read_text()
    edge.target.remove(SLUG, edge.lines.append)
    assert not any(line.startswith("The session") for line in edge.lines), edge.lines
