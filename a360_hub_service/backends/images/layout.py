"""Images as documents: configuration and manifest, kept in an OCI layout, a registry or an archive."""

import hashlib
import json
import os
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from a360_hub_service.backends.images.layers import Layer, pack
from a360_hub_service.backends.images.serving import TIME
from a360_hub_service.backends.registries import Descriptor

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CREATED = datetime.fromtimestamp(TIME, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
_VERSION = {"imageLayoutVersion": "1.0.0"}
_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Image:
    """A whole image: its configuration, its manifest, and what layers the latter names, the lowest first."""

    config: bytes
    manifest: bytes
    layers: tuple[Descriptor, ...]

    @property
    def config_descriptor(self) -> Descriptor:
        """What a registry knows the configuration by."""
        return describe(CONFIG, self.config)

    @property
    def digest(self) -> str:
        """Digest of the manifest: what the image is known by."""
        return describe(MANIFEST, self.manifest).digest

    @property
    def size(self) -> int:
        """Bytes a registry holds of it."""
        return sum(layer.size for layer in self.layers) + len(self.config) + len(self.manifest)


def describe(media_type: str, data: bytes) -> Descriptor:
    """Return the descriptor of a document."""
    return Descriptor(media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


def machine() -> str:
    """Return this machine's architecture as images name it."""
    found = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(found, found)


def encode(document: object) -> bytes:
    """Return a document as bytes, the same each time."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def make_image(
    base: Mapping[str, Any],
    below: Sequence[Descriptor],
    layers: Sequence[tuple[Layer, str]],
    settings: Mapping[str, object],
) -> Image:
    """Return an image of layers put on a base, of which `base` is the configuration and `below` the layers.

    `settings` replace those of the base; each new layer comes with words for the history.
    """
    rootfs = base.get("rootfs") or {"type": "layers", "diff_ids": []}
    history = [{"created": CREATED, "created_by": words} for _, words in layers]
    config = {
        "architecture": base["architecture"],
        "os": base["os"],
        **({"variant": base["variant"]} if base.get("variant") else {}),
        "created": CREATED,
        "config": dict(base.get("config") or {}) | dict(settings),
        "rootfs": {
            "type": "layers",
            "diff_ids": [*rootfs["diff_ids"], *(layer.diff_id for layer, _ in layers)],
        },
        "history": [*(base.get("history") or ()), *history],
    }
    body = encode(config)
    found = (*below, *(layer.descriptor for layer, _ in layers))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(CONFIG, body).document(),
        "layers": [layer.document() for layer in found],
    }
    return Image(body, encode(manifest), found)


def write_layout(tar: Path, settings: Mapping[str, object], folder: Path) -> Path:
    """Write an image of one layer, the file `tar`, as an OCI layout for this machine. Raises `OSError`."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer = pack(tar, folder / "layer")
    os.replace(folder / "layer", blob_file(blobs, layer.descriptor.digest))
    base = {"architecture": machine(), "os": "linux"}
    image = make_image(base, (), [(layer, "the serving base of A360")], settings)
    for data in (image.config, image.manifest):
        blob_file(blobs, describe("", data).digest).write_bytes(data)
    (folder / "index.json").write_bytes(_index(image, ""))
    (folder / "oci-layout").write_bytes(encode(_VERSION))
    return folder


def read_layout(folder: Path) -> Image:
    """Return the only image of an OCI layout. Raises `OSError`."""
    blobs = folder / "blobs" / "sha256"
    index = json.loads((folder / "index.json").read_bytes())
    manifest = blob_file(blobs, index["manifests"][0]["digest"]).read_bytes()
    found = json.loads(manifest)
    config = blob_file(blobs, found["config"]["digest"]).read_bytes()
    return Image(config, manifest, tuple(Descriptor.read(layer) for layer in found["layers"]))


def blob_file(blobs: Path, digest: str) -> Path:
    """Return the path of a blob in the folder `blobs`. Raises `ValueError` for what is no digest."""
    kind, _, digits = digest.partition(":")
    if kind != "sha256" or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"{digest!r} is not a digest of SHA-256")
    return blobs / digits


def write_archive(image: Image, files: Mapping[str, Path], name: str, target: Path) -> None:
    """Write an archive that ``docker load`` takes, an OCI layout at the same time. Raises `OSError`.

    `files` are the layers by their digest; the engine will know the image as `name`.
    """

    def path(digest: str) -> str:
        return blob_file(Path("blobs/sha256"), digest).as_posix()

    layers = [path(layer.digest) for layer in image.layers]
    docker = [{"Config": path(image.config_descriptor.digest), "RepoTags": [name], "Layers": layers}]
    documents = {
        # First, so that who wants the name need not read the whole file.
        "manifest.json": encode(docker),
        "oci-layout": encode(_VERSION),
        "index.json": _index(image, name),
        path(image.digest): image.manifest,
        path(image.config_descriptor.digest): image.config,
    }
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for place, data in documents.items():
            _add(tar, place, len(data), BytesIO(data))
        for layer in dict.fromkeys(image.layers):
            with files[layer.digest].open("rb") as file:
                _add(tar, path(layer.digest), layer.size, file)


def archive_name(archive: Path) -> str:
    """Return the name of the image in an archive. Raises `OSError` or `ValueError`."""
    with tarfile.open(archive) as tar:
        first = tar.next()
        file = tar.extractfile(first) if first and first.name == "manifest.json" else None
        if file is None:
            raise ValueError(f"{archive} is no archive of an image")
        return str(json.load(file)[0]["RepoTags"][0])


def _index(image: Image, name: str) -> bytes:
    entry: dict[str, object] = describe(MANIFEST, image.manifest).document()
    if name:
        entry["annotations"] = {_NAME: name.rpartition(":")[2], "io.containerd.image.name": name}
    return encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})


def _add(tar: tarfile.TarFile, name: str, size: int, file: IO[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, TIME
    tar.addfile(info, file)
