"""Images that no engine built, run by one: pulled from the registry, or loaded from an archive."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from a360_hub_service.backends.images import BuiltPackage, builder_class
from a360_hub_service.backends.images.layout import archive_name
from a360_hub_service.backends.registries import Registry
from a360_hub_service.backends.targets import EndpointSpec, Gateway, TargetError
from a360_hub_service.backends.targets.docker import DockerTarget
from tests.support import endpoints
from tests.support.endpoints import ROW, call, key_record
from tests.support.registry import RegistryServer

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

SLUG = "iris-forest-1-0"


@pytest.fixture
def target(tmp_path: Path, image_repository: str, registry_running: RegistryServer) -> Iterator[DockerTarget]:
    """A Docker target that knows the registry."""
    gateway = Gateway(home=str(tmp_path), port=endpoints.free_port())
    made = DockerTarget(
        home=str(tmp_path),
        gateway=gateway,
        registry=registry_running.configured(),
        prefix=f"a360-test-{os.getpid()}",
        drain_timeout=2.0,
    )
    yield made
    for slug in (SLUG, "other"):
        made.remove(slug, print)
    gateway.stop()


@pytest.fixture
def archive(
    package_home: Path, model_file: Path, repository: Path, image_repository: str
) -> Iterator[BuiltPackage]:
    """A finished image of the forest in a file."""
    builder = builder_class("oci")(home=str(package_home), registry=Registry(prefix=image_repository))
    request = endpoints.package_request(model_file, repository)
    yield builder.build(request, print)
    builder.remove(request.package_id, request.slug)


def publish(
    target: DockerTarget, package: BuiltPackage, slug: str = SLUG, **changes: Any
) -> tuple[str, list[str]]:
    log: list[str] = []
    target.write_keys(slug, [key_record()])
    return target.apply(EndpointSpec(slug, package, **changes), log.append).url, log


def images(words: str) -> list[str]:
    """Return the images of the engine whose line holds these words."""
    shown = subprocess.run(
        ["docker", "images", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in shown.stdout.splitlines() if words in line]


@pytest.mark.row("F286", "F287", "F323")
def test_a_pushed_image_is_pulled_and_answers_as_the_model(
    target: DockerTarget, pushed: BuiltPackage
) -> None:
    url, log = publish(target, pushed, replicas=2)
    assert any(line.startswith("Pulling ") and pushed.digest in line for line in log)
    model = endpoints.train()
    for row in ([5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5], [6.9, 3.1, 5.4, 2.1]):
        answer = call(url, dict(zip(ROW, row, strict=True)))
        assert answer.json() == {"prediction": float(model.predict(np.array([row]))[0])}
    # A second endpoint of the same image pulls nothing, and keeps it when the first one goes.
    other, log = publish(target, pushed, "other")
    assert not any(line.startswith("Pulling ") for line in log)
    target.remove(SLUG, print)
    assert call(other).ok
    assert images(pushed.digest)
    target.remove("other", print)
    assert images(pushed.digest) == []


@pytest.mark.row("F286", "F287", "F323")
def test_an_archive_is_loaded_and_answers(
    target: DockerTarget, archive: BuiltPackage, image_repository: str
) -> None:
    name = archive_name(Path(archive.reference))
    assert name.startswith(f"{image_repository}/{SLUG}:")
    url, log = publish(target, archive)
    assert images(name)
    assert "Loading the image into the engine." in log
    assert call(url).json() == {"prediction": 0.0}
    target.remove(SLUG, print)
    assert images(name) == []


def test_an_image_that_is_gone_from_the_engine_is_brought_back(
    target: DockerTarget, pushed: BuiltPackage
) -> None:
    url, _ = publish(target, pushed)
    names = subprocess.run(
        ["docker", "ps", "-aq", "-f", f"label=a360.prefix={target.prefix}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    subprocess.run(["docker", "rm", "-f", *names], capture_output=True, check=True)
    subprocess.run(
        ["docker", "rmi", "-f", f"{pushed.reference.rpartition(':')[0]}@{pushed.digest}"], check=True
    )
    target.restore(print)
    endpoints.eventually(lambda: call(url).ok)


def test_an_image_has_the_settings_of_one_that_docker_built(
    pushed: BuiltPackage, image: BuiltPackage, registry_running: RegistryServer
) -> None:
    inspected = subprocess.run(["docker", "inspect", image.reference], capture_output=True, check=True)
    found = json.loads(inspected.stdout)[0]
    docker, own = found["Config"], registry_running.config(pushed)["config"]
    for name in ("User", "WorkingDir", "ExposedPorts", "Entrypoint", "Cmd", "Env"):
        assert own[name] == docker[name], name
    assert own["Labels"].keys() == docker["Labels"].keys()
    assert found["Size"] < 200_000_000
    # The same packages, by the same lock.
    assert pushed.lock_sha256 == image.lock_sha256


@pytest.mark.row("F324", "F308")
@pytest.mark.parametrize(
    ("changes", "words", "hint"),
    [
        ({"password": "wrong"}, "cannot be pulled: .*unauthorized", "c.Registry.username"),
        ({"password_file": "/no/such/file"}, "cannot be read", "c.Registry.password_file"),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named(
    target: DockerTarget,
    pushed: BuiltPackage,
    registry_running: RegistryServer,
    changes: dict[str, str],
    words: str,
    hint: str,
) -> None:
    target.registry = registry_running.configured(**changes)
    with pytest.raises(TargetError, match=words) as caught:
        publish(target, pushed)
    assert hint in caught.value.hint
    assert "wrong" not in caught.value.message


@pytest.mark.row("F324")
@pytest.mark.parametrize("kind", ["registry", "archive"])
def test_an_image_that_is_gone_is_named(
    target: DockerTarget, pushed: BuiltPackage, tmp_path: Path, kind: str
) -> None:
    gone = {
        "registry": BuiltPackage("oci", pushed.reference, "sha256:" + "0" * 64, 1),
        "archive": BuiltPackage("oci", str(tmp_path / "image.tar"), "sha256:" + "0" * 64, 1),
    }
    with pytest.raises(TargetError) as caught:
        publish(target, gone[kind])
    assert "Package the model again" in caught.value.hint
