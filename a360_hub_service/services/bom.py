"""Bills of materials: what a package holds, as CycloneDX 1.6. The same package gives the same document."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from ..backends.images.inventory import Inventory, ModelFile

MODEL = "artifacts/trained_model"
MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"


@dataclass(frozen=True, slots=True)
class Described:
    """The package a bill is of: name, version of the model, digest, and commit of the script."""

    name: str
    version: str
    digest: str
    commit: str


def make(package: Described, inventory: Inventory) -> str:
    """The document, as JSON."""
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, f"{package.name}@{package.digest}"))
    # When it was written would make two documents of one package.
    bom.metadata.timestamp = None  # type: ignore[assignment]
    root = Component(
        type=ComponentType.CONTAINER if inventory.is_image else ComponentType.APPLICATION,
        name=package.name,
        version=package.version,
        bom_ref="package",
        properties=[
            Property(name="a360:commit", value=package.commit),
            Property(name="a360:digest", value=package.digest),
        ],
    )
    bom.metadata.component = root
    parts = [*_python(inventory), *_system(inventory), *map(_file, inventory.files)]
    bom.components.update(parts)
    bom.register_dependency(root, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def _python(inventory: Inventory) -> Iterator[Component]:
    places: dict[tuple[str, str], list[str]] = {}
    for each in inventory.distributions:
        places.setdefault((each.name, each.version), []).append(each.path)
    for (name, version), paths in places.items():
        purl = PackageURL("pypi", None, name, version)
        yield Component(
            type=ComponentType.LIBRARY,
            name=name,
            version=version,
            purl=purl,
            bom_ref=purl.to_string(),
            properties=[Property(name="a360:path", value=path) for path in paths],
        )


def _system(inventory: Inventory) -> Iterator[Component]:
    release = inventory.release
    if release.id:
        yield Component(
            type=ComponentType.OPERATING_SYSTEM, name=release.id, version=release.version, bom_ref="system"
        )
    for each in inventory.packages:
        told = {"arch": each.architecture, "distro": f"{release.id}-{release.version}".strip("-")}
        if each.source != each.name:
            told["upstream"] = f"{each.source}@{each.source_version}"
        purl = PackageURL("deb", release.id or None, each.name, each.version, told)
        yield Component(
            type=ComponentType.LIBRARY,
            name=each.name,
            version=each.version,
            purl=purl,
            bom_ref=purl.to_string(),
        )


def _file(file: ModelFile) -> Component:
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL if file.path == MODEL else ComponentType.FILE,
        name=file.path,
        bom_ref=f"file:{file.path}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        properties=[Property(name="a360:size", value=str(file.size))],
    )
