"""Packages as container images that are put together here: no engine, no root, no Dockerfile."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from traitlets import Unicode, default

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.images import base_image, serving, stock
from a360_hub_service.backends.images.base import BuildError, BuildRequest, BuiltPackage
from a360_hub_service.backends.images.bases import Base, check_base_name, fetch_layer, own_base, registry_base
from a360_hub_service.backends.images.bundle import Assembler, copy_tree
from a360_hub_service.backends.images.cache import tidied
from a360_hub_service.backends.images.inventory import Subject
from a360_hub_service.backends.images.layers import Layer, write_layer
from a360_hub_service.backends.images.layout import (
    MANIFEST,
    Image,
    blob_file,
    machine,
    make_image,
    write_archive,
)
from a360_hub_service.backends.images.resolve import (
    PYTHON_VERSION,
    Dependencies,
    made_once,
    remove_stale,
    storage_error,
)
from a360_hub_service.backends.images.validate import check_package, local_runner
from a360_hub_service.backends.registries import Descriptor, ImageName, RegistryClient

_RECORD = "package.json"
_ARCHIVE = "image.tar"


@dataclass(frozen=True)
class _Parts:
    """A finished image: the files of layers put on its base, and the digest of the one no other image has."""

    image: Image
    base: Base
    files: dict[str, Path]
    own: str
    lock_sha256: str


class OciBuilder(Assembler):
    """Puts images together in Python and pushes them to the registry; without one they become archives."""

    name: ClassVar[str] = "oci"
    description: ClassVar[str] = (
        "A container image in your registry: non-root, no shell, the same each time; needs no engine."
    )

    base_image = Unicode("", help="Image of a registry to build on; empty: the platform's own.").tag(
        config=True
    )
    platform = Unicode(help="What images are made for, linux/amd64.").tag(config=True)

    @default("platform")
    def _platform(self) -> str:
        return f"linux/{machine()}"

    def health(self) -> Health:
        """Say whether the registry answers, or, when there is none, that archives are made."""
        if self.registry.configured:
            return self.registry.health()
        return Health(True, "No registry is configured: images are kept as archives for docker load.")

    def health_unasked(self) -> Health:
        """Say whether there is a registry that answers, and something to build on."""
        found = self.registry.health()
        if found.available and not self.base_image and (obstacle := base_image.obstacle()):
            return Health(False, obstacle)
        return found

    def check_base_image(self, text: str) -> None:
        """Raise `BuildError` unless a form may name this base image."""
        if text != self.base_image:
            check_base_name(self.registry, text)

    @tidied
    def build(self, request: BuildRequest, log: Log) -> BuiltPackage:
        """Make the image; see `ImageBuilder.build`."""
        if ready := self.find(request.package_id, request.slug):
            log(f"The image is there already: {ready.reference}.")
            return ready
        try:
            base = self._base(request, log)
            script, dependencies = self.prepare(request, base.python, log)
            with self.work_folder(request.package_id) as work:
                # Another thread or service may have made it meanwhile.
                if ready := self.find(request.package_id, request.slug):
                    return ready
                folder = work / "package"
                copy_tree(dependencies.site, folder / "site", link=True)
                self.assemble(request, script, dependencies, base.python.version, folder)
                self._validate(request, base, folder, log)
                parts = self._image(request, base, dependencies, work, log)
                if self.registry.configured:
                    built = self._push(request, parts, work, log)
                else:
                    built = self._archive(request, parts, work, log)
        except OSError as error:
            raise storage_error(error) from error
        log(f"The image {built.reference} is ready: {built.digest}, {built.size / 1e6:.0f} MB.")
        return built

    def _base(self, request: BuildRequest, log: Log) -> Base:
        name = request.base_image or self.base_image
        if name:
            # An operator may choose a base that holds Python alone, as ours does; ONNX Runtime is put on it.
            own = not request.base_image or name == self.base_image
            return registry_base(self.registry, name, self.platform, self._cache, log, trusted=own)
        base = own_base(Path(self.home), log)
        if self.platform != f"linux/{base.config['architecture']}":
            raise BuildError(
                f"The platform's own base image is not made for {self.platform} on this machine.",
                hint="Give a base image in the form; the operator can set one for all.",
                field="base_image",
            )
        return base

    def _validate(self, request: BuildRequest, base: Base, folder: Path, log: Log) -> None:
        """Run the package where that can be done: by this Python, which is then the one of the image."""
        if base.runs_here() and base.python.version == PYTHON_VERSION:
            runner = local_runner(folder, self.validation_timeout, self.validation_memory)
            check_package(request, runner, log, Path(self.home, "packages"))
            return
        made_for = f"Python {base.python.version} on {base.python.platform}"
        if request.validation_input:
            raise BuildError(
                f"The validation input cannot be run here: the image is made for {made_for}.",
                hint=f"Choose a base image with Python {PYTHON_VERSION}, or give no validation input.",
                field="validation_input",
            )
        log(f"Warning: the package was not loaded once to see that it works; it is made for {made_for}.")

    def _image(
        self, request: BuildRequest, base: Base, dependencies: Dependencies, work: Path, log: Log
    ) -> _Parts:
        log("Putting the image together.")
        below, below_file = self._dependencies_layer(dependencies, log)
        # What is not the dependencies: they were put beside it to be run, and are a layer of their own.
        own = work / "own"
        os.replace(work / "package", own)
        os.replace(own / "site" / "a360runtime", work / "a360runtime")
        shutil.rmtree(own / "site")
        folders = [(own, "app"), (work / "a360runtime", "app/site/a360runtime")]
        layer = write_layer(folders, work / "layer")
        settings: dict[str, Any] = {
            "User": f"{serving.USER}:{serving.USER}",
            "WorkingDir": serving.WORK_FOLDER,
            "ExposedPorts": {f"{serving.PORT}/tcp": {}},
            "Entrypoint": serving.entrypoint(base.program),
            "Cmd": list(serving.COMMAND),
            "Labels": base.labels | serving.labels(request, dependencies),
        }
        history = [
            (below, f"dependencies of lock {dependencies.sha256[:12]}"),
            (layer, "model, script and wrapper"),
        ]
        image = make_image(base.config, base.layers, history, settings)
        files = {below.descriptor.digest: below_file, layer.descriptor.digest: work / "layer"}
        return _Parts(image, base, files, layer.descriptor.digest, dependencies.sha256)

    def _dependencies_layer(self, dependencies: Dependencies, log: Log) -> tuple[Layer, Path]:
        """Return the layer of these dependencies and its file; packages with the same ones share it."""

        def make(new: Path) -> None:
            log("Making the layer of the dependencies.")
            packed = new.with_name("packed")
            layer = write_layer([(dependencies.site, "app/site")], packed)
            file = blob_file(self._cache / "blobs", layer.descriptor.digest)
            file.parent.mkdir(parents=True, exist_ok=True)
            os.replace(packed, file)
            new.write_text(json.dumps({"diff_id": layer.diff_id, **asdict(layer.descriptor)}), "utf-8")

        record = self._cache / "layers" / f"{dependencies.sha256}.json"
        for _ in range(2):
            found = json.loads(made_once(record, make).read_bytes())
            diff_id = found.pop("diff_id")
            layer = Layer(Descriptor(**found), diff_id)
            file = blob_file(self._cache / "blobs", layer.descriptor.digest)
            if file.exists():
                os.utime(file)
                return layer, file
            # Somebody cleared the cache, but not all of it.
            record.unlink(missing_ok=True)
        raise BuildError("The layer of the dependencies vanished while it was made.", hint="Package again.")

    def _push(self, request: BuildRequest, parts: _Parts, work: Path, log: Log) -> BuiltPackage:
        """Bring what the registry lacks, the manifest last: an image that can be found is whole."""
        name, image = self.registry.name(request.slug, serving.tag(request.package_id)), parts.image
        log(f"Pushing to {name.registry}/{name.repository}.")
        if done := self.registry.prepare(name.repository):
            log(done)
        with self.registry.client(BuildError) as client:
            for layer in image.layers:
                how = self._push_layer(client, name, layer, parts, work)
                log(f"Layer {layer.digest[7:19]}, {layer.size / 1e6:.1f} MB: {how}.")
            client.upload(name.repository, image.config_descriptor, image.config)
            client.put_manifest(name.repository, name.tag, image.manifest, MANIFEST)
        return BuiltPackage(self.name, str(name), image.digest, image.size, parts.lock_sha256)

    def _push_layer(
        self, client: RegistryClient, name: ImageName, layer: Descriptor, parts: _Parts, work: Path
    ) -> str:
        # Where it was pushed last: from there the registry can take it by itself.
        known = blob_file(self._cache / "pushed", layer.digest)
        last = known.read_text("utf-8") if known.exists() else ""
        if not last and parts.base.name and layer in parts.base.layers:
            last = f"{parts.base.name.registry}/{parts.base.name.repository}"
        host, _, source = last.partition("/")
        how = client.upload(
            name.repository, layer, lambda: self._file(layer, parts), source if host == name.registry else ""
        )
        if layer.digest != parts.own:
            known.parent.mkdir(parents=True, exist_ok=True)
            (work / "pushed").write_text(f"{name.registry}/{name.repository}", "utf-8")
            os.replace(work / "pushed", known)
        return how

    def _file(self, layer: Descriptor, parts: _Parts) -> Path:
        """Return the file of a layer; one of a base is downloaded now if it was not needed before."""
        file = parts.files.get(layer.digest) or parts.base.file(layer)
        if file.exists() or parts.base.name is None:
            return file
        where = parts.base.name.registry
        with self.registry.client(BuildError, where, trusted=parts.base.trusted) as client:
            return fetch_layer(client, parts.base.name.repository, layer, parts.base.blobs)

    def _archive(self, request: BuildRequest, parts: _Parts, work: Path, log: Log) -> BuiltPackage:
        """Write the image into a file; the rename of its folder is the moment the package exists."""
        log("Writing the archive.")
        done, folder = work / "done", self._folder(request.package_id)
        done.mkdir()
        name = f"{self.registry.prefix}/{request.slug}:{serving.tag(request.package_id)}"
        files = {layer.digest: self._file(layer, parts) for layer in parts.image.layers}
        write_archive(parts.image, files, name, done / _ARCHIVE)
        record: dict[str, Any] = {
            "digest": parts.image.digest,
            "size": (done / _ARCHIVE).stat().st_size,
            "lock_sha256": parts.lock_sha256,
        }
        (done / _RECORD).write_text(json.dumps(record), "utf-8")
        os.replace(done, folder)
        return BuiltPackage(self.name, str(folder / _ARCHIVE), **record)

    def find(self, package_id: str, slug: str) -> BuiltPackage | None:
        """Return the image of this package: an archive, or what the registry has."""
        folder = self._folder(package_id)
        with contextlib.suppress(FileNotFoundError):
            record = json.loads((folder / _RECORD).read_text("utf-8"))
            return BuiltPackage(self.name, str(folder / _ARCHIVE), **record)
        if not self.registry.configured:
            return None
        name = self.registry.name(slug, serving.tag(package_id))
        with self.registry.client(BuildError) as client:
            image = self._pushed(client, name)
        labels = (json.loads(image.config).get("config") or {}).get("Labels") or {} if image else {}
        if image is None or labels.get("a360.package") != package_id:
            return None
        return BuiltPackage(self.name, str(name), image.digest, image.size, labels.get("a360.lock", ""))

    def _pushed(self, client: RegistryClient, name: ImageName) -> Image | None:
        """Return an image of the registry, None when it is not there."""
        found = client.manifest(name.repository, name.tag)
        if found is None:
            return None
        manifest = json.loads(found[0])
        config = client.document(name.repository, Descriptor.read(manifest["config"]))
        return Image(config, found[0], tuple(map(Descriptor.read, manifest["layers"])))

    @tidied
    def inspect(self, package_id: str, slug: str, work: Path) -> Subject:
        """Return what the image holds; of a registry only layers are downloaded that are not known here."""
        archive, known = self._folder(package_id) / _ARCHIVE, Path(self.home, "cache", "stock")
        try:
            if archive.exists():
                return Subject(stock.of_archive(archive, known), archive=lambda: archive)
            name = self.registry.name(slug, serving.tag(package_id))
            with self.registry.client(BuildError) as client:
                image = self._pushed(client, name)
            if image is None:
                raise BuildError(f"The registry has no {name} any more.", hint="Package again.")
            inventory = stock.of_layers(
                stock.layer_facts(known, layer.digest, self._any_file(name, layer, work))
                for layer in image.layers
            )
        except OSError as error:
            raise storage_error(error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise BuildError(f"The image cannot be read: {error}.", hint="Package again.") from error

        def write() -> Path:
            files = {layer.digest: self._any_file(name, layer, work)() for layer in image.layers}
            write_archive(image, files, str(name), work / _ARCHIVE)
            return work / _ARCHIVE

        return Subject(inventory, archive=write)

    def _any_file(self, name: ImageName, layer: Descriptor, work: Path) -> Callable[[], Path]:
        """Return what gives the file of a layer: of the cache, of our base, or else from the registry."""

        def find() -> Path:
            layout = base_image.layout_folder(Path(self.home))
            for blobs in (self._cache / "blobs", layout / "blobs" / "sha256"):
                if (file := blob_file(blobs, layer.digest)).exists():
                    return file
            with self.registry.client(BuildError) as client:
                return fetch_layer(client, name.repository, layer, work)

        return find

    def remove(self, package_id: str, slug: str) -> None:
        """Delete the image, and what a build of it left that was killed."""
        folder = self._folder(package_id)
        remove_stale(folder.parent, f".{package_id}-")
        shutil.rmtree(folder, ignore_errors=True)
        found = self.find(package_id, slug)
        if found is None:
            return
        name = self.registry.name(slug, "")
        with self.registry.client(BuildError) as client:
            if not client.delete_manifest(name.repository, found.digest):
                self.log.warning("the registry %s deletes nothing; %s stays", name.registry, found.reference)

    @property
    def _cache(self) -> Path:
        return Path(self.home, "cache", "oci")

    def _folder(self, package_id: str) -> Path:
        if not package_id.isalnum():
            raise ValueError(f"{package_id!r} is not an id of a package.")
        return Path(self.home, "packages", package_id).absolute()
