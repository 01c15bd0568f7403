"""Packages that several tests use, made once for each worker."""

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from a360_hub_service.backends.engine import engine, engine_health
from a360_hub_service.backends.images import BuildError, BuiltPackage, builder_class
from a360_hub_service.backends.images.base_image import obstacle
from tests.support import endpoints
from tests.support.hub import Platform, platform
from tests.support.registry import RegistryServer, registry_server


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The forest as ONNX."""
    return endpoints.write_model(tmp_path_factory.mktemp("model") / "trained_model")


@pytest.fixture(scope="session")
def baseline_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its baseline."""
    path = tmp_path_factory.mktemp("baseline") / "baseline"
    path.write_text(json.dumps(endpoints.BASELINE), "utf-8")
    return path


@pytest.fixture(scope="session")
def package_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory in which dependencies are installed once."""
    return tmp_path_factory.mktemp("packages-home")


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fetched repository with a script that works."""
    files = {"predict.py": endpoints.SCRIPT, "requirements.txt": "numpy\nsklearn\n"}
    return endpoints.write_files(tmp_path_factory.mktemp("repository"), files)


@pytest.fixture(scope="session")
def bundle(package_home: Path, model_file: Path, baseline_file: Path, repository: Path) -> BuiltPackage:
    """A finished bundle of the forest."""
    request = endpoints.package_request(model_file, repository, baseline=baseline_file)
    return builder_class("bundle")(home=str(package_home)).build(request, print)


@pytest.fixture(scope="session")
def image_repository() -> Iterator[str]:
    """The first part of the names of all images a worker makes, which are removed at its end."""
    found = engine_health()
    if not found.available:
        pytest.skip(f"no Docker engine: {found.reason}")
    name = f"a360-test-{uuid.uuid4().hex[:8]}"
    yield name
    with engine(BuildError) as client:
        # Children before parents.
        for image in client.images.list(filters={"reference": f"{name}/*"}):
            with contextlib.suppress(Exception):
                client.images.remove(image.id, force=True)


@pytest.fixture(scope="session")
def image(
    package_home: Path, model_file: Path, baseline_file: Path, repository: Path, image_repository: str
) -> BuiltPackage:
    """A finished image of the forest."""
    request = endpoints.package_request(model_file, repository, baseline=baseline_file)
    return builder_class("docker")(home=str(package_home), repository=image_repository).build(request, print)


@pytest.fixture(scope="session")
def registry_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry of images for all tests of a worker."""
    with registry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="session")
def pushed(
    package_home: Path, registry_running: RegistryServer, model_file: Path, repository: Path
) -> BuiltPackage:
    """A finished image of the forest in the registry, put together without an engine."""
    if reason := obstacle():
        pytest.skip(reason)
    request = endpoints.package_request(model_file, repository, validation_input=json.dumps(endpoints.ROW))
    builder = builder_class("oci")(home=str(package_home), registry=registry_running.configured())
    return builder.build(request, print)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def hub_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A whole platform for all tests that leave it running; they share a worker (xdist group ``hub``)."""
    with platform(tmp_path_factory.mktemp("hub") / "home") as started:
        yield started
