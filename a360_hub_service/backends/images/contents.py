"""What an image holds, read from its layers without running anything."""

import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_PYTHON = re.compile(r"python3(?:\.\d+)?")
_VERSION = re.compile(r"python(3\.\d+)")
_LIBC = re.compile(r"(?:.*/)?lib(?:64)?/(?:[^/]*-linux-gnu[^/]*/)?libc(?:\.so\.6|-2\.\d+\.so)")
_MUSL = re.compile(r"(?:.*/)?lib/ld-musl-[^/]*\.so\.1")
_BANNER = re.compile(rb"stable release version (\d+\.\d+)")
_RUNTIME = re.compile(r".*/onnxruntime/__init__\.py")
_LARGEST_LIBC = 64 * 1024 * 1024
_MERGED = ("bin", "sbin", "lib", "lib64")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where engines look for programs in images that do not say where."""
_LINKS = 20
"""How many links may lead to a program before they are taken for a circle."""


@dataclass
class Contents:
    """What of an image says whether models can be served on it.

    `programs` holds files and links called python3 or python3.x by their path, links with where they lead;
    `links` those of the root folder, `runtimes` copies of ONNX Runtime.
    """

    programs: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    musl: bool = False
    glibc: str = ""

    def python(self, environment: Iterable[str]) -> tuple[str, str] | None:
        """Return path and version ("3.11") of the Python that ``python3`` is; None when there is none."""
        settings = dict(line.partition("=")[::2] for line in environment)
        for folder in (settings.get("PATH") or PATH).split(":"):
            program = f"{folder.strip('/')}/python3"
            found = self._follow(program)
            if found and (version := _VERSION.fullmatch(PurePosixPath(found).name)):
                return f"/{program}", version.group(1)
        return None

    @property
    def has_runtime(self) -> bool:
        """Does it hold ONNX Runtime for Python?"""
        return bool(self.runtimes)

    def _follow(self, path: str) -> str:
        for _ in range(_LINKS):
            first, _, rest = path.partition("/")
            if first in _MERGED and (to := self.links.get(first)):
                path = _joined("", to, rest)
            target = self.programs.get(path)
            if target is None:
                return ""
            if not target:
                return path
            path = _joined(str(PurePosixPath(path).parent), target)
        return ""


def read_layers(layers: Iterable[Path]) -> Contents:
    """Return what is in an image of these layers, gzip or plain tar files, the lowest first.

    Raises `tarfile.TarError` or `OSError` for what is no such file.
    """
    found = Contents()
    for layer in layers:
        with tarfile.open(layer, mode="r|*") as tar:
            # What a layer removes is of the layers under it, wherever in the layer that is said.
            below = Contents(dict(found.programs), dict(found.links), dict(found.runtimes), found.musl)
            own = Contents(glibc=found.glibc)
            for info in tar:
                _take(info, tar, own, below)
            found = Contents(
                below.programs | own.programs,
                below.links | own.links,
                below.runtimes | own.runtimes,
                below.musl or own.musl,
                own.glibc,
            )
    return found


def _take(info: tarfile.TarInfo, tar: tarfile.TarFile, own: Contents, below: Contents) -> None:
    name = info.name.removeprefix("./").strip("/")
    folder, _, last = name.rpartition("/")
    if last.startswith(".wh."):
        _remove(below, folder if last == ".wh..wh..opq" else f"{folder}/{last[4:]}".strip("/"), last)
    elif not folder and last in _MERGED and info.issym():
        own.links[last] = info.linkname
    elif (
        _PYTHON.fullmatch(last) and folder.endswith("bin") and (info.isfile() or info.issym() or info.islnk())
    ):
        # A hard link leads from the root.
        own.programs[name] = f"/{info.linkname}" if info.islnk() else info.linkname if info.issym() else ""
    elif _RUNTIME.fullmatch(name):
        own.runtimes[name] = ""
    elif _MUSL.fullmatch(name):
        own.musl = True
    elif info.isfile() and info.size < _LARGEST_LIBC and _LIBC.fullmatch(name):
        file = tar.extractfile(info)
        if file and (banner := _BANNER.search(file.read())):
            own.glibc = banner.group(1).decode()


def _remove(below: Contents, gone: str, mark: str) -> None:
    def is_gone(name: str) -> bool:
        return name.startswith(f"{gone}/") or not gone or (name == gone and mark != ".wh..wh..opq")

    for names in (below.programs, below.links, below.runtimes):
        for name in [name for name in names if is_gone(name)]:
            del names[name]


def _joined(folder: str, target: str, *more: str) -> str:
    """Return the path from the root that a link in `folder` leads to."""
    parts: list[str] = [] if target.startswith("/") else [part for part in folder.split("/") if part != "."]
    for part in (*target.split("/"), *more):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts).strip("/")
