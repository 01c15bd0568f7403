"""Container images: what is in them, how they run, and what is refused."""

import dataclasses
import hashlib
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.backends.images import BuildError, BuildRequest, BuiltPackage, base_image, builder_class
from a360_hub_service.backends.images.base_image import ensure_base_image
from a360_hub_service.backends.images.docker import DockerBuilder
from tests.support import endpoints
from tests.support.endpoints import ROW, SCRIPT, write_files

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


@pytest.fixture
def builder(package_home: Path, image_repository: str) -> DockerBuilder:
    return DockerBuilder(home=str(package_home), repository=image_repository)


@pytest.fixture
def request_for(tmp_path: Path, model_file: Path) -> Callable[..., BuildRequest]:
    def make(files: dict[str, str] | None = None, **changes: Any) -> BuildRequest:
        all_files = {"predict.py": SCRIPT, "requirements.txt": "numpy\n"} | (files or {})
        return endpoints.package_request(model_file, write_files(tmp_path / "repo", all_files), **changes)

    return make


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, check=check)


def inspect(reference: str) -> dict[str, Any]:
    return dict(json.loads(docker("image", "inspect", reference).stdout)[0])


@pytest.mark.row("F286", "F287", "F301", "F307")
def test_an_image_says_what_it_is_and_runs_as_nobody(image: BuiltPackage, builder: DockerBuilder) -> None:
    assert builder.health().available
    found = inspect(image.reference)
    assert found["Id"] == image.digest
    assert found["Size"] == image.size
    config = found["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/python3", "-I", "-S", "/app/run.py"]
    assert config["Labels"]["a360.lock"] == image.lock_sha256
    assert config["Labels"]["a360.commit"] == "c" * 40
    assert len(config["Labels"]["a360.package"]) == 32


def test_an_image_holds_no_shell_and_no_installer(image: BuiltPackage) -> None:
    container = docker("create", image.reference).stdout.strip()
    try:
        exported = subprocess.run(
            f"docker export {container} | tar -t", shell=True, capture_output=True, text=True, check=True
        )
    finally:
        docker("rm", container)
    names = exported.stdout.splitlines()
    programs = {name for name in names if name.startswith(("bin/", "sbin/", "usr/bin/", "usr/sbin/"))}
    assert programs - {"usr/bin/"} == {"usr/bin/python3", "usr/bin/python3.11"}
    assert not [name for name in names if "/pip/" in name or "/ensurepip/" in name]
    # By which models of texts fold them to lower case.
    assert "usr/lib/locale/C.utf8/LC_CTYPE" in names
    # What scanners read.
    assert "var/lib/dpkg/status.d/libssl3" in names
    assert any(name.startswith("app/site/onnxruntime-") for name in names)
    assert any(name.startswith("usr/share/doc/libc6/copyright") for name in names)


def test_an_image_trusts_the_usual_authorities(image: BuiltPackage) -> None:
    code = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    done = docker(
        "run", "--rm", "--network=none", "--entrypoint=/usr/bin/python3", image.reference, "-c", code
    )
    assert int(done.stdout) > 50


def test_the_base_image_is_the_same_each_time(package_home: Path, image_repository: str) -> None:
    first = ensure_base_image(package_home, image_repository, print)
    log: list[str] = []
    assert ensure_base_image(package_home, image_repository, log.append) == first
    assert log == []
    # As `make base-image` does it: from today's packages, whatever is there.
    program = [sys.executable, "-m", "a360_hub_service.backends.images.base_image"]
    options = [f"--home={package_home}", f"--repository={image_repository}"]
    again = subprocess.run([*program, *options], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == first
    found = inspect(first)
    assert found["Size"] < 60_000_000
    assert found["Config"]["User"] == "65532:65532"


@pytest.mark.row("F247", "F286", "F287")
def test_an_image_tells_scanners_all_it_is_made_of(
    image: BuiltPackage, builder: DockerBuilder, model_file: Path, tmp_path: Path
) -> None:
    slug = image.reference.partition(":")[0].rpartition("/")[2]
    subject = builder.inspect(inspect(image.reference)["Config"]["Labels"]["a360.package"], slug, tmp_path)
    found = subject.inventory
    assert found.is_image
    assert (found.release.id, found.release.codename) == ("debian", "bookworm")
    assert {each.name for each in found.packages} == set(base_image.DEBIAN_PACKAGES)
    (ssl,) = (each for each in found.packages if each.name == "libssl3")
    assert ssl.source == "openssl"
    assert {"numpy", "onnxruntime", "flask"} <= {each.name for each in found.distributions}
    (model,) = (each for each in found.files if each.path == "artifacts/trained_model")
    assert model.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert found.unread == ()
    assert subject.archive
    assert tarfile.is_tarfile(subject.archive())


@pytest.mark.row("F297", "F298", "F308")
def test_the_validation_input_runs_in_the_image(
    builder: DockerBuilder, request_for: Callable[..., BuildRequest]
) -> None:
    request = request_for(validation_input=json.dumps(ROW), validation_output="0.5")
    with pytest.raises(BuildError, match=r"is 0\.0, expected 0\.5") as caught:
        builder.build(request, print)
    assert caught.value.field == "validation_output"
    assert builder.find(request.package_id, request.slug) is None
    assert docker("images", "-q", "-f", f"label=a360.package={request.package_id}").stdout == ""
    good = dataclasses.replace(request, validation_output="0")
    built = builder.build(good, print)
    log: list[str] = []
    assert builder.build(good, log.append) == built
    assert len(log) == 1
    assert list(Path(builder.home, "packages").glob(f".{good.package_id}*")) == []
    builder.remove(good.package_id, good.slug)
    builder.remove(good.package_id, good.slug)
    assert builder.find(good.package_id, good.slug) is None


@pytest.mark.row("F308")
def test_a_script_that_never_ends_is_stopped(
    builder: DockerBuilder, request_for: Callable[..., BuildRequest]
) -> None:
    builder.validation_timeout = 3.0
    with pytest.raises(BuildError, match="did not answer within 3 seconds"):
        builder.build(request_for(validation_input='{"sleep": 60}'), print)
    assert docker("ps", "-aq", "-f", "label=a360.validation").stdout == ""


@pytest.mark.row("F308")
def test_a_module_that_is_missing_is_named(
    builder: DockerBuilder, request_for: Callable[..., BuildRequest]
) -> None:
    with pytest.raises(BuildError, match="No module named 'pandas'") as caught:
        builder.build(request_for({"predict.py": "import pandas\n" + SCRIPT}), print)
    assert caught.value.field == "dependencies"


@pytest.mark.row("F301", "F302")
def test_a_base_image_of_the_users_is_built_on(
    builder: DockerBuilder,
    request_for: Callable[..., BuildRequest],
    package_home: Path,
    image_repository: str,
    tmp_path: Path,
) -> None:
    own = f"{image_repository}/own:1"
    base = ensure_base_image(package_home, image_repository, print)
    runtime = "/usr/lib/python3/dist-packages/onnxruntime/__init__.py"
    write_files(tmp_path / "own", {"Dockerfile": f"FROM {base}\nCOPY Dockerfile {runtime}\n"})
    docker("build", "-q", "-t", own, str(tmp_path / "own"))
    built = builder.build(request_for(base_image=own, validation_input=json.dumps(ROW)), print)
    # The program is the one the image's own Python names.
    assert inspect(built.reference)["Config"]["Entrypoint"][0] == "/usr/bin/python3"


@pytest.mark.row("F302", "F308")
def test_a_base_image_of_the_users_without_the_runtime_is_named(
    builder: DockerBuilder,
    request_for: Callable[..., BuildRequest],
    package_home: Path,
    image_repository: str,
) -> None:
    plain = f"{image_repository}/plain:1"
    docker("tag", ensure_base_image(package_home, image_repository, print), plain)
    with pytest.raises(BuildError, match="does not hold ONNX Runtime") as caught:
        builder.build(request_for(base_image=plain), print)
    assert caught.value.field == "base_image"
    assert "Install onnxruntime" in caught.value.hint
    # One of the operator's is taken as it is: ONNX Runtime is put on it.
    builder.base_image = plain
    assert builder.build(request_for(), print).size


@pytest.mark.row("F301", "F308")
def test_a_base_image_that_cannot_be_had_is_named(
    builder: DockerBuilder, request_for: Callable[..., BuildRequest]
) -> None:
    with pytest.raises(BuildError, match="localhost is not a host that the operator allows"):
        builder.build(request_for(base_image="localhost:1/a360-test-none:1"), print)
    builder.registry.base_hosts = ["localhost:1"]
    with pytest.raises(BuildError, match="localhost:1/a360-test-none:1 cannot be had") as caught:
        builder.build(request_for(base_image="localhost:1/a360-test-none:1"), print)
    assert caught.value.field == "base_image"
    assert "platform's own image" in caught.value.hint


@pytest.mark.row("F302", "F308")
def test_a_base_image_without_python_is_named(
    builder: DockerBuilder, request_for: Callable[..., BuildRequest], tmp_path: Path, image_repository: str
) -> None:
    write_files(tmp_path / "empty", {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"})
    docker("build", "-q", "-t", f"{image_repository}/empty:1", str(tmp_path / "empty"))
    with pytest.raises(BuildError, match="has no Python 3") as caught:
        builder.build(request_for(base_image=f"{image_repository}/empty:1"), print)
    assert caught.value.field == "base_image"


def test_no_engine_is_said_plainly(
    package_home: Path, request_for: Callable[..., BuildRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    builder = builder_class("docker")(home=str(package_home))
    assert not builder.health().available
    with pytest.raises(BuildError, match="No Docker engine answers") as caught:
        builder.build(request_for(), print)
    assert "Start the Docker engine" in caught.value.hint
