"""What use cases are handed: the caller, the settings of the operator, and everything outside the service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..database import Database
from ..policy import Role

if TYPE_CHECKING:
    from ..backends.git.base import CodeSource
    from ..backends.images.base import ImageBuilder
    from ..backends.registries import Registry
    from ..backends.scanners.base import Scanner
    from ..backends.storage.base import StorageFactory
    from ..backends.targets.base import Target
    from ..hub.client import HubClient
    from ..jobs.engine import JobEngine
    from ..secrets import Secrets


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is asking: a Hub user, with the groups the Hub names and the roles those give here."""

    name: str
    groups: tuple[str, ...] = ()
    roles: frozenset[Role] = frozenset()


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices of the operator that use cases need; set by traits of the application.

    Attributes
    ----------
    home
        The state directory.
    public_url
        Where browsers find the service, without a trailing slash.
    self_review_allowed
        Whether submitters may review their own models (C12).
    default_builder, default_target
        Names used when a form leaves the choice open.
    local_volumes
        Whether data repos may be folders of this machine.
    max_upload_bytes
        Most bytes of one uploaded file.
    run_lease_seconds
        How long a run may be without a heartbeat.
    tend_seconds
        How long the service waits before it looks after endpoints again.
    scan_stops
        Severities of findings that stop a package, in lower case.
    scan_unknown
        What becomes of a package about which something is unknown: ``warn`` or ``stop``.
    key_use_seconds
        How often replicas are asked when their keys were used.
    """

    home: Path
    public_url: str = ""
    self_review_allowed: bool = False
    default_builder: str = ""
    default_target: str = "process"
    local_volumes: bool = True
    max_upload_bytes: int = 5 * 1024**3
    run_lease_seconds: int = 180
    tend_seconds: float = 30.0
    scan_stops: frozenset[str] = frozenset({"high", "critical"})
    scan_unknown: str = "warn"
    key_use_seconds: float = 60.0


@dataclass(slots=True)
class Context:
    """The service's parts, wired once by the application."""

    settings: Settings
    database: Database
    secrets: "Secrets"
    storages: "StorageFactory"
    hub: "HubClient"
    jobs: "JobEngine"
    git: "CodeSource"
    registry: "Registry"
    builders: "Mapping[str, ImageBuilder]" = field(default_factory=dict)
    targets: "Mapping[str, Target]" = field(default_factory=dict)
    scanners: "Sequence[Scanner]" = ()
