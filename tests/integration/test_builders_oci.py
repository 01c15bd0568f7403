"""Images put together without an engine: what is in them, that they are the same each time."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.backends.images import BuildError, BuildRequest, BuiltPackage, builder_class, stock
from a360_hub_service.backends.images.base_image import DEBIAN_PACKAGES, ensure_base_layout, obstacle
from a360_hub_service.backends.images.layout import machine
from a360_hub_service.backends.images.oci import OciBuilder
from a360_hub_service.backends.registries import Registry
from tests.support import endpoints
from tests.support.endpoints import ROW, SCRIPT, write_files
from tests.support.oci_images import NEWER_PYTHON, RUNTIME, push_base, push_index
from tests.support.registry import RegistryServer, registry_server

pytestmark = [
    pytest.mark.xdist_group("oci"),
    pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-"),
]

Request = Callable[..., BuildRequest]


@pytest.fixture
def builder(package_home: Path, registry_running: RegistryServer) -> OciBuilder:
    return OciBuilder(home=str(package_home), registry=registry_running.configured())


@pytest.fixture
def request_for(tmp_path: Path, model_file: Path) -> Request:
    def make(files: dict[str, str] | None = None, **changes: Any) -> BuildRequest:
        all_files = {"predict.py": SCRIPT, "requirements.txt": "numpy\n"} | (files or {})
        return endpoints.package_request(model_file, write_files(tmp_path / "repo", all_files), **changes)

    return make


def temporary(home: Path) -> list[str]:
    """Return what a build may leave while it works: names with a dot that are no lock."""
    return [
        path.relative_to(home).as_posix()
        for folder in ("packages", "cache/oci", "cache/base", "cache/deps")
        for path in Path(home, folder).rglob("*")
        if path.name.startswith((".", "tmp")) and "/site/" not in path.as_posix()
        if not (path.name.startswith(".lock") or path.name.endswith(".lock"))
    ]


@pytest.mark.row("F286", "F287", "F307")
def test_an_image_is_pushed_with_all_it_needs(
    pushed: BuiltPackage, builder: OciBuilder, registry_running: RegistryServer
) -> None:
    assert builder.health().available
    assert builder.health_unasked().available
    assert pushed.reference.startswith(f"{registry_running.address}/models/iris-forest-1-0:")
    assert pushed.size < 200_000_000
    found = registry_running.config(pushed)
    assert (found["os"], found["architecture"]) == ("linux", machine())
    assert found["config"]["Labels"]["a360.lock"] == pushed.lock_sha256
    assert found["config"]["Labels"]["a360.base"] == "serving"
    assert len(found["rootfs"]["diff_ids"]) == len(found["history"]) == 3
    assert temporary(Path(builder.home)) == []


@pytest.mark.row("F247", "F286")
def test_an_image_in_the_registry_tells_scanners_what_it_is_made_of(
    pushed: BuiltPackage,
    builder: OciBuilder,
    model_file: Path,
    registry_running: RegistryServer,
    tmp_path: Path,
) -> None:
    labels = registry_running.config(pushed)["config"]["Labels"]
    subject = builder.inspect(labels["a360.package"], labels["a360.slug"], tmp_path)
    found = subject.inventory
    assert {each.name for each in found.packages} == set(DEBIAN_PACKAGES)
    assert {"numpy", "onnxruntime", "flask"} <= {each.name for each in found.distributions}
    (model,) = (each for each in found.files if each.path == "artifacts/trained_model")
    assert model.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    # Only the layer nobody else has is downloaded; a program that wants a file gets one.
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".")]) == 1
    assert subject.archive
    assert stock.of_archive(subject.archive(), tmp_path / "stock") == found
    with pytest.raises(BuildError, match=r"The registry has no .* any more"):
        builder.inspect("f" * 32, labels["a360.slug"], tmp_path)


@pytest.mark.long
@pytest.mark.row("F287")
def test_two_builds_in_two_folders_give_the_same_digest(
    builder: OciBuilder,
    request_for: Request,
    pushed: BuiltPackage,
    registry_running: RegistryServer,
    tmp_path: Path,
) -> None:
    request = request_for(slug="twice")
    first = builder.build(request, print)
    builder.remove(request.package_id, request.slug)
    assert builder.find(request.package_id, request.slug) is None
    # From nothing: other downloads, other byte code, other times and rights of files.
    before = os.umask(0o077)
    try:
        home = tmp_path / "a-folder-with-a-longer-name"
        other = OciBuilder(home=str(home), registry=registry_running.configured())
        files = {"predict.py": SCRIPT, "requirements.txt": "numpy\n"}
        again = dataclasses.replace(request, repo_dir=write_files(tmp_path / "copy", files))
        os.utime(again.repo_dir / "predict.py", (0, 0))
        second = other.build(again, print)
    finally:
        os.umask(before)
    assert second == first


def test_a_changed_model_changes_only_its_layer(
    builder: OciBuilder, request_for: Request, pushed: BuiltPackage, registry_running: RegistryServer
) -> None:
    request = request_for({"predict.py": SCRIPT + "\n# Another script.\n"})
    log: list[str] = []
    changed = builder.build(request, log.append)
    before, after = registry_running.layers(pushed), registry_running.layers(changed)
    assert before[:2] == after[:2]
    assert before[2] != after[2]
    assert [line.rpartition(": ")[2] for line in log if line.startswith("Layer ")] == [
        "there.",
        "there.",
        "sent.",
    ]


def test_another_repository_gets_layers_by_mounting(
    builder: OciBuilder, request_for: Request, pushed: BuiltPackage
) -> None:
    log: list[str] = []
    builder.build(request_for(slug="another-1-0"), log.append)
    ways = [line.rpartition(": ")[2] for line in log if line.startswith("Layer ")]
    assert ways == ["mounted.", "mounted.", "sent."]


def test_a_package_is_found_and_removed(builder: OciBuilder, request_for: Request, tmp_path: Path) -> None:
    request = request_for()
    built = builder.build(request, print)
    log: list[str] = []
    assert builder.build(request, log.append) == built
    assert len(log) == 1
    # Another service on another machine finds it as well.
    elsewhere = OciBuilder(home=str(tmp_path / "other"), registry=builder.registry)
    assert elsewhere.find(request.package_id, request.slug) == built
    other_id = "0" * len(request.package_id)
    assert elsewhere.find(other_id, request.slug) is None
    builder.remove(request.package_id, request.slug)
    builder.remove(request.package_id, request.slug)
    assert builder.find(request.package_id, request.slug) is None


@pytest.mark.row("F297", "F298", "F308")
def test_what_fails_its_validation_is_not_pushed(builder: OciBuilder, request_for: Request) -> None:
    request = request_for(slug="never", validation_input=json.dumps(ROW), validation_output="0.5")
    with pytest.raises(BuildError, match=r"is 0\.0, expected 0\.5") as caught:
        builder.build(request, print)
    assert caught.value.field == "validation_output"
    assert builder.find(request.package_id, request.slug) is None
    assert temporary(Path(builder.home)) == []


@pytest.mark.row("F303", "F308")
def test_a_package_without_wheels_is_named(builder: OciBuilder, request_for: Request) -> None:
    with pytest.raises(BuildError, match="pycrypto comes only as source code") as caught:
        builder.build(request_for({"requirements.txt": "pycrypto\n"}), print)
    assert caught.value.field == "dependencies"
    assert "another" in caught.value.hint


@pytest.mark.row("F302", "F301")
@pytest.mark.parametrize("tag", ["1", "index"])
def test_a_base_of_a_registry_is_built_on(
    builder: OciBuilder,
    request_for: Request,
    registry_running: RegistryServer,
    tmp_path: Path,
    tag: str,
) -> None:
    repository = f"bases/own-{tag}"
    layout = ensure_base_layout(Path(builder.home), print)
    base = push_base(registry_running, repository, layout, RUNTIME, tmp_path)
    if tag == "index":
        other = push_base(registry_running, repository, None, {"other": b""}, tmp_path)
        platforms = {"linux/s390x": other, f"linux/{machine()}": base, "unknown/unknown": other}
        push_index(registry_running, repository, platforms)
    log: list[str] = []
    request = request_for(
        slug=f"on-{tag}",
        base_image=f"{registry_running.address}/{repository}:{tag}",
        validation_input=json.dumps(ROW),
        validation_output="0",
    )
    built = builder.build(request, log.append)
    assert registry_running.layers(built)[:2] == [layer.digest for layer in base.layers]
    assert registry_running.config(built)["config"]["Entrypoint"][0] == "/usr/bin/python3"
    # The layers of a base need not be sent, and need not be read twice.
    assert [line for line in log if "Layer" in line][1].endswith("mounted.")
    log.clear()
    builder.build(dataclasses.replace(request, package_id="e" * 32), log.append)
    assert not [line for line in log if line.startswith("Reading the base image")]


def test_a_base_of_the_operator_need_not_hold_the_runtime(
    builder: OciBuilder, request_for: Request, registry_running: RegistryServer, tmp_path: Path
) -> None:
    layout = ensure_base_layout(Path(builder.home), print)
    push_base(registry_running, "bases/plain", layout, {"etc/plain": b""}, tmp_path)
    builder.base_image = f"{registry_running.address}/bases/plain:1"
    assert builder.build(request_for(slug="on-plain"), print).size
    builder.base_image = ""
    with pytest.raises(BuildError, match="does not hold ONNX Runtime") as caught:
        builder.build(request_for(base_image=f"{registry_running.address}/bases/plain:1"), print)
    assert caught.value.field == "base_image"
    assert "Install onnxruntime" in caught.value.hint


@pytest.mark.row("F301", "F302", "F308")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bases/empty:1", "has no Python 3"),
        ("bases/empty:index", f"is not made for linux/{machine()}"),
        ("bases/empty:2", "has no image bases/empty:2"),
        ("Bases/empty", "is not a name of a repository"),
        ("localhost:1/base:1", "cannot be had: The registry .* does not answer"),
    ],
)
def test_a_base_that_models_cannot_be_served_on_is_named(
    builder: OciBuilder,
    request_for: Request,
    registry_running: RegistryServer,
    tmp_path: Path,
    name: str,
    words: str,
) -> None:
    empty = push_base(registry_running, "bases/empty", None, {"etc/nothing": b""}, tmp_path)
    push_index(registry_running, "bases/empty", {"linux/s390x": empty, "linux/arm/v7": empty})
    name = name if name.startswith("localhost") else f"{registry_running.address}/{name}"
    builder.registry.base_hosts = ["localhost:1"]
    with pytest.raises(BuildError, match=words) as caught:
        builder.build(request_for(base_image=name), print)
    assert caught.value.field == "base_image"
    assert caught.value.hint
    assert temporary(Path(builder.home)) == []


@pytest.mark.row("F308")
@pytest.mark.parametrize(
    ("changes", "words", "hint"),
    [
        ({"url": "http://127.0.0.1:1"}, "does not answer", "Check the address"),
        ({"password": "wrong"}, "does not accept the user name and password", "c.Registry.username"),
        ({"username": ""}, "no user name is configured", "c.Registry.username"),
    ],
)
def test_what_a_registry_refuses_is_named_and_leaves_nothing(
    builder: OciBuilder,
    request_for: Request,
    registry_running: RegistryServer,
    changes: dict[str, str],
    words: str,
    hint: str,
) -> None:
    builder.registry = registry_running.configured(**changes)
    with pytest.raises(BuildError, match=words) as caught:
        builder.build(request_for(), print)
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message
    assert temporary(Path(builder.home)) == []


@pytest.mark.row("F308")
def test_a_registry_that_dies_in_the_middle_is_named_and_leaves_nothing(
    builder: OciBuilder, request_for: Request, pushed: BuiltPackage, tmp_path: Path
) -> None:
    log: list[str] = []
    with registry_server(tmp_path / "registry") as server:

        def kill(line: str) -> None:
            log.append(line)
            if line.startswith("Layer "):
                server.process.kill()
                server.process.wait()

        builder.registry = server.configured()
        with pytest.raises(BuildError, match="does not answer"):
            builder.build(request_for(), kill)
    assert len([line for line in log if line.startswith("Layer ")]) == 1
    assert temporary(Path(builder.home)) == []


@pytest.mark.row("F308")
def test_a_full_disk_is_named_and_leaves_nothing(
    small_disk: Path, request_for: Request, pushed: BuiltPackage, package_home: Path
) -> None:
    (small_disk / "cache").mkdir()
    for name in ("base", "deps", "locks"):
        (small_disk / "cache" / name).symlink_to(package_home / "cache" / name)
    builder = OciBuilder(home=str(small_disk))
    # The layer of the dependencies does not fit.
    (small_disk / "ballast").write_bytes(os.urandom(10_000_000))
    with pytest.raises(BuildError, match="No space is left") as caught:
        builder.build(request_for(), print)
    assert "Free disk space" in caught.value.hint
    assert temporary(small_disk) == []


@pytest.mark.row("F297", "F308")
def test_a_package_for_another_python_is_not_validated_by_ours(
    builder: OciBuilder, request_for: Request, registry_running: RegistryServer, tmp_path: Path
) -> None:
    push_base(registry_running, "bases/newer", None, NEWER_PYTHON, tmp_path)
    request = request_for(
        slug="newer",
        base_image=f"{registry_running.address}/bases/newer:1",
        validation_input=json.dumps(ROW),
    )
    with pytest.raises(BuildError, match=r"cannot be run here: the image is made for Python 3\.12") as caught:
        builder.build(request, print)
    assert caught.value.field == "validation_input"
    log: list[str] = []
    built = builder.build(dataclasses.replace(request, validation_input=""), log.append)
    assert [line for line in log if line.startswith("Warning: the package was not loaded once")]
    entrypoint = registry_running.config(built)["config"]["Entrypoint"]
    assert entrypoint[0] == "/usr/local/bin/python3"


def test_without_a_registry_images_are_archives(
    package_home: Path, request_for: Request, tmp_path: Path
) -> None:
    builder = builder_class("oci")(home=str(package_home))
    assert builder.health().available
    assert not builder.health_unasked().available
    assert "No registry" in builder.health_unasked().reason
    request = request_for()
    built = builder.build(request, print)
    assert Path(built.reference).is_file()
    assert "numpy" in {
        each.name
        for each in builder.inspect(request.package_id, request.slug, tmp_path).inventory.distributions
    }
    assert builder.find(request.package_id, request.slug) == built
    assert builder.build(dataclasses.replace(request, package_id="d" * 32), print).size == built.size
    for package_id in (request.package_id, "d" * 32):
        builder.remove(package_id, request.slug)
    assert not Path(built.reference).exists()


def test_another_platform_needs_a_base_of_its_own(builder: OciBuilder, request_for: Request) -> None:
    builder.platform = "linux/s390x"
    with pytest.raises(BuildError, match="not made for linux/s390x") as caught:
        builder.build(request_for(), print)
    assert caught.value.field == "base_image"


BUILD = """
import json, os, signal, sys, threading, time
from pathlib import Path
from a360_hub_service.backends.images import BuildRequest
from a360_hub_service.backends.images.oci import OciBuilder
from a360_hub_service.backends.registries import Registry
home, registry, request, at, later = json.loads(sys.argv[1])
def log(line):
    if line.startswith(at):
        threading.Timer(later, os.kill, (os.getpid(), signal.SIGKILL)).start()
        later or time.sleep(60)
request |= {"repo_dir": Path(request["repo_dir"]),
            "artifact_files": {name: Path(path) for name, path in request["artifact_files"].items()}}
builder = OciBuilder(home=home, registry=Registry(**registry))
builder.build(BuildRequest(**request), log)
"""


@pytest.mark.row("F308")
@pytest.mark.parametrize(
    ("at", "later", "shared"),
    [
        # Seconds after the line: while apt writes, uv writes, and a layer is written.
        pytest.param("Making the serving base", 0.5, ("deps", "locks"), marks=pytest.mark.long),
        ("Installing", 0.3, ("base", "locks")),
        ("Making the layer of the dependencies", 0.5, ("base", "deps", "locks")),
        ("Layer ", 0.0, ("base", "deps", "locks", "oci")),
    ],
)
def test_a_killed_build_leaves_nothing_once_it_was_made_again(
    request_for: Request,
    pushed: BuiltPackage,
    package_home: Path,
    registry_running: RegistryServer,
    tmp_path: Path,
    at: str,
    later: float,
    shared: tuple[str, ...],
) -> None:
    home = tmp_path / "home"
    (home / "cache").mkdir(parents=True)
    for name in shared:
        (home / "cache" / name).symlink_to(package_home / "cache" / name)
    registry: Registry = registry_running.configured()
    request = request_for(slug="killed")
    given = [
        str(home),
        {name: getattr(registry, name) for name in ("url", "username", "password", "prefix")},
        json.loads(json.dumps(dataclasses.asdict(request), default=str)),
        at,
        later,
    ]
    command = [sys.executable, "-c", BUILD, json.dumps(given)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    builder = OciBuilder(home=str(home), registry=registry)
    assert temporary(home)
    assert builder.find(request.package_id, request.slug) is None
    built = builder.build(request, print)
    assert temporary(home) == []
    builder.remove(request.package_id, request.slug)
    assert built.digest == OciBuilder(home=str(package_home), registry=registry).build(request, print).digest


def test_what_a_killed_build_left_goes_with_its_package(builder: OciBuilder, request_for: Request) -> None:
    request = request_for()
    write_files(Path(builder.home, "packages", f".{request.package_id}-left"), {"package/a360.json": "{}"})
    builder.remove(request.package_id, request.slug)
    assert temporary(Path(builder.home)) == []
