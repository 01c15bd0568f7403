"""Registries of container images."""

from a360_hub_service.backends.registries.client import Descriptor, RegistryClient
from a360_hub_service.backends.registries.login import Login
from a360_hub_service.backends.registries.names import ImageName
from a360_hub_service.backends.registries.registry import Registry

__all__ = ["Descriptor", "ImageName", "Login", "Registry", "RegistryClient"]
