"""Places where endpoints run, and the gateway calls enter by."""

from a360_hub_service.backends.targets.base import TARGETS, Target, target_class
from a360_hub_service.backends.targets.gateway import Gateway
from a360_hub_service.backends.targets.types import (
    EndpointSpec,
    EndpointStatus,
    KeyRecord,
    ReplicaStatus,
    TargetError,
)

__all__ = [
    "TARGETS",
    "EndpointSpec",
    "EndpointStatus",
    "Gateway",
    "KeyRecord",
    "ReplicaStatus",
    "Target",
    "TargetError",
    "target_class",
]
