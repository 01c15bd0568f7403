"""Packages: bundles and container images."""

from a360_hub_service.backends.images.base import (
    ARTIFACT_NAMES,
    BUILDERS,
    BuildError,
    BuildRequest,
    BuiltPackage,
    ImageBuilder,
    builder_class,
)

__all__ = [
    "ARTIFACT_NAMES",
    "BUILDERS",
    "BuildError",
    "BuildRequest",
    "BuiltPackage",
    "ImageBuilder",
    "builder_class",
]
