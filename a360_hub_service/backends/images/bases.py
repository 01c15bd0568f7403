"""Base images without a container engine: our own from a layout, others from their registry."""

import json
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.hosts import HostRefusedError
from a360_hub_service.backends.images import base_image
from a360_hub_service.backends.images.base import BuildError, without_runtime
from a360_hub_service.backends.images.contents import Contents, read_layers
from a360_hub_service.backends.images.layers import LAYER
from a360_hub_service.backends.images.layout import blob_file, machine, read_layout
from a360_hub_service.backends.images.resolve import PythonTarget, made_once
from a360_hub_service.backends.images.serving import wheel_platform
from a360_hub_service.backends.registries import Descriptor, ImageName, Registry, RegistryClient, names
from a360_hub_service.backends.registries.answers import ALLOW
from a360_hub_service.backends.registries.client import INDEXES

_PLAIN = "application/vnd.oci.image.layer.v1.tar"
_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar": _PLAIN,
    LAYER: LAYER,
    _PLAIN: _PLAIN,
}
"""Types of layers that can be read, and the words OCI has for them."""

_OTHER = "Choose another image, or leave the field empty for the platform's own image."


@dataclass(frozen=True)
class Base:
    """An image to build on: its configuration and layers, and which wheels fit its Python at `program`.

    `name` is where its registry has it, None for our own; `trusted` is what the operator chose.
    """

    config: Mapping[str, Any]
    layers: tuple[Descriptor, ...]
    program: str
    python: PythonTarget
    blobs: Path
    name: ImageName | None = None
    trusted: bool = True

    @property
    def labels(self) -> dict[str, str]:
        """The labels it has already."""
        return dict((self.config.get("config") or {}).get("Labels") or {})

    def runs_here(self) -> bool:
        """Is it for machines like this one?"""
        return self.config["architecture"] == machine() and not self.python.platform.endswith("musl")

    def file(self, layer: Descriptor) -> Path:
        """Return the file of a layer, which need not be there for an image of a registry."""
        return blob_file(self.blobs, layer.digest)


def own_base(home: Path, log: Log) -> Base:
    """Return the platform's own base, made now if there is none. Raises `BuildError` or `OSError`."""
    layout = base_image.ensure_base_layout(home, log)
    image = read_layout(layout)
    config = json.loads(image.config)
    wheels = wheel_platform(config["architecture"], "glibc", base_image.GLIBC)
    python = PythonTarget(base_image.PYTHON, wheels)
    return Base(config, image.layers, "/usr/bin/python3", python, layout / "blobs" / "sha256")


def registry_base(
    registry: Registry, text: str, platform: str, cache: Path, log: Log, *, trusted: bool
) -> Base:
    """Return the base image called `text` for a platform ("linux/amd64"), from its registry.

    `cache` is a folder for its layers and what was found in them. One of the operator's choice is `trusted`;
    one of a form has to be on an allowed host and to hold ONNX Runtime (F302). Without Python both are
    refused. Raises `BuildError` (field ``base_image``) or `OSError`.
    """
    try:
        name = names.parse(text)
    except ValueError as error:
        raise BuildError(f"The base image: {error}.", hint=_OTHER, field="base_image") from error
    if not trusted:
        check_host(registry, name)
    try:
        with registry.client(BuildError, name.registry, trusted=trusted) as client:
            digest, manifest = _manifest(client, name, platform)
            config = json.loads(client.document(name.repository, Descriptor.read(manifest["config"])))
            _check_platform(config, name, platform)
            layers = tuple(_layer(each, name) for each in manifest["layers"])
            blobs = cache / "blobs"
            found = _facts(client, name, layers, cache, digest, log)
    except BuildError as error:
        if error.field:
            raise
        message = f"The base image {name} cannot be had: {error.message}"
        raise BuildError(message, hint=error.hint or _OTHER, field="base_image") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"The base image {name} is damaged: {error}."
        raise BuildError(message, hint=_OTHER, field="base_image") from error
    program, python = _python(found, config, name)
    if not trusted and not found.has_runtime:
        raise without_runtime(name)
    return Base(config, layers, program, python, blobs, name, trusted)


def check_base_name(registry: Registry, text: str) -> ImageName:
    """Return the name of a base image. Raises `BuildError` unless a form may name it; touches no network."""
    try:
        name = names.parse(text)
    except ValueError as error:
        raise BuildError(f"The base image: {error}.", hint=_OTHER, field="base_image") from error
    check_host(registry, name, resolve=False)
    return name


def check_host(registry: Registry, name: ImageName, *, resolve: bool = True) -> None:
    """Raise `BuildError` (field ``base_image``) unless a form may name a base image of this registry.

    With `resolve` its addresses are looked at, too.
    """
    try:
        registry.check_base_host(name.registry, resolve=resolve)
    except HostRefusedError as error:
        raise BuildError(
            f"The base image {name} may not be used: {error}.", hint=ALLOW, field="base_image"
        ) from error


def fetch_layer(client: RegistryClient, repository: str, layer: Descriptor, blobs: Path) -> Path:
    """Return the file of a layer in the folder `blobs`, downloaded if it is not there."""
    file = blob_file(blobs, layer.digest)
    return made_once(file, lambda new: client.download(repository, layer, new))


def _manifest(client: RegistryClient, name: ImageName, platform: str) -> tuple[str, dict[str, Any]]:
    """Return digest and manifest of the image; of an index the one for the platform."""
    found = client.manifest(name.repository, name.version)
    if found is None:
        raise BuildError(
            f"The registry {name.registry} has no image {name.repository}:{name.version}.", hint=_OTHER
        )
    body, media_type = found
    document = json.loads(body)
    if media_type in INDEXES or "manifests" in document:
        entry = _choose(document["manifests"], name, platform)
        found = client.manifest(name.repository, entry.digest)
        if found is None:
            raise BuildError(f"The registry {name.registry} lacks a part of it.", hint=_OTHER)
        body, document = found[0], json.loads(found[0])
    return Descriptor.read(document["config"]).digest, document


def _choose(entries: list[dict[str, Any]], name: ImageName, platform: str) -> Descriptor:
    offered = []
    for entry in entries:
        told = entry.get("platform") or {}
        words = "/".join(str(told[part]) for part in ("os", "architecture", "variant") if told.get(part))
        # 64-bit ARM is of variant v8, whether an index says so or not.
        if words == platform or words.removesuffix("/v8") == platform.removesuffix("/v8"):
            return Descriptor.read(entry)
        # Build attestations have no platform.
        offered += [words] if "unknown" not in words else []
    raise BuildError(
        f"The base image {name} is not made for {platform}.",
        hint=f"It is made for {', '.join(offered) or 'nothing'}. {_OTHER}",
        field="base_image",
    )


def _check_platform(config: Mapping[str, Any], name: ImageName, platform: str) -> None:
    made_for = f"{config['os']}/{config['architecture']}"
    if made_for != "/".join(platform.split("/")[:2]):
        raise BuildError(
            f"The base image {name} is made for {made_for}, not for {platform}.",
            hint=_OTHER,
            field="base_image",
        )


def _layer(document: dict[str, Any], name: ImageName) -> Descriptor:
    found = Descriptor.read(document)
    if found.media_type not in _LAYERS:
        raise BuildError(
            f"The base image {name} has a layer of the type {found.media_type}, which is not supported.",
            hint="Push it again with layers that are compressed with gzip.",
            field="base_image",
        )
    return Descriptor(_LAYERS[found.media_type], found.digest, found.size)


def _facts(
    client: RegistryClient,
    name: ImageName,
    layers: tuple[Descriptor, ...],
    cache: Path,
    digest: str,
    log: Log,
) -> Contents:
    """Return what is in the layers; they are read once for each image, of which `digest` is the config's."""

    def read(new: Path) -> None:
        log(f"Reading the base image {name} ({sum(layer.size for layer in layers) / 1e6:.0f} MB).")
        files = [fetch_layer(client, name.repository, layer, cache / "blobs") for layer in layers]
        try:
            new.write_text(json.dumps(asdict(read_layers(files))), "utf-8")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise ValueError(f"a layer cannot be read ({error})") from error

    return Contents(**json.loads(made_once(blob_file(cache / "contents", digest), read).read_bytes()))


def _python(found: Contents, config: Mapping[str, Any], name: ImageName) -> tuple[str, PythonTarget]:
    """Return the program of the image's Python, and which wheels fit it."""
    python = found.python((config.get("config") or {}).get("Env") or ())
    if python is None or not (found.musl or found.glibc):
        raise BuildError(f"The base image {name} has no Python 3.", hint=_OTHER, field="base_image")
    libc = "glibc" if found.glibc else "musl"
    return python[0], PythonTarget(python[1], wheel_platform(config["architecture"], libc, found.glibc))
