"""From requirements to a folder of installed packages, by uv, cached by content."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import uv
from traitlets import Float, Unicode
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.children import environment, finished, tied
from a360_hub_service.backends.images.base import BuildError
from a360_hub_service.backends.images.bytecode import compile_folder

_NOT_FOUND = re.compile(r"Because (\S+) was not found in the package registry")
_NO_WHEELS = re.compile(
    r"Because (?:all versions of )?(\S+) has? ?(?:have )?no usable wheels|Wheels are required for `([^`]+)`"
)

_RECIPE = "2"
"""Of installing a lock: what was installed in another way is not used."""
_UNUSED = (
    # Command-line programs of packages point to a Python that is not where they will run.
    "bin/*",
    # For programs in C. The module for Python holds the whole runtime a second time.
    "onnxruntime/capi/libonnxruntime.so.*",
)

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The Python that runs this service."""


@dataclass(frozen=True)
class PythonTarget:
    """The Python that will run a package: version ("3.11") and a platform uv knows ("": this machine's)."""

    version: str
    platform: str = ""


@dataclass(frozen=True)
class Dependencies:
    """Installed packages: their lock, its hash (with the Python it is for) and the folder they lie in."""

    lock: str
    sha256: str
    site: Path


class DependencyResolver(LoggingConfigurable):
    """Locks requirements and installs locks. Wheels only: nothing of a package's own code runs here."""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    timeout = Float(600.0, help="Seconds a resolution or an installation may take.").tag(config=True)
    lock_lifetime = Float(
        86_400.0,
        help="Seconds for which the same requirements give the same lock, without a look at the index.",
    ).tag(config=True)

    def prepare(self, requirements: Sequence[str], python: PythonTarget, log: Log) -> Dependencies:
        """Return the installed packages that satisfy `requirements`. Raises `BuildError`."""
        try:
            lock = self._lock(requirements, python, log)
            content = f"{_RECIPE} {python.version} {python.platform}\n{lock}"
            key = hashlib.sha256(content.encode()).hexdigest()
            return Dependencies(lock, key, self._install(lock, key, python, log))
        except OSError as error:
            raise storage_error(error) from error

    def _lock(self, requirements: Sequence[str], python: PythonTarget, log: Log) -> str:
        text = "\n".join(sorted(requirements)) + "\n"
        key = hashlib.sha256(f"{python.version} {python.platform}\n{text}".encode()).hexdigest()
        folder = Path(self.home, "cache", "locks")
        folder.mkdir(parents=True, exist_ok=True)
        known = folder / f"{key}.txt"
        if known.exists() and time.time() - known.stat().st_mtime < self.lock_lifetime:
            log(f"Dependencies are locked already (lock {key[:12]}).")
            return known.read_text("utf-8")
        log(f"Resolving dependencies: {', '.join(sorted(requirements))}.")
        with tempfile.TemporaryDirectory(dir=folder) as work:
            Path(work, "requirements.in").write_text(text, "utf-8")
            options = [
                "--no-header",
                "--no-annotate",
                "--generate-hashes",
                "-o",
                "lock.txt",
                "requirements.in",
            ]
            self._uv(["pip", "compile", *_for(python), *options], Path(work))
            os.replace(Path(work, "lock.txt"), known)
        return known.read_text("utf-8")

    def _install(self, lock: str, key: str, python: PythonTarget, log: Log) -> Path:
        folder = Path(self.home, "cache", "deps", key)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.parent / f"{key}.lock"):
            remove_stale(folder.parent, f".{key}-")
            if folder.exists():
                os.utime(folder)
                log(f"Dependencies are installed already (lock {key[:12]}).")
                return folder / "site"
            packages = lock.count("==")
            log(f"Installing {packages} packages (lock {key[:12]}).")
            work = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder.parent))
            try:
                (work / "lock.txt").write_text(lock, "utf-8")
                # Copied, not linked: nothing that happens here may reach the cache of uv.
                options = ["--no-deps", "--require-hashes", "--link-mode=copy"]
                self._uv(["pip", "install", *_for(python), *options, "--target=site", "-r", "lock.txt"], work)
                _drop_unused(work / "site")
                if python.version == PYTHON_VERSION:
                    compile_folder(work / "site")
                work.chmod(0o755)
                os.replace(work, folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return folder / "site"

    def _uv(self, arguments: list[str], folder: Path) -> None:
        command = [uv.find_uv_bin(), "--quiet", "--no-progress", "--color=never", *arguments]
        try:
            done = finished(tied(command), self.timeout, env=environment(), cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise BuildError(
                f"Resolving or installing dependencies took longer than {self.timeout:.0f} seconds.",
                hint="Check that the package index answers, then package again.",
                field="dependencies",
            ) from error
        if done.returncode:
            raise _explain(done.stderr)


def _drop_unused(site: Path) -> None:
    """Delete what no served model uses, and what packages' records say about it."""
    for pattern in _UNUSED:
        for path in site.glob(pattern):
            path.unlink()
    shutil.rmtree(site / "bin", ignore_errors=True)
    for record in site.glob("*.dist-info/RECORD"):
        lines = record.read_text("utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not any(fnmatch(line.partition(",")[0], each) for each in _UNUSED)]
        record.write_text("".join(kept), "utf-8")


def remove_stale(folder: Path, prefix: str) -> None:
    """Delete the work folders a killed process left; call with the lock under which they are made."""
    for stale in folder.glob(f"{prefix}*"):
        shutil.rmtree(stale, ignore_errors=True)


def made_once(file: Path, make: Callable[[Path], None]) -> Path:
    """Return `file`, which is whole or absent: made by `make` under another name if it is not there.

    One maker at a time, of all threads and processes; nothing is left of one that failed or was killed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    # A few lock files for all: one for each would stay for ever.
    with file_lock(file.parent / f".lock-{hashlib.sha256(file.name.encode()).hexdigest()[:2]}"):
        remove_stale(file.parent, f".{file.name}-")
        if file.exists():
            os.utime(file)
        else:
            work = Path(tempfile.mkdtemp(prefix=f".{file.name}-", dir=file.parent))
            try:
                make(work / "new")
                os.replace(work / "new", file)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return file


def storage_error(error: OSError) -> BuildError:
    """Return what to tell about a folder of the platform that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuildError("No space is left on the disk of the platform.", hint=_SPACE_HINT)
    return BuildError(
        f"The package could not be stored: {error.strerror or error}.", hint="Tell the operator."
    )


_SPACE_HINT = "Free disk space on the platform's machine, then package again."


def _for(python: PythonTarget) -> list[str]:
    platform = [f"--python-platform={python.platform}"] if python.platform else []
    return [
        f"--python={sys.executable}",
        f"--python-version={python.version}",
        *platform,
        "--only-binary=:all:",
    ]


def _explain(output: str) -> BuildError:
    said = " ".join(line.strip() for line in output.splitlines() if line.strip())[-1200:]
    if "No space left on device" in said or "os error 28" in said:
        return BuildError("No space is left on the disk of the platform.", hint=_SPACE_HINT)
    if match := _NOT_FOUND.search(said):
        name = match.group(1)
        return _bad(f"There is no package {name} in the package index.", f"Correct or remove {name}.")
    if match := _NO_WHEELS.search(said):
        name = match.group(1) or match.group(2)
        return _bad(
            f"The package {name} comes only as source code for this Python; only built wheels are installed.",
            f"Choose another version of {name}, or another package.",
        )
    if "error sending request" in said or "dns error" in said or "Failed to fetch" in said:
        return _bad(f"The package index does not answer: {said}", "Check the network, then package again.")
    reason = said.partition("cause: ")[2] or said.partition("error: ")[2] or said
    return _bad(
        f"The dependencies cannot be resolved: {reason}", "Change the versions that contradict each other."
    )


def _bad(message: str, hint: str) -> BuildError:
    return BuildError(message, hint=hint, field="dependencies")


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock that other threads and other processes respect."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
