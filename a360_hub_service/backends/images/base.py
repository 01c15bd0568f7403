"""What a package is made of, and what a builder of packages does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from traitlets import Instance, Unicode, default
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import BackendError, Health, Log, load_class
from a360_hub_service.backends.images.inventory import Inventory, Subject
from a360_hub_service.backends.registries import Registry

ARTIFACT_NAMES = ("trained_model", "preprocessor", "baseline")
"""Artifacts of the final run that go into a package; only the first is required."""


WRAPPERS = ("flask", "asgi", "mqtt")
"""What can be put around a script; the first is the usual one."""


class BuildError(BackendError):
    """A package could not be made."""


def without_runtime(base: object) -> BuildError:
    """Return the error of a base image of a user's that models cannot be served on (F302)."""
    return BuildError(
        f"The base image {base} does not hold ONNX Runtime.",
        hint="Install onnxruntime in it, or leave the field empty for the platform's own image.",
        field="base_image",
    )


@dataclass(frozen=True, kw_only=True)
class ScriptForm:
    """What the form of a package says about its script, wherever the repository is.

    `listen_topic` and `respond_topic` are of the wrapper ``mqtt`` only.
    `script_name` and `dependencies` are paths with forward slashes: the first from the root of the
    repository, the second from the script's folder, or else from the root.
    """

    script_name: str
    call_function: str = "predict"
    wrapper: str = "flask"
    dependencies: str = "requirements.txt"
    input_format: str = "JSON"
    output_format: str = "JSON"
    validation_input: str = ""
    validation_output: str = ""
    base_image: str = ""
    listen_topic: str = ""
    respond_topic: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildRequest(ScriptForm):
    """All a builder needs to make one package.

    `manifest` holds what is known of the model (project, model_name, version, model_flavor,
    input_signature, output_signature, feature_names, pipeline_name ...); the builder adds what it finds out
    (script, lock_sha256, python) and what this request says.
    """

    package_id: str
    slug: str
    manifest: Mapping[str, object]
    artifact_files: Mapping[str, Path]
    repo_dir: Path
    commit: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltPackage:
    """A finished package.

    `reference` is where a target finds it (a folder for a bundle, ``name:tag`` or an archive for an image),
    `digest` is ``sha256:<hex>`` over its content, `size` is in bytes.
    """

    builder: str
    reference: str
    digest: str
    size: int
    lock_sha256: str = ""


class ImageBuilder(LoggingConfigurable):
    """Makes packages. Used from several threads at once."""

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    registry = Instance(Registry, help="The registry of images; handed over by the application.")

    @default("registry")
    def _registry(self) -> Registry:
        return Registry(parent=self)

    def at(self, registry: Registry) -> Self:
        """Return a builder that is like this one and pushes to another registry."""
        traits = {name: getattr(self, name) for name in self.trait_names() if self.trait_has_value(name)}
        return type(self)(**(traits | {"registry": registry}))

    def health(self) -> Health:
        """Say whether this builder can work on this machine now."""
        raise NotImplementedError

    def health_unasked(self) -> Health:
        """Say whether it can work now with no more settings than it has, for forms that name no builder."""
        return self.health()

    def check_base_image(self, text: str) -> None:
        """Raise `BuildError` (field ``base_image``) unless a form may name this base image.

        Touches no network. A builder that has no use for one takes any.
        """

    def build(self, request: BuildRequest, log: Log) -> BuiltPackage:
        """Make the package, or return the one that is there already under this id.

        Checks the script, resolves and installs its dependencies, puts all together, runs the validation
        input. Raises `BuildError`; nothing half-made is left then.
        """
        raise NotImplementedError

    def find(self, package_id: str, slug: str) -> BuiltPackage | None:
        """Return the finished package of this id, None when there is none."""
        raise NotImplementedError

    def tidy(self) -> None:
        """Remove what killed builds left. Called when the service starts; safe at any time."""

    def remove(self, package_id: str, slug: str) -> None:
        """Delete the package. One that is not there is no error."""
        raise NotImplementedError

    def inspect(self, package_id: str, slug: str, work: Path) -> Subject:
        """Return what the finished package holds, for scanners; `work` is a folder for files on the way.

        Of a builder that does not say, nothing can be checked. Raises `BuildError`.
        """
        return Subject(Inventory(unread=(f"what packages of the kind “{self.name}” hold",)))


BUILDERS: dict[str, str] = {
    "bundle": "a360_hub_service.backends.images.bundle.BundleBuilder",
    "docker": "a360_hub_service.backends.images.docker.DockerBuilder",
    "oci": "a360_hub_service.backends.images.oci.OciBuilder",
}


def builder_class(name: str) -> type[ImageBuilder]:
    """Return the builder called `name`: of `BUILDERS`, an entry point of ``a360.builders``, a dotted path."""
    return load_class(name, ImageBuilder, "a360.builders", BUILDERS)
