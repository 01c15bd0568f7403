"""Endpoints as plain processes of this machine."""

import sys
from pathlib import Path
from typing import ClassVar

from traitlets import Bool, Unicode

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.images.base import BuiltPackage
from a360_hub_service.backends.targets.limits import plan_limits
from a360_hub_service.backends.targets.local import HOST, LocalTarget, is_ready
from a360_hub_service.backends.targets.ports import reserved_ports
from a360_hub_service.backends.targets.supervised import ProcessSpec, ProcessState, RunFolder, read_json
from a360_hub_service.backends.targets.types import EndpointSpec, ReplicaStatus, TargetError


class ProcessTarget(LocalTarget):
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

    def _check(self, spec: EndpointSpec, log: Log) -> None:
        super()._check(spec, log)
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

    def _start(self, spec: EndpointSpec, revision: str) -> str:
        folder = self._folder(spec.slug, revision)
        plans = [
            plan_limits(spec, f"{spec.slug}-{revision}-{index}", use_cgroups=self.use_cgroups)
            for index in range(spec.replicas)
        ]
        if not folder.processes():
            env = self._environment(spec, str(self._home(spec.slug) / "keys"), str(folder.path / "work"))
            program = [self.python, "-I", "-S", str(Path(spec.package.reference, "run.py")), "--host", HOST]
            cwd = str(folder.path / "work")
            with reserved_ports(Path(self.home).absolute(), spec.replicas) as ports:
                processes = [
                    ProcessSpec(
                        name=f"replica-{index}",
                        argv=[*program, "--port", str(port)],
                        env=env,
                        cwd=cwd,
                        port=port,
                        cgroups=limits.cgroups,
                        rlimits=limits.rlimits,
                    )
                    for index, (port, limits) in enumerate(zip(ports, plans, strict=True))
                ]
                folder.write(processes, self.drain_timeout)
        folder.start()
        return plans[0].note

    def _replicas(self, slug: str, revision: str) -> list[ReplicaStatus]:
        folder = self._folder(slug, revision)
        states = folder.states()
        return [_replica(process, states.get(process.name)) for process in folder.processes()]

    def _revisions(self, slug: str) -> list[str]:
        return sorted(path.name for path in self._home(slug).glob("revisions/*"))

    def _delete(self, slug: str, revision: str, drain_seconds: float) -> None:
        self._folder(slug, revision).delete(drain_seconds)

    def _tail(self, slug: str, revision: str, lines: int) -> str:
        return self._folder(slug, revision).tail(lines)

    def _folder(self, slug: str, revision: str) -> RunFolder:
        return RunFolder(self._home(slug) / "revisions" / revision)


def _replica(process: ProcessSpec, state: ProcessState | None) -> ReplicaStatus:
    address = f"{HOST}:{process.port}"
    if state is None:
        return ReplicaStatus(process.name, address, ready=False, message="not started")
    ready = bool(state.pid) and is_ready(address)
    message = "" if ready else state.message
    return ReplicaStatus(process.name, address, ready, str(state.pid or ""), state.restarts, message)
