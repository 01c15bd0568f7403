"""SIGKILL of the service at any moment of packaging and publishing: jobs end, and nothing is left.

The moments are drawn anew in each run. A failure prints the seed; ``A360_TEST_SEED`` repeats it, and
``A360_TEST_KILLS`` says how often each kind of package is tried.
"""

import os
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from a360_hub_service.backends.engine import engine, engine_health
from a360_hub_service.backends.images import BuildError
from a360_hub_service.backends.images.base_image import obstacle
from a360_hub_service.entities import Job, ModelEvent, Package
from tests.support.delivery import PREDICTION, ROW, SIZES, Delivery, call, delivery_service, ok
from tests.support.registry import PASSWORD, USER, registry_server
from tests.support.service import ServiceProcess, wait_for

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(3600)]

SCRIPT = """
import json, time

import numpy as np

time.sleep(0.5)


def predict(artifact_list, payload):
    rows = json.loads(payload)
    return artifact_list[0].predict(np.asarray(rows, dtype=np.float32)).ravel()[0]
"""
FILES = {"predict.py": SCRIPT, "requirements.txt": "numpy\n"}


class Stage:
    """A service whose packages are of one kind, and what runs and lies around because of it."""

    def __init__(self, service: ServiceProcess, kind: str, mark: str) -> None:
        self.service, self.kind, self.mark = service, kind, mark
        self.target = "process" if kind == "bundle" else "docker"
        self.seconds: dict[str, float] = {}
        self.serving = 0

    def processes(self) -> list[str]:
        """The processes that work on packages, or serve one."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = " ".join(process.info["cmdline"] or ())
            if str(self.service.home) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(words)
        return [words for words in found if "/packages/" in words or "/jobs/" in words]

    def working(self) -> list[str]:
        """The processes that make packages."""
        return [words for words in self.processes() if "/packages/." in words or "/jobs/" in words]

    def containers(self) -> list[str]:
        """The containers that check or serve a package of this service."""
        if self.kind == "bundle":
            return []
        with engine(BuildError) as client:
            everything = client.containers.list(all=True, ignore_removed=True)
            return [
                f"{each.name} {each.labels}"
                for each in everything
                if self._is_ours(each.labels) or each.labels.get("a360.prefix") == self.mark
            ]

    def _is_ours(self, labels: dict[str, str]) -> bool:
        return labels.get("a360.validation", "") in self._packages()

    def _packages(self) -> set[str]:
        database = self.service.database()
        with database.session(write=False) as session:
            found = {package.id for package in session.query(Package)}
        database.close()
        return found

    def unnamed_images(self) -> list[str]:
        """Images of packages of this service without a name."""
        if self.kind != "docker":
            return []
        with engine(BuildError) as client:
            loose = client.images.list(filters={"dangling": True, "label": "a360.package"})
            return [str(each.id) for each in loose if each.labels["a360.package"] in self._packages()]

    def folders(self) -> list[str]:
        """Folders of work that is not going on."""
        home = self.service.home
        found = [*home.glob("packages/.*-*"), *home.glob("service/jobs/*"), *(home / "tmp").iterdir()]
        cache = (home / "cache").resolve()
        found += [*cache.glob("*/.*-*"), *(cache / "oci").glob("*/.*-*"), *(cache / "locks").glob("tmp*")]
        return sorted(path.relative_to(path.parents[1]).as_posix() for path in found if path.is_dir())


@pytest.fixture(scope="module", params=["bundle", "docker", "oci"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    kind, mark = request.param, f"a360-git-{uuid.uuid4().hex[:8]}"
    if kind != "bundle" and not (found := engine_health()).available:
        pytest.skip(f"no Docker engine: {found.reason}")
    if kind != "bundle" and (reason := obstacle()):
        pytest.skip(reason)
    home = tmp_path_factory.mktemp(kind)
    (home / "tmp").mkdir()
    lines = [f"c.DockerBuilder.repository = {mark!r}", f"c.DockerTarget.prefix = {mark!r}"]
    lines += ["c.A360HubService.builders = ['oci', 'docker', 'bundle']", "c.DockerTarget.drain_timeout = 1"]
    with ExitStack() as stack:
        if kind == "oci":
            registry = stack.enter_context(registry_server(tmp_path_factory.mktemp("registry")))
            lines += [f"c.Registry.url = {registry.url!r}", f"c.Registry.username = {USER!r}"]
            lines += [f"c.Registry.password = {PASSWORD!r}"]
        env = {"TMPDIR": str(home / "tmp")}
        service = stack.enter_context(delivery_service(home, "\n".join(lines) + "\n", env=env))
        yield Stage(service, kind, mark)
        remove_images(kind, mark)


def remove_images(kind: str, mark: str) -> None:
    """Remove the layers of dependencies and the base that the engine was given."""
    if kind == "docker":
        with engine(BuildError) as client:
            for image in client.images.list(filters={"reference": f"{mark}/*"}):
                client.images.remove(image.id, force=True)


def strike(stage: Stage, delivery: Delivery, moment: float, name: str, begin: Any) -> dict[str, Any]:
    """Begin a job, kill the service at a moment of it (0 to 1 of what such a job takes), and see it end."""
    service = stage.service
    job = begin()
    time.sleep(moment * stage.seconds[name])
    service.kill()
    service.start()
    done = delivery.wait(job)
    log = delivery.log(job)
    assert done["status"] == "succeeded", log
    assert log.count("status : succeeded") == log.count("status : queued") == 1, log
    return done


def measured(stage: Stage, name: str, begin: Any, delivery: Delivery) -> None:
    started = time.monotonic()
    job = begin()
    assert delivery.wait(job)["status"] == "succeeded", delivery.log(job)
    stage.seconds[name] = time.monotonic() - started


def test_a_service_killed_at_any_moment_ends_its_jobs_and_leaves_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    seed = int(os.environ.get("A360_TEST_SEED") or random.SystemRandom().randrange(10**9))
    kills = int(os.environ.get("A360_TEST_KILLS") or (20 if stage.kind == "bundle" else 5))
    print(f"A360_TEST_SEED={seed}")
    chosen = random.Random(seed)
    # Once without a kill, to see how long each takes; the first also fills the caches.
    for _ in range(2):
        line(stage, tmp_path / uuid.uuid4().hex, None)
    for number in range(kills):
        moments = chosen.random(), chosen.random()
        print(f"kill {number}: at {moments[0]:.3f} of packaging, {moments[1]:.3f} of publishing")
        line(stage, tmp_path / str(number), moments)


def line(stage: Stage, folder: Path, moments: tuple[float, float] | None) -> None:
    """Package, publish, call, withdraw and delete one model; look each time at what is there."""
    delivery = Delivery(stage.service, folder, FILES).approve()
    answers: list[dict[str, Any]] = []

    def package() -> str:
        with stage.service.client("engineer") as client:
            form = delivery.form(builder=stage.kind)
            return str(ok(client.post(f"/models/{delivery.model_id}/package", json=form))["id"])

    def publish() -> str:
        with stage.service.client("engineer") as client:
            form = SIZES | {"target": stage.target}
            answers.append(ok(client.post(f"/models/{delivery.model_id}/publish", json=form)))
        return str(answers[0]["job"]["id"])

    for index, (name, begin, status) in enumerate(
        (("package", package, "Ready to Publish"), ("publish", publish, "Published"))
    ):
        if moments is None:
            measured(stage, name, begin, delivery)
        else:
            strike(stage, delivery, moments[index], name, begin)
        assert delivery.status == status
        assert stage.folders() == []
        assert stage.unnamed_images() == []
        served = (stage.kind != "bundle") * (name == "publish")
        wait_for(lambda served=served: len(stage.containers()) == served)
        wait_for(lambda: stage.working() == [], message=f"still working: {stage.working()}")
    if moments is None:
        stage.serving = len(stage.processes())
    wait_for(lambda: len(stage.processes()) == stage.serving, message=f"serving: {stage.processes()}")
    written_once(stage.service, delivery)
    assert call(delivery.endpoint()["url"], answers[0]["api_key"], ROW).json() == {"prediction": PREDICTION}
    assert delivery.withdraw()["status"] == "succeeded"
    with stage.service.client("scientist") as client:
        ok(client.delete(f"/projects/{delivery.model['project_id']}"))
    wait_for(lambda: (stage.containers(), stage.processes()) == ([], []))
    assert [path.name for path in (stage.service.home / "packages").iterdir() if path.name[0] != "."] == []


def written_once(service: ServiceProcess, delivery: Delivery) -> None:
    database = service.database()
    with database.session(write=False) as session:
        (package,) = session.query(Package).where(Package.model_id == delivery.model_id)
        assert (package.status, bool(package.reference), len(package.commit or "")) == ("ready", True, 40)
        commands = [e.command for e in session.query(ModelEvent) if e.model_id == delivery.model_id]
        for command in ("package", "package_succeeded", "publish", "publish_succeeded"):
            assert commands.count(command) == 1, commands
        assert session.query(Job).where(Job.model_id == delivery.model_id).count() == 2
    database.close()
