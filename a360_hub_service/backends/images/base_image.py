"""The platform's own base image: Python 3.11 from Debian packages and nothing else. No shell, no installer.

Run ``python -m a360_hub_service.backends.images.base_image`` to make it ahead of the first package.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import docker
from docker.errors import ImageNotFound

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.children import tied
from a360_hub_service.backends.engine import engine
from a360_hub_service.backends.images.base import BuildError
from a360_hub_service.backends.images.contents import PATH
from a360_hub_service.backends.images.layout import write_layout
from a360_hub_service.backends.images.resolve import file_lock, remove_stale
from a360_hub_service.backends.images.serving import TIME, USER

PYTHON = "3.11"
GLIBC = "2.36"

DEBIAN_PACKAGES = (
    *(
        "base-files",
        "ca-certificates",
        "libbz2-1.0",
        "libc-bin",
        "libc6",
        "libcrypt1",
        "libexpat1",
        "libffi8",
    ),
    *("libgcc-s1", "libgomp1", "liblzma5", "libpython3.11-minimal", "libpython3.11-stdlib", "libsqlite3-0"),
    *(
        "libssl3",
        "libstdc++6",
        "libuuid1",
        "media-types",
        "netbase",
        "python3.11-minimal",
        "tzdata",
        "zlib1g",
    ),
)
"""What the base image is made of."""
RECIPE = "2"

# Nothing here is used by a served model; what is left has no shell and no way to install anything.
_PRUNED = (
    *(
        f"usr/share/{name}/"
        for name in ("man", "locale", "lintian", "i18n", "info", "bug", "menu", "pixmaps")
    ),
    *(
        f"usr/share/{name}/"
        for name in ("zoneinfo/right", "zoneinfo/posix", "base-files", "binfmts", "python")
    ),
    *(f"usr/lib/python3.11/{name}/" for name in ("idlelib", "tkinter", "turtledemo", "test", "lib2to3")),
    *(f"usr/lib/python3.11/{name}/" for name in ("ensurepip", "pydoc_data", "distutils")),
    "usr/share/applications/",
    "usr/sbin/",
    # Of libc-bin only the locale C.UTF-8 is wanted, by which models of texts fold them to lower case.
    *(f"usr/bin/{name}/" for name in ("catchsegv", "getconf", "getent", "iconv", "ld.so", "ldd", "locale")),
    *(f"usr/bin/{name}/" for name in ("localedef", "pldd", "tzselect", "zdump")),
    "etc/dpkg/",
)
_PRUNED_PARTS = (
    "/gconv/",
    "/__pycache__/",
    "/lib-dynload/_curses",
    "/lib-dynload/readline",
    "/lib-dynload/_dbm",
)
# In a fresh process with a fixed seed: byte code depends on the order of sets and on what else is in memory.
_COMPILE = """
import json, py_compile
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for number, name in enumerate(json.load(open("names.json"))):
    py_compile.compile(f"{number}.py", f"{number}.pyc", dfile=name, doraise=True, invalidation_mode=mode)
"""
_PROGRAMS = {"usr/bin/python3", "usr/bin/python3.11"}
_MERGED = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")


class Rootfs:
    """A tree of files gathered in memory and written as a tar that is the same byte for byte each time."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}

    def add(self, info: tarfile.TarInfo, data: bytes = b"") -> None:
        """Put a member in, with its names of owner and its times made neutral."""
        info.mtime, info.uname, info.gname, info.pax_headers = TIME, "", "", {}
        self.members[info.name] = (info, data)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file in that belongs to root."""
        info = tarfile.TarInfo(name)
        info.mode, info.size = mode, len(data)
        self.add(info, data)

    def folder(self, name: str, mode: int = 0o755, owner: int = 0) -> None:
        """Put a folder in."""
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
        self.add(info)

    def link(self, name: str, target: str) -> None:
        """Put a symbolic link in."""
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self.add(info)

    def write(self, out: IO[bytes]) -> None:
        """Write the tar."""
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name in sorted(self.members):
                info, data = self.members[name]
                tar.addfile(info, io.BytesIO(data))


def ensure_base_image(home: Path, repository: str, log: Log, *, rebuild: bool = False) -> str:
    """Return the name of the base image, made now when the engine does not have it. Raises `BuildError`.

    The image made last is used until `rebuild` asks for one from today's Debian packages.
    """
    record = home / "cache" / "base" / f"{RECIPE}-{platform.machine()}.txt"
    with engine(BuildError) as client:
        if not rebuild and record.exists() and _has(client, record.read_text("utf-8")):
            return record.read_text("utf-8")
        log("Making the serving base image from Debian packages.")
        with debian_packages(home / "cache" / "base") as packages:
            root = build_rootfs(packages)
        with tempfile.TemporaryFile(dir=home / "cache" / "base") as file:
            root.write(file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = f"{repository}/serving-base:{digest[:12]}"
            if not _has(client, name):
                file.seek(0)
                _import(client, file, name)
        record.write_text(name, "utf-8")
        log(f"The base image {name} is ready.")
        return name


def layout_folder(home: Path) -> Path:
    """Return where the base image as an OCI layout is, once it was made."""
    return home / "cache" / "base" / f"layout-{RECIPE}-{platform.machine()}"


def ensure_base_layout(home: Path, log: Log, *, rebuild: bool = False) -> Path:
    """Return the folder of the base image as an OCI layout, made now when there is none. Raises `BuildError`.

    Takes no container engine. What was made last is used until `rebuild` asks for one from today's packages.
    """
    folder = layout_folder(home)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.parent / f".{folder.name}.lock"):
        remove_stale(folder.parent, f".{folder.name}-")
        if folder.exists() and not rebuild:
            return folder
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            log("Making the serving base image from Debian packages.")
            with debian_packages(work) as packages:
                root = build_rootfs(packages)
            tar = work / "layer.tar"
            with tar.open("wb") as file:
                root.write(file)
            layout = write_layout(tar, _base_config(), work / "layout")
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(layout, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        log("The base image is ready.")
        return folder


def _base_config() -> dict[str, object]:
    return {
        "User": f"{USER}:{USER}",
        "WorkingDir": "/app",
        "Env": ["LANG=C.UTF-8", f"PATH={PATH}"],
        "Entrypoint": ["/usr/bin/python3"],
        "Labels": {"a360.base": "serving"},
    }


def _has(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def _import(client: docker.DockerClient, file: IO[bytes], name: str) -> None:
    repository, _, tag = name.rpartition(":")
    changes = [
        f"USER {USER}:{USER}",
        "WORKDIR /app",
        "ENV LANG=C.UTF-8",
        'ENTRYPOINT ["/usr/bin/python3"]',
        "LABEL a360.base=serving",
    ]
    answer = client.api.import_image_from_data(file, repository=repository, tag=tag, changes=changes)
    for line in str(answer).splitlines():
        if line.strip() and "error" in json.loads(line):
            raise BuildError(f"The base image could not be imported: {json.loads(line)['error']}")


@contextlib.contextmanager
def debian_packages(cache: Path) -> Iterator[list[Path]]:
    """Download the packages of the machine's own Debian release, checked by apt against its signatures."""
    _require_debian()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        folder = Path(work)
        for name in ("lists/partial", "archives/partial", "debs"):
            (folder / name).mkdir(parents=True)
        options = {
            "Dir::State::Lists": folder / "lists",
            "Dir::Cache::Archives": folder / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        apt = [
            "apt-get",
            "-q",
            *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
        ]
        _run(tied([*apt, "update"]), folder, "apt-get")
        _run(tied([*apt, "download", *DEBIAN_PACKAGES]), folder / "debs", "apt-get")
        yield sorted((folder / "debs").glob("*.deb"))


def obstacle() -> str:
    """Why the base image cannot be made on this machine; empty when it can."""
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    tools = all(shutil.which(tool) for tool in ("apt-get", "dpkg-deb"))
    if not tools or (release.get("ID"), release.get("VERSION_ID")) != ("debian", "12"):
        return "The platform's base image can only be made on Debian 12."
    return ""


def _require_debian() -> None:
    if reason := obstacle():
        raise BuildError(
            reason,
            hint="Give a base image with Python in the form; the operator can set one for all.",
            field="base_image",
        )


def _run(command: list[str], folder: Path, name: str) -> bytes:
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-800:]
        hint = "Check that Debian's package servers can be reached, or give a base image of your own."
        raise BuildError(f"{name} failed: {said}", hint=hint, field="base_image")
    return done.stdout


def build_rootfs(packages: list[Path]) -> Rootfs:
    """Return the files of the base image from Debian packages."""
    root = Rootfs()
    for name in _MERGED[:4]:
        root.link(name, f"usr/{name}")
    for package in packages:
        _unpack(package, root)
    _add_own_files(root)
    if sys.version_info[:2] == (3, 11):
        _compile_library(root)
    programs = {name for name in root.members if name.startswith("usr/bin/")} - _PROGRAMS
    if programs:
        raise BuildError(f"The base image would hold {', '.join(sorted(programs))}.")
    return root


def _unpack(package: Path, root: Rootfs) -> None:
    content = _run(["dpkg-deb", "--fsys-tarfile", str(package)], package.parent, "dpkg-deb")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for info in tar:
            name = info.name.removeprefix("./").rstrip("/")
            if name.partition("/")[0] in _MERGED:
                name = f"usr/{name}"
            if not name or name == "usr" or (name in root.members and info.isdir()) or _is_pruned(name):
                continue
            data = tar.extractfile(info) if info.isfile() else None
            info.name = name
            if info.islnk():
                info.linkname = info.linkname.removeprefix("./")
            # No file of the image needs the rights of its owner.
            info.mode &= 0o1777
            root.add(info, data.read() if data else b"")
    control = _run(["dpkg-deb", "--field", str(package)], package.parent, "dpkg-deb")
    # Scanners of images read the packages from here, as they do in other images without dpkg.
    root.file(f"var/lib/dpkg/status.d/{package.name.partition('_')[0]}", control)


def _is_pruned(name: str) -> bool:
    if f"{name}/".startswith(_PRUNED) or any(part in f"/{name}/" for part in _PRUNED_PARTS):
        return True
    # Licences stay.
    in_doc = name.startswith("usr/share/doc/")
    return in_doc and name.count("/") > 3 and not name.endswith("/copyright")


def _add_own_files(root: Rootfs) -> None:
    root.folder("tmp", 0o1777)
    root.folder("app")
    root.folder("home/nonroot", 0o755, USER)
    passwd = (
        f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/home/nonroot:/sbin/nologin\n"
    )
    root.file("etc/passwd", passwd.encode())
    root.file("etc/group", f"root:x:0:\nnonroot:x:{USER}:\n".encode())
    root.file("etc/nsswitch.conf", b"hosts: files dns\n")
    root.link("usr/bin/python3", "python3.11")
    certificates = [
        data
        for name, (_, data) in sorted(root.members.items())
        if name.startswith("usr/share/ca-certificates/")
    ]
    root.folder("etc/ssl/certs")
    root.link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt")
    root.file("etc/ssl/certs/ca-certificates.crt", b"".join(certificates))


def _compile_library(root: Rootfs) -> None:
    """Add byte code, which a read-only image cannot keep for itself."""
    sources = {
        name: data
        for name, (info, data) in sorted(root.members.items())
        if name.startswith("usr/lib/python3.11/") and name.endswith(".py") and info.isfile()
    }
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        for number, data in enumerate(sources.values()):
            (folder / f"{number}.py").write_bytes(data)
        (folder / "names.json").write_text(json.dumps([f"/{name}" for name in sources]))
        environment = {"PYTHONHASHSEED": "0"}
        subprocess.run([sys.executable, "-S", "-c", _COMPILE], cwd=folder, env=environment, check=True)
        for number, name in enumerate(sources):
            path = Path(name)
            compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
            root.file(compiled.as_posix(), (folder / f"{number}.pyc").read_bytes())


def main() -> int:
    """Make the base image from today's packages."""
    parser = argparse.ArgumentParser(description="Make the base image of served models.")
    parser.add_argument("--home", default=os.environ.get("A360_HOME", ".a360"), help="state directory")
    parser.add_argument("--repository", default="a360", help="first part of the image's name")
    parser.add_argument(
        "--layout", action="store_true", help="write an OCI layout, which takes no container engine"
    )
    options = parser.parse_args()
    try:
        if options.layout:
            name = str(ensure_base_layout(Path(options.home), _to_stderr, rebuild=True))
        else:
            name = ensure_base_image(Path(options.home), options.repository, _to_stderr, rebuild=True)
    except BuildError as error:
        _to_stderr(f"{error} {error.hint}")
        return 1
    sys.stdout.write(f"{name}\n")
    return 0


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
