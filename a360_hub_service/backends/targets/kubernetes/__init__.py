"""Endpoints in Kubernetes clusters."""

from a360_hub_service.backends.targets.kubernetes.target import KubernetesTarget

__all__ = ["KubernetesTarget"]
