"""Base images that tests put into a registry, without a container engine."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.images.layers import Layer, pack
from a360_hub_service.backends.images.layout import (
    INDEX,
    MANIFEST,
    Image,
    blob_file,
    describe,
    encode,
    make_image,
    read_layout,
)
from tests.support.registry import RegistryServer

RUNTIME = {"usr/lib/python3/dist-packages/onnxruntime/__init__.py": b""}
"""What says that ONNX Runtime is there."""
NEWER_PYTHON = RUNTIME | {
    "usr/local/bin/python3": b"3.12",
    "usr/local/bin/python3.12": b"program",
    "usr/lib/libc.so.6": b"GNU C Library (Tests) stable release version 2.41.",
}
"""An image with another Python than ours, as far as an image is looked at."""


def write_files_layer(work: Path, files: Mapping[str, bytes]) -> tuple[Layer, Path]:
    """Make a layer of files."""
    with tarfile.open(work / "layer.tar", "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("bin/python3"):
                info.type, info.linkname = tarfile.SYMTYPE, f"python{content.decode()}"
                info.size = 0
            tar.addfile(info, io.BytesIO(content))
    return pack(work / "layer.tar", work / "layer.tar.gz"), work / "layer.tar.gz"


def push_base(
    server: RegistryServer, repository: str, layout: Path | None, extra: Mapping[str, bytes], work: Path
) -> Image:
    """Push an image of a layout, or of nothing, with a layer of files on it, under the tag 1."""
    base: dict[str, Any] = {"architecture": "amd64", "os": "linux"}
    below: tuple[Any, ...] = ()
    if layout:
        found = read_layout(layout)
        base, below = json.loads(found.config), found.layers
    layer, file = write_files_layer(work, extra)
    image = make_image(base, below, [(layer, "files of a test")], {})
    with server.configured().client(BackendError) as client:
        for each in below:
            assert layout
            place = blob_file(layout / "blobs" / "sha256", each.digest)
            client.upload(repository, each, lambda place=place: place)  # type: ignore[misc]
        client.upload(repository, layer.descriptor, lambda: file)
        client.upload(repository, image.config_descriptor, image.config)
        client.put_manifest(repository, "1", image.manifest, MANIFEST)
    return image


def push_index(server: RegistryServer, repository: str, images: dict[str, Image]) -> None:
    """Push an index of images the repository has, by platform ("linux/arm64"), under the tag index."""
    entries: list[dict[str, object]] = [
        describe(MANIFEST, image.manifest).document()
        | {"platform": dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))}
        for platform, image in images.items()
    ]
    body = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    with server.configured().client(BackendError) as client:
        client.put_manifest(repository, "index", body, INDEX)
