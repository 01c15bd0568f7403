"""Taking stock of packages: what lies in a folder or in layers, read without running anything."""

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from email.parser import HeaderParser
from functools import partial
from pathlib import Path
from typing import IO, Any

from packaging.utils import canonicalize_name

from a360_hub_service.backends import interruption
from a360_hub_service.backends.images.base import BuildError
from a360_hub_service.backends.images.inventory import (
    FOREIGN_SYSTEMS,
    Distribution,
    Inventory,
    ModelFile,
    Release,
    SystemPackage,
)
from a360_hub_service.backends.images.resolve import made_once

RECIPE = "1"
"""Of reading a layer: what was read in another way is read again."""
_METADATA = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)")
_DPKG = re.compile(r"var/lib/dpkg/(?:status|status\.d/[^/]+(?<!\.md5sums))")
_RELEASE = re.compile(r"(?:etc|usr/lib)/os-release")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_MODEL = re.compile(r"app/((?:artifacts|script)/.+)")
_FOREIGN = {
    FOREIGN_SYSTEMS[0]: re.compile(r"(?:usr/)?lib/apk/db/installed"),
    FOREIGN_SYSTEMS[1]: re.compile(r"(?:var/lib|usr/lib/sysimage)/rpm/[^/]+"),
    "a Python that no package brought": re.compile(r"(?:usr/local|opt/[^/]+)/bin/python3\.\d+"),
}
"""What nobody here reads: it is named, so that it is not taken for checked."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of a list of packages; a larger one is not read."""


@dataclass
class LayerFacts:
    """What one layer adds (by path) and what it removes of those below; folders it replaces are `opaque`."""

    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)


def of_folder(folder: Path) -> Inventory:
    """Return what a bundle holds. Raises `OSError`."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = f"app/{path.relative_to(folder).as_posix()}"
        if path.is_file() and _wanted(name):
            with path.open("rb") as file:
                found |= _read(name, file, path.stat().st_size)
    return _inventory(found, is_image=False)


def of_layers(layers: Iterable[LayerFacts]) -> Inventory:
    """Return what an image of these layers holds, the lowest first."""
    found: dict[str, dict[str, Any]] = {}
    for layer in layers:
        gone = (*layer.removed, *layer.opaque)
        found = {
            name: fact
            for name, fact in found.items()
            if name not in layer.removed and not any(name.startswith(f"{folder}/") for folder in gone)
        }
        found |= layer.found
    return _inventory(found, is_image=True)


def of_archive(archive: Path, cache: Path) -> Inventory:
    """Return what an image in a file holds, as ``docker save`` writes it. Raises `BuildError` or `OSError`.

    `cache` is a folder where what was found in a layer is kept.
    """
    try:
        with tarfile.open(archive) as tar:
            manifest = json.load(_member(tar, "manifest.json"))[0]
            diff_ids = json.load(_member(tar, manifest["Config"]))["rootfs"]["diff_ids"]
            layers = []
            for diff_id, name in zip(diff_ids, manifest["Layers"], strict=True):
                # Written here, what layers are called was checked; what a base says of its layers was not.
                # An engine that names them otherwise has checked what it says.
                digest = _BLOB.fullmatch(name)
                key = f"sha256:{digest[1]}" if digest else diff_id
                layers.append(layer_facts(cache, key, partial(_member, tar, name)))
            return of_layers(layers)
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError) as error:
        raise BuildError(f"The image cannot be read: {error}.", hint="Package again.") from error


def layer_facts(cache: Path, digest: str, layer: Callable[[], Path | IO[bytes]]) -> LayerFacts:
    """Return what is in a layer, a tar file as it is or compressed with gzip; it is asked for and read once.

    `digest`, which was compared with its content, is what it is known by. Raises `ValueError` for what is no
    such file, or `OSError`.
    """

    def read(new: Path) -> None:
        new.write_text(json.dumps(asdict(_read_layer(layer()))), "utf-8")

    name = f"{hashlib.sha256(digest.encode()).hexdigest()}.json"
    return LayerFacts(**json.loads(made_once(cache / RECIPE / name, read).read_bytes()))


def dpkg_packages(text: str) -> Iterator[SystemPackage]:
    """Yield the packages a list of dpkg says are installed, or one of a repository offers."""
    for fields in paragraphs(text):
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if not name or not version or not fields.get("Status", "installed").endswith("installed"):
            continue
        source, _, rest = fields.get("Source", name).partition(" ")
        source_version = rest.strip("() ") or version
        yield SystemPackage(name, version, source, source_version, fields.get("Architecture", ""))


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Yield the first lines of the fields of each paragraph of a Debian control file."""
    for block in re.split(r"\n\s*\n", text):
        lines = (line.partition(":") for line in block.splitlines() if not line.startswith((" ", "\t", "#")))
        if fields := {key: value.strip() for key, colon, value in lines if colon}:
            yield fields


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise ValueError(f"{name} is no file")
    return found


def _read_layer(layer: Path | IO[bytes]) -> LayerFacts:
    facts = LayerFacts()
    try:
        opened = {"name": layer} if isinstance(layer, Path) else {"fileobj": layer}
        with tarfile.open(mode="r|*", **opened) as tar:
            for info in tar:
                interruption.check()
                name = info.name.removeprefix("./").strip("/")
                folder, _, last = name.rpartition("/")
                if last == ".wh..wh..opq":
                    facts.opaque.append(folder)
                elif last.startswith(".wh."):
                    facts.removed.append(f"{folder}/{last[4:]}".strip("/"))
                elif info.isfile() and _wanted(name) and (file := tar.extractfile(info)):
                    facts.found |= _read(name, file, info.size)
                elif info.islnk() and _wanted(name):
                    facts.found[name] = {"kind": "foreign", "what": f"{name}, which is a link"}
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"a layer cannot be read ({error})") from error
    return facts


def _wanted(name: str) -> bool:
    patterns = (_METADATA, _DPKG, _RELEASE, _MODEL, *_FOREIGN.values())
    return any(pattern.fullmatch(name) for pattern in patterns)


def _read(name: str, file: IO[bytes], size: int) -> dict[str, dict[str, Any]]:
    """Return what a file says, by its name."""
    for words, pattern in _FOREIGN.items():
        if pattern.fullmatch(name):
            return {name: {"kind": "foreign", "what": words}}
    model = _MODEL.fullmatch(name)
    if model and not _METADATA.fullmatch(name):
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        return {name: _model_file(model[1], digest, size)}
    if size > _LARGEST:
        return {name: {"kind": "foreign", "what": f"{name}, which is too large"}}
    data = file.read()
    text = data.decode("utf-8", "replace")
    if _DPKG.fullmatch(name):
        return {name: {"kind": "dpkg", "packages": [asdict(each) for each in dpkg_packages(text)]}}
    if _RELEASE.fullmatch(name):
        return {name: {"kind": "release", **_release(text)}}
    facts = {name: _distribution(name, text)}
    if model:
        # A script may bring packages along: files of the model, and packages too.
        facts[f"{name}#"] = _model_file(model[1], hashlib.sha256(data).hexdigest(), size)
    return facts


def _model_file(path: str, sha256: str, size: int) -> dict[str, Any]:
    return {"kind": "file", "path": path, "sha256": sha256, "size": size}


def _distribution(name: str, text: str) -> dict[str, Any]:
    headers = HeaderParser().parsestr(text)
    found, version = str(headers.get("Name") or ""), str(headers.get("Version") or "").strip()
    if not found or not version:
        return {"kind": "foreign", "what": f"the Python package of {name}, which names no version"}
    place = name.removesuffix("/METADATA").removesuffix("/PKG-INFO")
    return {"kind": "python", "name": canonicalize_name(found), "version": version, "path": place}


def _release(text: str) -> dict[str, str]:
    told = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in text.splitlines())}
    return {
        "id": told.get("ID", ""),
        "version": told.get("VERSION_ID", ""),
        "codename": told.get("VERSION_CODENAME", ""),
    }


def _inventory(found: Mapping[str, Mapping[str, Any]], *, is_image: bool) -> Inventory:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for _, fact in sorted(found.items()):
        kinds.setdefault(fact["kind"], []).append({key: fact[key] for key in fact if key != "kind"})
    listed = [package for fact in kinds.get("dpkg", ()) for package in fact["packages"]]
    packages = {SystemPackage(**each) for each in listed}
    distributions = {Distribution(**each) for each in kinds.get("python", ())}
    files = {ModelFile(**each) for each in kinds.get("file", ())}
    releases = [Release(**each) for each in kinds.get("release", ())]
    return Inventory(
        tuple(sorted(distributions)),
        tuple(sorted(packages)),
        tuple(sorted(files)),
        releases[-1] if releases else Release(),
        is_image,
        tuple(sorted({each["what"] for each in kinds.get("foreign", ())})),
    )
