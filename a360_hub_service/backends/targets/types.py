"""The words targets speak: what should run, and what does."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.images.base import BuiltPackage


class TargetError(BackendError):
    """An endpoint could not be run, changed or removed."""


@dataclass(frozen=True)
class KeyRecord:
    """One key that opens an endpoint; only its SHA-256 is kept. `expires_at`: ISO-8601 UTC, "" is never."""

    id: str
    sha256: str
    expires_at: str = ""


@dataclass(frozen=True)
class EndpointSpec:
    """What should run. CPUs are cores, memory is in GB (1e9 bytes); 0 is no limit.

    `max_replicas` above `replicas` lets a target that scales add some; `project` is the slug of the project,
    for targets that keep projects apart.
    `broker` are the settings of the MQTT wrapper (``A360_MQTT_...``), secrets among them.
    """

    slug: str
    package: BuiltPackage
    replicas: int = 1
    cpu_request: float = 0.0
    cpu_limit: float = 0.0
    memory_request: float = 0.0
    memory_limit: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    max_replicas: int = 0
    project: str = ""
    broker: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ReplicaStatus:
    """One replica. `address` is host:port for the gateway, `identity` a pid or a container id."""

    name: str
    address: str
    ready: bool
    identity: str = ""
    restarts: int = 0
    message: str = ""


@dataclass(frozen=True)
class EndpointStatus:
    """What runs. `status` is running, degraded (some replicas ready), starting (none ready) or absent.

    `limits` says in words which limits the machine applies; `package` is the reference of what is served.
    """

    slug: str
    target: str
    status: str
    url: str = ""
    replicas: int = 0
    ready_replicas: int = 0
    items: tuple[ReplicaStatus, ...] = ()
    limits: str = ""
    package: str = ""
    message: str = ""
