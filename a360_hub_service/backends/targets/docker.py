"""Endpoints as containers of the Docker engine of this machine."""

import contextlib
from pathlib import Path
from typing import Any, ClassVar

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from traitlets import Int, Unicode

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.engine import engine, engine_health
from a360_hub_service.backends.targets.engine_images import EngineImages, engine_name, is_brought
from a360_hub_service.backends.targets.local import HOST, LocalTarget, is_ready
from a360_hub_service.backends.targets.ports import reserved_ports
from a360_hub_service.backends.targets.types import EndpointSpec, ReplicaStatus, TargetError

_PORT = 8080
_ATTEMPTS = 5


class DockerTarget(LocalTarget):
    """Runs images as containers; the engine keeps them up."""

    name: ClassVar[str] = "docker"
    description: ClassVar[str] = "Containers of the Docker engine on the machine of the platform."
    builders: ClassVar[tuple[str, ...]] = ("docker", "oci")

    prefix = Unicode("a360", help="First part of the names of containers.").tag(config=True)
    tmp_size = Int(64, help="MB a replica may write to its /tmp, which is memory.").tag(config=True)

    def health(self) -> Health:
        """Say whether an engine answers and the gateway can."""
        found = engine_health()
        return found if not found.available or self.gateway.health().available else self.gateway.health()

    def _check(self, spec: EndpointSpec, log: Log) -> None:
        super()._check(spec, log)
        with engine(TargetError) as client:
            self._images(log).bring(client, spec.package)

    def _images(self, log: Log) -> EngineImages:
        return EngineImages(self.registry, log)

    def _start(self, spec: EndpointSpec, revision: str) -> str:
        with engine(TargetError) as client:
            # After a restart of the machine it may be gone.
            self._images(self.log.info).bring(client, spec.package)
            for index in range(spec.replicas):
                self._start_one(client, spec, revision, f"{self.prefix}-{spec.slug}-{revision}-{index}")
        asked = [
            f"CPU limit {spec.cpu_limit:g}" if spec.cpu_limit else "",
            f"memory limit {spec.memory_limit:g} GB" if spec.memory_limit else "",
        ]
        return f"{', '.join(filter(None, asked)) or 'none asked for'} (container)."

    def _start_one(self, client: docker.DockerClient, spec: EndpointSpec, revision: str, name: str) -> None:
        """Start one container on a free port, unless it is there; it keeps that port for life."""
        with contextlib.suppress(NotFound):
            found = client.containers.get(name)
            if found.status != "created":
                if found.status != "running":
                    found.start()
                return
            found.remove(force=True)
        for attempt in range(_ATTEMPTS):
            with reserved_ports(Path(self.home).absolute(), 1) as (port,):
                container = client.containers.create(**self._options(spec, revision, name, port))
                try:
                    container.start()
                    return
                except APIError as error:
                    container.remove(force=True)
                    taken = "port is already allocated" in str(error) or "address already in use" in str(
                        error
                    )
                    if not taken or attempt == _ATTEMPTS - 1:
                        raise

    def _options(self, spec: EndpointSpec, revision: str, name: str, port: int) -> dict[str, Any]:
        own = {"a360.slug": spec.slug, "a360.revision": revision, "a360.prefix": self.prefix}
        own |= {"a360.image": "brought"} if is_brought(spec.package) else {}
        return {
            "image": engine_name(spec.package),
            "name": name,
            "detach": True,
            "environment": self._environment(spec, "/keys", "/tmp"),  # noqa: S108
            "ports": {f"{_PORT}/tcp": (HOST, port)},
            # The folder, not the file: keys are replaced by renaming, a mounted file would stay the old one.
            "volumes": {str(self._home(spec.slug) / "keys"): {"bind": "/keys", "mode": "ro"}},
            "labels": dict(spec.labels) | own,
            "restart_policy": {"Name": "unless-stopped"},
            "read_only": True,
            "tmpfs": {"/tmp": f"rw,nosuid,nodev,size={self.tmp_size}m"},  # noqa: S108
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": 512,
            "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "2"}},
            **engine_limits(spec),
        }

    def _replicas(self, slug: str, revision: str) -> list[ReplicaStatus]:
        with engine(TargetError) as client:
            return [_replica(each, self.prefix) for each in self._containers(client, slug, revision)]

    def _containers(self, client: docker.DockerClient, slug: str, revision: str = "") -> list[Container]:
        labels = [f"a360.slug={slug}", f"a360.prefix={self.prefix}"]
        labels += [f"a360.revision={revision}"] if revision else []
        found = client.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return sorted(found, key=lambda container: str(container.name))

    def _revisions(self, slug: str) -> list[str]:
        with engine(TargetError) as client:
            return sorted({each.labels["a360.revision"] for each in self._containers(client, slug)})

    def _delete(self, slug: str, revision: str, drain_seconds: float) -> None:
        with engine(TargetError) as client:
            brought = set()
            for container in self._containers(client, slug, revision):
                if container.labels.get("a360.image") == "brought":
                    brought.add(str(container.attrs["Image"]))
                with contextlib.suppress(NotFound):
                    container.stop(timeout=int(drain_seconds))
                    container.remove(force=True)
            for image in brought:
                # The engine refuses while another revision runs it.
                with contextlib.suppress(APIError):
                    client.images.remove(image)

    def _tail(self, slug: str, revision: str, lines: int) -> str:
        with engine(TargetError) as client:
            found = self._containers(client, slug, revision)
            return "\n".join(each.logs(tail=lines).decode("utf-8", "replace").rstrip() for each in found)


def engine_limits(spec: EndpointSpec) -> dict[str, Any]:
    """Return the limits of `spec` as the engine takes them for a container."""
    limits: dict[str, Any] = {}
    if spec.memory_limit:
        # No swap beside it: a replica that wants more memory than its limit ends and is started again.
        limits["mem_limit"] = limits["memswap_limit"] = int(spec.memory_limit * 1e9)
    if spec.memory_request:
        limits["mem_reservation"] = int(spec.memory_request * 1e9)
    if spec.cpu_limit:
        limits["nano_cpus"] = int(spec.cpu_limit * 1e9)
    if spec.cpu_request:
        limits["cpu_shares"] = max(2, int(spec.cpu_request * 1024))
    return limits


def _replica(container: Container, prefix: str) -> ReplicaStatus:
    bindings = container.attrs["HostConfig"]["PortBindings"][f"{_PORT}/tcp"][0]
    address = f"{HOST}:{bindings['HostPort']}"
    state = container.attrs["State"]
    ready = state["Status"] == "running" and is_ready(address)
    message = ""
    if not ready:
        reason = "ran out of memory" if state.get("OOMKilled") else f"ended with code {state.get('ExitCode')}"
        message = state.get("Error") or (reason if state["Status"] != "running" else "starting")
    name = str(container.name).removeprefix(f"{prefix}-")
    return ReplicaStatus(
        name, address, ready, str(container.short_id), container.attrs["RestartCount"], message
    )
