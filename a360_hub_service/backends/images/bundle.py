"""Packages as folders: everything a process needs to serve a model."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from traitlets import Float, Instance, Int, default

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.images import stock
from a360_hub_service.backends.images.base import (
    ARTIFACT_NAMES,
    WRAPPERS,
    BuildError,
    BuildRequest,
    BuiltPackage,
    ImageBuilder,
)
from a360_hub_service.backends.images.bytecode import compile_folder
from a360_hub_service.backends.images.cache import tidied, tidy
from a360_hub_service.backends.images.inventory import Subject
from a360_hub_service.backends.images.requirements import read_requirements
from a360_hub_service.backends.images.resolve import (
    PYTHON_VERSION,
    Dependencies,
    DependencyResolver,
    PythonTarget,
    file_lock,
    remove_stale,
    storage_error,
)
from a360_hub_service.backends.images.script import Script, check_script
from a360_hub_service.backends.images.validate import check_package, local_runner
from a360runtime.serving.checks import mode_of

_DIGEST_FILE = "package.json"
_SKIPPED = {".git", "__pycache__", ".ipynb_checkpoints"}


class Assembler(ImageBuilder):
    """What builders share: from a request to a complete folder."""

    resolver = Instance(DependencyResolver)
    validation_timeout = Float(60.0, help="Seconds the validation input may take.").tag(config=True)
    validation_memory = Int(4_000_000_000, help="Bytes of memory the validation may take.").tag(config=True)

    cache_bytes = Int(
        20_000_000_000, help="Bytes of dependencies and layers that are kept for the next builds."
    ).tag(config=True)

    @default("resolver")
    def _resolver(self) -> DependencyResolver:
        return DependencyResolver(parent=self, home=self.home)

    def tidy(self) -> None:
        """Remove what killed builds left, and of a cache that is too large what was not used for longest."""
        try:
            tidy(Path(self.home), self.cache_bytes)
        except OSError as error:
            self.log.warning("the cache of builds could not be tidied: %s", error)

    def prepare(self, request: BuildRequest, python: PythonTarget, log: Log) -> tuple[Script, Dependencies]:
        """Check the request and install what its script depends on. Raises `BuildError`."""
        if request.wrapper not in WRAPPERS:
            raise BuildError(
                f"There is no wrapper {request.wrapper!r}.",
                hint=f"Choose one of: {', '.join(WRAPPERS)}.",
                field="wrapper",
            )
        if not request.artifact_files.get("trained_model"):
            raise BuildError("The final run has no model.", hint="Choose a final run with a logged model.")
        script = check_script(request.repo_dir, request.script_name, request.call_function)
        log(f"The script {request.script_name} has the function {request.call_function}.")
        log(_input_check(request)[1])
        wanted = read_requirements(request, script, log)
        return script, self.resolver.prepare([*wanted, *_requirements_of(request.wrapper)], python, log)

    def assemble(
        self, request: BuildRequest, script: Script, dependencies: Dependencies, python: str, folder: Path
    ) -> None:
        """Put the package together in the empty `folder`, all but the dependencies. Raises `OSError`."""
        runtime = _runtime_folder()
        _copy_runtime(runtime, folder / "site" / "a360runtime", compiled=python == PYTHON_VERSION)
        shutil.copyfile(runtime / "serving" / "run.py", folder / "run.py")
        copy_tree(script.path.parent, folder / "script")
        for extra in script.extra:
            place = folder / "script" / extra.name
            if extra.is_dir():
                copy_tree(extra, place)
            elif not place.exists():
                shutil.copyfile(extra, place)
        (folder / "artifacts").mkdir()
        for name in ARTIFACT_NAMES:
            if source := request.artifact_files.get(name):
                file = "baseline.json" if name == "baseline" else name
                shutil.copyfile(source, folder / "artifacts" / file)
        (folder / "requirements.lock").write_text(dependencies.lock, "utf-8")
        manifest = _manifest(request, script, dependencies, python)
        (folder / "a360.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", "utf-8")

    @contextlib.contextmanager
    def work_folder(self, package_id: str) -> Iterator[Path]:
        """Yield an empty folder to make this package in, deleted at the end; one builder at a time."""
        packages = Path(self.home, "packages")
        packages.mkdir(parents=True, exist_ok=True)
        # A few lock files for all packages: one for each would stay for ever.
        with file_lock(packages / f".lock-{package_id[-2:]}"):
            remove_stale(packages, f".{package_id}-")
            work = Path(tempfile.mkdtemp(prefix=f".{package_id}-", dir=packages))
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)


class BundleBuilder(Assembler):
    """Builds folders that the process target runs; needs no container engine."""

    name: ClassVar[str] = "bundle"
    description: ClassVar[str] = (
        "A folder with the model, its script and all it depends on, run as a process."
    )

    def health(self) -> Health:
        """Say whether packages can be written."""
        folder = Path(self.home, "packages")
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        writable = folder.is_dir() and os.access(folder, os.W_OK)
        return Health(writable, "" if writable else f"{folder} cannot be written.")

    @tidied
    def build(self, request: BuildRequest, log: Log) -> BuiltPackage:
        """Make the bundle; see `ImageBuilder.build`."""
        if ready := self.find(request.package_id, request.slug):
            log(f"The package is there already: {ready.digest}.")
            return ready
        script, dependencies = self.prepare(request, PythonTarget(PYTHON_VERSION), log)
        try:
            with self.work_folder(request.package_id) as work:
                return self._finish(request, script, dependencies, work, log)
        except OSError as error:
            raise storage_error(error) from error

    def _finish(
        self, request: BuildRequest, script: Script, dependencies: Dependencies, work: Path, log: Log
    ) -> BuiltPackage:
        if ready := self.find(request.package_id, request.slug):
            return ready
        log("Putting the package together.")
        folder = work / "package"
        copy_tree(dependencies.site, folder / "site", link=True)
        self.assemble(request, script, dependencies, PYTHON_VERSION, folder)
        runner = local_runner(folder, self.validation_timeout, self.validation_memory)
        check_package(request, runner, log, work.parent)
        digest, size = folder_digest(folder)
        record = {"digest": digest, "size": size, "lock_sha256": dependencies.sha256}
        (work / _DIGEST_FILE).write_text(json.dumps(record), "utf-8")
        work.chmod(0o755)
        # The rename is the moment the package exists.
        os.replace(work, self._folder(request.package_id))
        built = self.find(request.package_id, request.slug)
        if built is None:
            raise BuildError("The package vanished while it was made.", hint="Package again.")
        log(f"The package is ready: {built.digest}, {built.size / 1e6:.0f} MB.")
        return built

    def find(self, package_id: str, slug: str) -> BuiltPackage | None:
        """Return the bundle of this id."""
        folder = self._folder(package_id)
        try:
            record = json.loads((folder / _DIGEST_FILE).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return BuiltPackage(self.name, str(folder / "package"), **record)

    def remove(self, package_id: str, slug: str) -> None:
        """Delete the bundle."""
        folder = self._folder(package_id)
        remove_stale(folder.parent, f".{package_id}-")
        shutil.rmtree(folder, ignore_errors=True)

    def inspect(self, package_id: str, slug: str, work: Path) -> Subject:
        """Return what the bundle holds; the Python it will run in is not a part of it."""
        folder = self._folder(package_id) / "package"
        try:
            return Subject(stock.of_folder(folder), folder=folder)
        except OSError as error:
            raise storage_error(error) from error

    def _folder(self, package_id: str) -> Path:
        if not package_id.isalnum():
            raise ValueError(f"{package_id!r} is not an id of a package.")
        return Path(self.home, "packages", package_id).absolute()


def copy_tree(source: Path, target: Path, *, link: bool = False, above: tuple[str, ...] = ()) -> None:
    """Copy a folder, without what git, Python and notebooks leave behind; links become what they lead to.

    With `link` files become hard links where the file system allows it. Links that lead nowhere, or back to a
    folder they are in (`above` are the real paths of those), are left out. Raises `OSError` at the first file
    that cannot be written: on a full disk there is no point in trying the others.
    """
    target.mkdir(parents=True, exist_ok=True)
    above = (*above, os.path.realpath(source))
    with os.scandir(source) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        place = target / entry.name
        if entry.name in _SKIPPED and not link:
            continue
        if entry.is_symlink() and (not os.path.exists(entry.path) or os.path.realpath(entry.path) in above):
            continue
        if entry.is_dir():
            copy_tree(Path(entry.path), place, link=link, above=above)
        elif not (link and _linked(entry.path, place)):
            shutil.copy2(entry.path, place)


def _linked(source: str, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        # Another file system, one without links, or a file that has too many.
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP):
            return False
        raise
    return True


def folder_digest(folder: Path) -> tuple[str, int]:
    """Return ``sha256:<hex>`` over the sorted (path, SHA-256) pairs of a folder, and its size in bytes.

    Byte code is left out of the first: it follows from the sources, but is not the same each time.
    """
    total, size = hashlib.sha256(), 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        size += path.stat().st_size
        if path.suffix == ".pyc":
            continue
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return f"sha256:{total.hexdigest()}", size


def _runtime_folder() -> Path:
    spec = find_spec("a360runtime")
    if spec is None or not spec.submodule_search_locations:
        raise BuildError("The serving runtime is not installed.", hint="Install the platform's wheel again.")
    return Path(next(iter(spec.submodule_search_locations)))


def _requirements_of(wrapper: str) -> list[str]:
    file = "mqtt-requirements.txt" if wrapper == "mqtt" else "serving-requirements.txt"
    lines = (_runtime_folder() / file).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _copy_runtime(source: Path, target: Path, *, compiled: bool) -> None:
    copy_tree(source, target)
    if compiled:
        compile_folder(target, "a360runtime/")


def _input_check(request: BuildRequest) -> tuple[str, str]:
    """Say when the served model checks its input against the signature, and why."""
    is_json = request.input_format.upper() == "JSON"
    return mode_of(request.manifest, is_json, request.validation_input)


def _manifest(
    request: BuildRequest, script: Script, dependencies: Dependencies, python: str
) -> dict[str, object]:
    topics = {"listen_topic": request.listen_topic, "respond_topic": request.respond_topic}
    return (
        dict(request.manifest)
        | (topics if request.wrapper == "mqtt" else {})
        | {
            "format": 1,
            "slug": request.slug,
            "wrapper": request.wrapper,
            "script": f"script/{script.path.name}",
            "call_function": request.call_function,
            "input_format": request.input_format,
            "output_format": request.output_format,
            "input_check": _input_check(request)[0],
            "commit": request.commit,
            "lock_sha256": dependencies.sha256,
            "python": python,
        }
    )
