"""What a place to run endpoints does."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from traitlets import Callable, Float, Instance, Unicode, default
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import Health, Log, load_class
from a360_hub_service.backends.registries import Registry
from a360_hub_service.backends.targets.gateway import Gateway
from a360_hub_service.backends.targets.types import EndpointSpec, EndpointStatus, KeyRecord, TargetError


class Target(LoggingConfigurable):
    """A place where endpoints run. Used from several threads; calls for one slug wait for each other."""

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    builders: ClassVar[tuple[str, ...]] = ()
    """Names of the builders whose packages this target can run."""
    scales: ClassVar[bool] = False
    """Does it add replicas by itself when there are many calls?"""
    wrappers: ClassVar[tuple[str, ...]] = ("flask", "asgi")
    """Wrappers this target can run, those that speak HTTP unless it says otherwise."""
    needs_broker: ClassVar[bool] = False
    """Are its endpoints reached through a broker, whose users are who may ask? Then they have no keys."""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    start_timeout = Float(90.0, help="Seconds until a new endpoint must be ready.").tag(config=True)
    drain_timeout = Float(30.0, help="Seconds calls in progress may take when replicas stop.").tag(
        config=True
    )
    read_account = Callable(
        None,
        allow_none=True,
        help="Returns secret input and settings of a deployment target; from the application.",
    )
    gateway = Instance(Gateway, help="Where calls enter; handed over by the application.")
    registry = Instance(Registry, help="The registry of images; handed over by the application.")

    @default("registry")
    def _registry(self) -> Registry:
        return Registry(parent=self)

    def account_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Check the inputs of a deployment target; return them made plain, with what was found in them.

        Raises `TargetError` whose field names the input.
        """
        raise TargetError(f"The target {self.name} runs on no deployment target.")

    def at(self, account: str) -> "Target":
        """Return this target with the deployment target of this identifier, itself for "".

        Raises `TargetError` unless it takes its place from deployment targets.
        """
        if account:
            raise TargetError(f"The target {self.name} runs on no deployment target.", field="target")
        return self

    def health(self) -> Health:
        """Say whether endpoints can run here now."""
        raise NotImplementedError

    def apply(self, spec: EndpointSpec, log: Log) -> EndpointStatus:
        """Make `spec` what runs under its slug and return when it is ready behind the gateway.

        The same spec again changes nothing; another one replaces what runs, and calls go on meanwhile. Call
        `write_keys` first. Raises `TargetError`; what ran before keeps running then.
        """
        raise NotImplementedError

    def status(self, slug: str) -> EndpointStatus:
        """Return what runs under `slug` now; status ``absent`` when nothing does."""
        raise NotImplementedError

    def remove(self, slug: str, log: Log) -> None:
        """Take the endpoint away: route, replicas, keys, folder. One that is not there is no error."""
        raise NotImplementedError

    def slugs(self) -> list[str]:
        """Return the slugs of the endpoints of this target."""
        raise NotImplementedError

    def write_keys(self, slug: str, keys: Sequence[KeyRecord]) -> None:
        """Replace the keys that open this endpoint. Replicas follow without a restart."""
        raise NotImplementedError

    def key_use(self, slug: str) -> dict[str, float]:
        """Return when each key last opened this endpoint, by its id, in seconds of the epoch.

        Only what the replicas that run now have seen; empty where they cannot be asked.
        """
        return {}

    def logs(self, slug: str, lines: int = 100) -> str:
        """Return the last lines the replicas wrote."""
        raise NotImplementedError

    def restore(self, log: Log) -> None:
        """Put back what should run and does not, after a restart of machine or service. Safe at any time."""
        raise NotImplementedError


TARGETS: dict[str, str] = {
    "process": "a360_hub_service.backends.targets.process.ProcessTarget",
    "docker": "a360_hub_service.backends.targets.docker.DockerTarget",
    "kubernetes": "a360_hub_service.backends.targets.kubernetes.KubernetesTarget",
    "clearblade": "a360_hub_service.backends.targets.clearblade.ClearbladeTarget",
}


def target_class(name: str) -> type[Target]:
    """Return the target called `name`: of `TARGETS`, an entry point of ``a360.targets`` or a dotted path."""
    return load_class(name, Target, "a360.targets", TARGETS)
