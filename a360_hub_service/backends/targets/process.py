"""Endpoints as plain processes of this machine."""

import contextlib
import fcntl
import hashlib
import http.client
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from traitlets import Bool, Unicode

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.images.base import BuiltPackage
from a360_hub_service.backends.targets.base import Target
from a360_hub_service.backends.targets.gateway import free_port
from a360_hub_service.backends.targets.limits import Limits, plan_limits
from a360_hub_service.backends.targets.supervised import (
    ProcessSpec,
    RunFolder,
    read_json,
    write_json,
)
from a360_hub_service.backends.targets.types import (
    EndpointSpec,
    EndpointStatus,
    KeyRecord,
    ReplicaStatus,
    TargetError,
)

_HOST = "127.0.0.1"
_PATIENCE = 3
"""Restarts of a new replica after which waiting for it ends."""


class ProcessTarget(Target):
    """Runs bundles as processes, each endpoint under a small supervisor that outlives hub and service."""

    name: ClassVar[str] = "process"
    description: ClassVar[str] = "Processes on the machine of the platform."
    builders: ClassVar[tuple[str, ...]] = ("bundle",)

    python = Unicode(sys.executable, help="The Python that runs the endpoints.").tag(config=True)
    use_cgroups = Bool(True, help="Limit CPU and memory by control groups where they can be written.").tag(
        config=True
    )

    def health(self) -> Health:
        """Say whether processes can be run and kept up here."""
        if not sys.platform.startswith("linux"):
            return Health(False, "Endpoints as processes need Linux.")
        asked = EndpointSpec("probe", BuiltPackage("bundle", "", "", 0), cpu_limit=1, memory_limit=1)
        limits = plan_limits(asked, "probe", use_cgroups=self.use_cgroups)
        gateway = self.gateway.health()
        note = "" if limits.cgroups else "Without control groups CPU limits are not enforced."
        return Health(gateway.available, note if gateway.available else gateway.reason)

    def apply(self, spec: EndpointSpec, log: Log) -> EndpointStatus:
        """Make `spec` what runs; see `Target.apply`."""
        bundle = self._check(spec)
        with self._locked(spec.slug):
            name, folder = self._revision(spec)
            fresh = self._current(spec.slug) != name
            try:
                if not folder.processes():
                    limits = self._write(spec, folder, bundle)
                    log(f"Limits: {limits.note}")
                log(f"Starting {spec.replicas} replica{'s' * (spec.replicas != 1)} of {spec.slug}.")
                folder.start()
                self._wait_until_ready(spec.slug, folder)
                self.gateway.ensure_running(log)
                self.gateway.set_route(spec.slug, [f"{_HOST}:{each.port}" for each in folder.processes()])
            except (TargetError, OSError) as error:
                if fresh:
                    self._undo(spec.slug, folder)
                raise _as_target_error(error) from error
            record = {"revision": name, "spec": asdict(spec), "limits": self._plan(spec, name, 0).note}
            write_json(self._home(spec.slug) / "endpoint.json", record)
            self._remove_others(spec.slug, name, log)
            log(f"{spec.slug} is ready at {self.gateway.url(spec.slug)}.")
            return self.status(spec.slug)

    def _check(self, spec: EndpointSpec) -> Path:
        """Return the folder of the bundle. Raises `TargetError` when it cannot be run here."""
        if spec.package.builder not in self.builders:
            raise TargetError(
                f"The process target runs bundles, and the package is made by {spec.package.builder}.",
                hint="Package again with the bundle builder, or choose another target.",
                field="target",
            )
        bundle = Path(spec.package.reference)
        manifest = read_json(bundle / "a360.json")
        if not manifest:
            raise TargetError(f"The package {bundle.parent.name} is gone.", hint="Package the model again.")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if self.python == sys.executable and manifest["python"] != version:
            raise TargetError(
                f"The package is made for Python {manifest['python']}, the platform runs {version} now.",
                hint="Package the model again.",
            )
        return bundle

    def _revision(self, spec: EndpointSpec) -> tuple[str, RunFolder]:
        """Return the name and folder of what `spec` runs as; labels change nothing that runs."""
        seen = asdict(spec) | {"labels": None, "package": spec.package.digest, "python": self.python}
        name = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:12]
        return name, RunFolder(self._home(spec.slug) / "revisions" / name)

    def _write(self, spec: EndpointSpec, folder: RunFolder, bundle: Path) -> Limits:
        processes = []
        for index in range(spec.replicas):
            port = free_port(_HOST)
            limits = self._plan(spec, folder.path.name, index)
            argv = [self.python, "-I", "-S", str(bundle / "run.py"), "--host", _HOST, "--port", str(port)]
            env = self._environment(spec, folder)
            name = f"replica-{index}"
            work = str(folder.path / "work")
            processes.append(ProcessSpec(name, argv, env, work, port, limits.cgroups, limits.rlimits))
        folder.write(processes, self.drain_timeout)
        return limits

    def _plan(self, spec: EndpointSpec, revision: str, index: int) -> Limits:
        return plan_limits(spec, f"{spec.slug}-{revision}-{index}", use_cgroups=self.use_cgroups)

    def _environment(self, spec: EndpointSpec, folder: RunFolder) -> dict[str, str]:
        """Return all a replica sees: what the form says, and ours, which it cannot change."""
        work = str(folder.path / "work")
        threads = math.ceil(spec.cpu_limit) if spec.cpu_limit else os.cpu_count() or 1
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            **spec.environment,
            "HOME": work,
            "TMPDIR": work,
            "A360_KEYS_FILE": str(self._keys_file(spec.slug)),
            "A360_THREADS": str(threads),
            "A360_DRAIN_SECONDS": str(max(1, int(self.drain_timeout))),
        }

    def _wait_until_ready(self, slug: str, folder: RunFolder) -> None:
        deadline = time.monotonic() + self.start_timeout
        processes = folder.processes()
        before = {name: state.restarts for name, state in folder.states().items()}
        while not all(is_ready(f"{_HOST}:{each.port}") for each in processes):
            states = folder.states()
            crashing = [
                state for name, state in states.items() if state.restarts - before.get(name, 0) >= _PATIENCE
            ]
            if crashing or time.monotonic() > deadline:
                why = (
                    f"keeps crashing ({crashing[0].message})" if crashing else "did not become ready in time"
                )
                raise TargetError(
                    f"The endpoint {slug} {why}. Its last lines:\n{folder.tail(20)}",
                    hint="Correct the script and package again, or give the endpoint more memory.",
                )
            time.sleep(0.05)

    def _undo(self, slug: str, folder: RunFolder) -> None:
        """Leave nothing of a revision that did not come up; an endpoint that never ran goes altogether."""
        folder.delete(0)
        if not self._current(slug):
            with contextlib.suppress(TargetError):
                self.gateway.remove_route(slug)
            shutil.rmtree(self._home(slug), ignore_errors=True)

    def _remove_others(self, slug: str, keep: str, log: Log) -> None:
        for path in sorted(self._home(slug).glob("revisions/*")):
            if path.name != keep:
                log("Stopping the replicas it replaces.")
                RunFolder(path).delete(self.drain_timeout)

    def status(self, slug: str) -> EndpointStatus:
        """Return what runs under `slug` now."""
        record = read_json(self._home(slug) / "endpoint.json")
        if not record:
            return EndpointStatus(slug, self.name, "absent")
        folder = RunFolder(self._home(slug) / "revisions" / record["revision"])
        states = folder.states()
        items = tuple(self._replica(each, states) for each in folder.processes())
        ready = sum(item.ready for item in items)
        status = "running" if ready == len(items) else "degraded" if ready else "starting"
        return EndpointStatus(
            slug=slug,
            target=self.name,
            status=status,
            url=self.gateway.url(slug),
            replicas=len(items),
            ready_replicas=ready,
            items=items,
            limits=record["limits"],
            package=record["spec"]["package"]["reference"],
        )

    def _replica(self, process: ProcessSpec, states: dict[str, Any]) -> ReplicaStatus:
        state = states.get(process.name)
        address = f"{_HOST}:{process.port}"
        if state is None:
            return ReplicaStatus(process.name, address, ready=False, message="not started")
        ready = bool(state.pid) and is_ready(address)
        message = "" if ready else state.message
        return ReplicaStatus(process.name, address, ready, str(state.pid or ""), state.restarts, message)

    def remove(self, slug: str, log: Log) -> None:
        """Take the endpoint away; see `Target.remove`."""
        if not self._home(slug).exists():
            return
        with self._locked(slug):
            log(f"Taking {slug} off the gateway.")
            self.gateway.remove_route(slug)
            for path in sorted(self._home(slug).glob("revisions/*")):
                RunFolder(path).delete(self.drain_timeout)
            shutil.rmtree(self._home(slug), ignore_errors=True)
            log(f"{slug} is withdrawn.")

    def slugs(self) -> list[str]:
        """Return the slugs of the endpoints of this target."""
        return sorted(file.parent.name for file in Path(self.home, "endpoints").glob("*/endpoint.json"))

    def write_keys(self, slug: str, keys: Sequence[KeyRecord]) -> None:
        """Replace the keys that open this endpoint."""
        file = self._keys_file(slug)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, [asdict(key) | {"expires_at": key.expires_at or None} for key in keys])

    def logs(self, slug: str, lines: int = 100) -> str:
        """Return the last lines the replicas wrote."""
        name = self._current(slug)
        return RunFolder(self._home(slug) / "revisions" / name).tail(lines) if name else ""

    def restore(self, log: Log) -> None:
        """Start supervisors that are gone; they adopt replicas that still run."""
        slugs = self.slugs()
        for slug in slugs:
            with self._locked(slug):
                folder = RunFolder(self._home(slug) / "revisions" / self._current(slug))
                if not folder.is_supervised():
                    log(f"Putting {slug} back to work.")
                    folder.start()
        if slugs:
            self.gateway.ensure_running(log)

    def _current(self, slug: str) -> str:
        return str(read_json(self._home(slug) / "endpoint.json").get("revision", ""))

    def _keys_file(self, slug: str) -> Path:
        return self._home(slug) / "keys" / "keys.json"

    def _home(self, slug: str) -> Path:
        if not slug.replace("-", "").isalnum():
            raise TargetError(f"{slug!r} is not a name of an endpoint.")
        return Path(self.home, "endpoints", slug).absolute()

    @contextlib.contextmanager
    def _locked(self, slug: str) -> Iterator[None]:
        """Let one caller at a time change an endpoint, of all threads and processes."""
        folder = Path(self.home, "endpoints")
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f".{slug}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def is_ready(address: str) -> bool:
    """Does a replica at host:port say that it is ready?"""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _as_target_error(error: TargetError | OSError) -> TargetError:
    if isinstance(error, TargetError):
        return error
    return TargetError(
        f"The endpoint could not be stored: {error.strerror or error}.", hint="Free disk space."
    )
