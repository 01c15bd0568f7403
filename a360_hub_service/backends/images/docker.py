"""Packages as container images: our base, the dependencies as one layer, the package as the next."""

import contextlib
import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, ClassVar

import docker
from docker.errors import BuildError as DockerBuildError
from docker.errors import ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image
from requests.exceptions import ConnectionError as NoAnswer
from requests.exceptions import ReadTimeout
from traitlets import Unicode

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import BackendError, Health, Log
from a360_hub_service.backends.engine import engine, engine_health
from a360_hub_service.backends.images import base_image, serving, stock
from a360_hub_service.backends.images.base import (
    BuildError,
    BuildRequest,
    BuiltPackage,
    without_runtime,
)
from a360_hub_service.backends.images.bases import check_base_name, check_host
from a360_hub_service.backends.images.bundle import Assembler
from a360_hub_service.backends.images.cache import tidied
from a360_hub_service.backends.images.inventory import Subject
from a360_hub_service.backends.images.resolve import Dependencies, PythonTarget, storage_error
from a360_hub_service.backends.images.validate import Runner, check_package, took_too_long

_PIECE = 1024 * 1024
_PROBE = (
    "import importlib.util, json, platform, sys; print(json.dumps([sys.executable, "
    "'%d.%d' % sys.version_info[:2], platform.machine(), *platform.libc_ver(), "
    "importlib.util.find_spec('onnxruntime') is not None]))"
)


class DockerBuilder(Assembler):
    """Builds images with the Docker engine of this machine."""

    name: ClassVar[str] = "docker"
    description: ClassVar[str] = "A container image: non-root, no shell, works with a read-only file system."

    base_image = Unicode("", help="Image to build on; empty: the platform's own.").tag(config=True)
    repository = Unicode("a360", help="First part of the names of images.").tag(config=True)

    def health(self) -> Health:
        """Say whether an engine answers."""
        return engine_health()

    def health_unasked(self) -> Health:
        """Say whether an engine answers and there is something to build on."""
        found = self.health()
        if found.available and not self.base_image and (obstacle := base_image.obstacle()):
            return Health(False, obstacle)
        return found

    @tidied
    def build(self, request: BuildRequest, log: Log) -> BuiltPackage:
        """Make the image; see `ImageBuilder.build`."""
        if ready := self.find(request.package_id, request.slug):
            log(f"The image is there already: {ready.reference}.")
            return ready
        with engine(BuildError) as client:
            _remove_stale(client, request.package_id)
            base, program, python = self._base(client, request, log)
            script, dependencies = self.prepare(request, python, log)
            layer = self._dependencies_image(client, base, dependencies, log)
            try:
                with self.work_folder(request.package_id) as folder:
                    self.assemble(request, script, dependencies, python.version, folder)
                    log("Building the image.")
                    dockerfile = _dockerfile(layer, program, serving.labels(request, dependencies))
                    image = _build(client, dockerfile, folder, "app")
            except OSError as error:
                raise storage_error(error) from error
            try:
                check_package(request, self._runner(client, image, request), log, Path(self.home, "packages"))
            except BackendError:
                client.images.remove(str(image.id), force=True)
                raise
            # The name is given last: an image that can be found is one that was checked.
            image.tag(*self._name(request.package_id, request.slug).split(":"))
        built = self.find(request.package_id, request.slug)
        if built is None:
            raise BuildError("The image vanished while it was made.", hint="Package again.")
        log(f"The image {built.reference} is ready: {built.digest}, {built.size / 1e6:.0f} MB.")
        return built

    def _base(
        self, client: docker.DockerClient, request: BuildRequest, log: Log
    ) -> tuple[str, str, PythonTarget]:
        """Return the image to build on, its Python program and what wheels fit it."""
        name = request.base_image or self.base_image
        if not name:
            try:
                name = base_image.ensure_base_image(Path(self.home), self.repository, log)
            except OSError as error:
                raise storage_error(error) from error
            return name, "/usr/bin/python3", _own_python()
        named = bool(request.base_image) and request.base_image != self.base_image
        found = check_base_name(self.registry, name) if named else None
        try:
            client.images.get(name)
        except ImageNotFound:
            if found:
                check_host(self.registry, found)
            log(f"Pulling the base image {name}.")
            try:
                _pull(client, name)
            except docker.errors.APIError as error:
                hint = (
                    "Check its name and the registry, or leave the field empty for the platform's own image."
                )
                message = f"The base image {name} cannot be had: {error.explanation or error}"
                raise BuildError(message, hint=hint, field="base_image") from error
        program, python, has_runtime = _probe(client, name)
        # An operator may choose a base that holds Python alone, as ours does; ONNX Runtime is put on it.
        if not has_runtime and name != self.base_image:
            raise without_runtime(name)
        return name, program, python

    def check_base_image(self, text: str) -> None:
        """Raise `BuildError` unless a form may name this base image."""
        if text != self.base_image:
            check_base_name(self.registry, text)

    def _dependencies_image(
        self, client: docker.DockerClient, base: str, dependencies: Dependencies, log: Log
    ) -> str:
        """Return the image of the base with the dependencies; packages with the same ones share it."""
        content = f"{client.images.get(base).id} {dependencies.sha256}"
        name = f"{self.repository}/deps:{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        with contextlib.suppress(ImageNotFound):
            client.images.get(name)
            return name
        log("Making the layer of the dependencies.")
        dockerfile = f"FROM {base}\nCOPY site /app/site\n"
        try:
            image = _build(client, dockerfile, dependencies.site, "site")
        except OSError as error:
            raise storage_error(error) from error
        image.tag(*name.split(":"))
        return name

    def _runner(self, client: docker.DockerClient, image: Image, request: BuildRequest) -> Runner:
        """Return what runs the image once, as it will be served but without a network."""

        def run(arguments: list[str], body: Path | None) -> subprocess.CompletedProcess[str]:
            volumes = {str(body.parent): {"bind": "/input", "mode": "ro"}} if body else {}
            command = [*arguments, *([f"/input/{body.name}"] if body else [])]
            container = client.containers.create(
                str(image.id),
                command,
                volumes=volumes,
                network_disabled=True,
                read_only=True,
                tmpfs={"/tmp": "rw,nosuid,nodev,size=64m"},  # noqa: S108
                environment={"HOME": "/tmp"},  # noqa: S108
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                mem_limit=self.validation_memory,
                pids_limit=256,
                labels={"a360.validation": request.package_id},
            )
            try:
                container.start()
                code = _wait(container, self.validation_timeout)
                out = container.logs(stdout=True, stderr=False).decode("utf-8", "replace")
                err = container.logs(stdout=False, stderr=True).decode("utf-8", "replace")
            except TimeoutError as error:
                raise took_too_long(self.validation_timeout) from error
            finally:
                container.remove(force=True)
            return subprocess.CompletedProcess(command, 128 - code if code > 128 else code, out, err)

        return run

    def find(self, package_id: str, slug: str) -> BuiltPackage | None:
        """Return the image of this package."""
        name = self._name(package_id, slug)
        with engine(BuildError) as client:
            try:
                image = client.images.get(name)
            except ImageNotFound:
                return None
        labels = image.labels or {}
        if labels.get("a360.package") != package_id:
            return None
        size = int(image.attrs["Size"])
        return BuiltPackage(self.name, name, str(image.id), size, labels.get("a360.lock", ""))

    def remove(self, package_id: str, slug: str) -> None:
        """Delete the image."""
        with engine(BuildError) as client:
            _remove_stale(client, package_id)
            with contextlib.suppress(ImageNotFound):
                client.images.remove(self._name(package_id, slug), force=True)

    def inspect(self, package_id: str, slug: str, work: Path) -> Subject:
        """Return what the image holds, as the engine writes it into a file."""
        archive = work / "image.tar"
        try:
            with engine(BuildError) as client, archive.open("wb") as file:
                for piece in client.images.get(self._name(package_id, slug)).save(chunk_size=_PIECE):
                    interruption.check()
                    file.write(piece)
            inventory = stock.of_archive(archive, Path(self.home, "cache", "stock"))
        except ImageNotFound as error:
            raise BuildError("The image is not there any more.", hint="Package again.") from error
        except OSError as error:
            raise storage_error(error) from error
        return Subject(inventory, archive=lambda: archive)

    def _name(self, package_id: str, slug: str) -> str:
        return f"{self.repository}/{slug}:{serving.tag(package_id)}"


def _remove_stale(client: docker.DockerClient, package_id: str) -> None:
    """Remove what a killed build of this package left: a container that checked it, an unnamed image."""
    left = client.containers.list(
        all=True, filters={"label": f"a360.validation={package_id}"}, ignore_removed=True
    )
    for container in left:
        with contextlib.suppress(NotFound):
            container.remove(force=True)
    for image in client.images.list(filters={"dangling": True, "label": f"a360.package={package_id}"}):
        with contextlib.suppress(docker.errors.APIError):
            client.images.remove(str(image.id), force=True)


def _wait(container: Container, timeout: float) -> int:
    """Return the exit code of a container once it has ended. Raises `TimeoutError` after so many seconds."""
    deadline = time.monotonic() + timeout
    while True:
        interruption.check()
        try:
            # The engine answers when it has ended; until then no answer comes in the time it is given.
            return int(container.wait(timeout=1)["StatusCode"])
        except (ReadTimeout, NoAnswer):
            if time.monotonic() > deadline:
                raise TimeoutError from None


def _pull(client: docker.DockerClient, name: str) -> None:
    """Pull an image. Raises `docker.errors.APIError`."""
    repository, tag = _split(name)
    for event in client.api.pull(repository, tag, stream=True, decode=True):
        interruption.check()
        if "error" in event:
            raise docker.errors.APIError(str(event["error"]))


def _split(name: str) -> tuple[str, str]:
    repository, colon, tag = name.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (name, "latest")


def _own_python() -> PythonTarget:
    return PythonTarget(
        base_image.PYTHON, serving.wheel_platform(platform.machine(), "glibc", base_image.GLIBC)
    )


def _probe(client: docker.DockerClient, name: str) -> tuple[str, PythonTarget, bool]:
    """Ask an image which Python it has, what wheels fit it, and whether ONNX Runtime is there."""
    try:
        container = client.containers.create(
            name, ["-c", _PROBE], entrypoint="python3", network_disabled=True, user=str(serving.USER)
        )
        try:
            container.start()
            container.wait(timeout=60)
            answer = container.logs(stdout=True, stderr=False)
        finally:
            container.remove(force=True)
        program, version, machine, libc, libc_version, has_runtime = json.loads(answer)
    except (docker.errors.APIError, ReadTimeout, NoAnswer, ValueError) as error:
        raise BuildError(
            f"The base image {name} has no Python 3 that can be run: {error}",
            hint="Choose an image with python3, or leave the field empty for the platform's own image.",
            field="base_image",
        ) from error
    python = PythonTarget(version, serving.wheel_platform(machine, libc, libc_version or "0.0"))
    return program, python, has_runtime


def _dockerfile(base: str, program: str, labels: Mapping[str, str]) -> str:
    lines = [
        f"FROM {base}",
        "COPY app /app",
        f"USER {serving.USER}:{serving.USER}",
        f"WORKDIR {serving.WORK_FOLDER}",
        f"EXPOSE {serving.PORT}",
        *(f"LABEL {json.dumps(key)}={json.dumps(value)}" for key, value in sorted(labels.items())),
        f"ENTRYPOINT {json.dumps(serving.entrypoint(program))}",
        f"CMD {json.dumps(serving.COMMAND)}",
    ]
    return "\n".join(lines) + "\n"


def _build(client: docker.DockerClient, dockerfile: str, folder: Path, name: str) -> Image:
    """Build from a Dockerfile and `folder`, which it sees under `name`."""
    with _context(dockerfile, folder, name) as file:
        try:
            # Only COPY and settings: no network is needed, and a cached step is the same by content.
            image, _ = client.images.build(
                fileobj=file, custom_context=True, rm=True, forcerm=True, network_mode="none"
            )
        except DockerBuildError as error:
            words = str(error.msg)
            if "no space left on device" in words:
                raise BuildError("No space is left on the disk of the Docker engine.") from error
            raise BuildError(f"The image could not be built: {words}") from error
    return image


@contextlib.contextmanager
def _context(dockerfile: str, folder: Path, name: str) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(dir=folder.parent) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            info = tarfile.TarInfo("Dockerfile")
            info.size = len(dockerfile.encode())
            tar.addfile(info, io.BytesIO(dockerfile.encode()))
            tar.add(folder, name, filter=_neutral)
        file.seek(0)
        yield file


def _neutral(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Make a member belong to root and readable for all, with a fixed time: the image's user owns nothing."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = serving.TIME
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info
