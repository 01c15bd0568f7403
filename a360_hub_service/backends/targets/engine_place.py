"""A Docker engine as the place of an MQTT wrapper, on this machine or at the edge."""

import contextlib
import io
import json
import tarfile
from typing import Any, cast
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.engine import engine
from a360_hub_service.backends.images import serving
from a360_hub_service.backends.registries import Registry
from a360_hub_service.backends.targets.docker import engine_limits
from a360_hub_service.backends.targets.engine_images import EngineImages, engine_name
from a360_hub_service.backends.targets.places import SECRETS, PlaceState, settings_of
from a360_hub_service.backends.targets.types import EndpointSpec, TargetError
from a360runtime.serving.mqtt.health import FORGET

_STATE = "/state"
_JOURNAL = f"{_STATE}/journal"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class EnginePlace:
    """Runs images as containers. Files go in and out by the engine's API, so the engine may be far away.

    Parameters
    ----------
    registry
        Where images come from.
    url
        The engine's address; "" for that of this machine.
    prefix
        First part of the names of containers and volumes.
    drain_seconds
        How long a wrapper that stops may take to bring its answers out.
    """

    def __init__(self, registry: Registry, url: str, prefix: str, drain_seconds: float) -> None:
        self._registry, self._url, self._prefix, self._drain = registry, url, prefix, drain_seconds

    def check(self, spec: EndpointSpec, log: Log) -> None:
        """See that the engine has the image, or bring it."""
        with self._engine() as client:
            EngineImages(self._registry, log).bring(client, spec.package)

    def start(self, spec: EndpointSpec, revision: str) -> str:
        """Start the container; see `Place.start`."""
        with self._engine() as client:
            container = self._find(client, spec.slug, revision)
            if container is None:
                container = client.containers.create(**self._options(client, spec, revision))
                try:
                    container.put_archive(_STATE, _files(spec, revision))
                except APIError:
                    container.remove(force=True)
                    raise
            container.start()
        asked = [
            f"CPU limit {spec.cpu_limit:g}" if spec.cpu_limit else "",
            f"memory limit {spec.memory_limit:g} GB" if spec.memory_limit else "",
        ]
        return f"{', '.join(filter(None, asked)) or 'none asked for'} (container)."

    def resume(self, slug: str, revision: str) -> None:
        """Start a stopped container again."""
        with self._engine() as client:
            if container := self._find(client, slug, revision):
                container.start()

    def state(self, slug: str, revision: str) -> PlaceState | None:
        """Return what runs of a revision; the wrapper is asked by its own health check."""
        with self._engine() as client:
            container = self._find(client, slug, revision)
            if container is None:
                return None
            found, restarts = container.attrs["State"], int(container.attrs["RestartCount"])
            if found["Status"] != "running":
                ended = f"ended with code {found.get('ExitCode')}"
                reason = "ran out of memory" if found.get("OOMKilled") else ended
                return PlaceState("", False, restarts, found.get("Error") or reason, {})
            ready, health = _ask(container)
        message = str(health.get("message", "starting"))
        return PlaceState(str(container.short_id), ready, restarts, message, health)

    def stop(self, slug: str, revision: str, seconds: float, *, forget: bool = False) -> None:
        """Stop the container; see `Place.stop`."""
        with self._engine() as client:
            if container := self._find(client, slug, revision):
                if forget:
                    container.put_archive(_JOURNAL, _archive([_file(FORGET, b"")]))
                container.stop(timeout=int(seconds) + 10)

    def revisions(self, slug: str) -> list[str]:
        """Return the revisions there are."""
        with self._engine() as client:
            return sorted(each.labels["a360.revision"] for each in self._containers(client, slug))

    def delete(self, slug: str, revision: str) -> None:
        """Remove a container, and the image that was brought for it."""
        with self._engine() as client:
            if container := self._find(client, slug, revision):
                image = str(container.attrs["Image"])
                container.remove(force=True)
                if container.labels.get("a360.image") == "brought":
                    # The engine refuses while another container is made from it.
                    with contextlib.suppress(APIError):
                        client.images.remove(image)

    def clear(self, slug: str) -> None:
        """Remove the volume of the state."""
        with self._engine() as client, contextlib.suppress(NotFound):
            client.volumes.get(self._volume(slug)).remove(force=True)

    def tail(self, slug: str, revision: str, lines: int) -> str:
        """Return the last lines the container wrote."""
        with self._engine() as client:
            container = self._find(client, slug, revision)
            return container.logs(tail=lines).decode("utf-8", "replace").rstrip() if container else ""

    def _engine(self) -> "contextlib.AbstractContextManager[docker.DockerClient]":
        return engine(TargetError, url=self._url)

    def _volume(self, slug: str) -> str:
        return f"{self._prefix}-{slug}-mqtt"

    def _containers(self, client: docker.DockerClient, slug: str) -> list[Container]:
        labels = [f"a360.mqtt={slug}", f"a360.prefix={self._prefix}"]
        found: list[Container] = client.containers.list(
            all=True, filters={"label": labels}, ignore_removed=True
        )
        return found

    def _find(self, client: docker.DockerClient, slug: str, revision: str) -> Container | None:
        found = self._containers(client, slug)
        return next((each for each in found if each.labels["a360.revision"] == revision), None)

    def _options(self, client: docker.DockerClient, spec: EndpointSpec, revision: str) -> dict[str, Any]:
        image = client.images.get(engine_name(spec.package))
        own = {"a360.mqtt": spec.slug, "a360.revision": revision, "a360.prefix": self._prefix}
        own |= {"a360.image": "brought"} if spec.package.builder == "oci" else {}
        check = ["CMD", *image.attrs["Config"]["Entrypoint"], "--healthcheck"]
        environment = settings_of(spec, _JOURNAL, f"{_STATE}/{revision}", self._drain)
        broker = urlsplit(spec.broker["A360_MQTT_URL"]).hostname or ""
        return {
            "image": image.id,
            "name": f"{self._prefix}-{spec.slug}-{revision}-mqtt",
            "environment": environment | {"HOME": "/tmp", "TMPDIR": "/tmp"},  # noqa: S108
            # A broker on the engine's own machine is not seen from a network of containers.
            **({"network_mode": "host"} if broker in _THIS_MACHINE else {}),
            "volumes": {self._volume(spec.slug): {"bind": _STATE, "mode": "rw"}},
            "labels": dict(spec.labels) | own,
            "healthcheck": {"test": check, "interval": 30 * 10**9, "timeout": 10 * 10**9, "retries": 3},
            "restart_policy": {"Name": "unless-stopped"},
            "read_only": True,
            "tmpfs": {"/tmp": "rw,nosuid,nodev,size=64m"},  # noqa: S108
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": 256,
            "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "2"}},
            **engine_limits(spec),
        }


def _ask(container: Container) -> tuple[bool, dict[str, Any]]:
    """Run the wrapper's health check in its container; its clock and its files are the ones that count."""
    command = [*container.attrs["Config"]["Entrypoint"], "--healthcheck"]
    try:
        code, said = container.exec_run(command)
        return code == 0, dict(json.loads(cast(bytes, said)))
    except (APIError, ValueError):
        # It has ended just now, or is about to.
        return False, {}


def _files(spec: EndpointSpec, revision: str) -> bytes:
    """Return an archive of the journal's folder and the secrets, which are the wrapper's alone."""
    secrets = [(name, spec.broker.get(name, "")) for name in SECRETS]
    files = [_file(f"{revision}/{name}", value.encode()) for name, value in secrets if value]
    return _archive([_folder("journal"), _folder(revision), *files])


def _archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    info, _ = _file(name, b"")
    info.type, info.mode = tarfile.DIRTYPE, 0o700
    return info, b""


def _file(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uid, info.gid = len(content), 0o400, serving.USER, serving.USER
    return info, content
