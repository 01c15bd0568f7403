"""Local images: Python environments built from an image's lock on first use and shared by workspaces."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import uv

from .catalogue import Image

SOURCE = Path(__file__).resolve().parent.parent
KIT_FOLDERS = ("a360mdk", "a360runtime", "a360_server_extension")
IPYTHON_CONFIG = """\
# Written by A360: `a360ai` is there in every kernel without an import.
c = get_config()
c.InteractiveShellApp.extensions.append("a360mdk.ipython")
"""
COMMANDS = {
    "pip": "pip",
    "pip3": "pip",
    "conda": "a360mdk.conda",
    "mamba": "a360mdk.conda",
}
"""What cells call with an exclamation mark, and the module of the workspace that answers."""
SERVER_EXTENSIONS = {"ServerApp": {"jpserver_extensions": {"a360_server_extension": True}}}

Progress = Callable[[str], None]


class ImageBuildError(RuntimeError):
    """An environment could not be built; the message ends with what uv said."""


def source_tree() -> Path | None:
    """The folder of the project when it runs from a checkout, else None (installed from a wheel)."""
    return SOURCE if (SOURCE / "pyproject.toml").is_file() else None


def image_key(image: Image) -> str:
    """What the environment depends on, as 12 hex characters: lock, kit, this recipe and the Python in use."""
    digest = hashlib.sha256(image.lock.read_bytes())
    digest.update(f"python {sys.version_info[:3]} {sys.platform}".encode())
    digest.update(Path(__file__).read_bytes())
    tree = source_tree()
    if tree is None:
        digest.update(version("a360").encode())
    else:
        for path in _kit_files(tree):
            digest.update(str(path.relative_to(tree)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _kit_files(tree: Path) -> Iterator[Path]:
    yield tree / "pyproject.toml"
    for folder in KIT_FOLDERS:
        yield from sorted(
            path for path in (tree / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )


def image_folder(images: Path, image: Image) -> Path:
    """Where the environment of this image lies, or will once it is built."""
    return images / f"{image.name}-{image_key(image)}"


def is_ready(images: Path, image: Image) -> bool:
    """Whether the environment is built: a folder under its final name is always a whole one."""
    return image_folder(images, image).is_dir()


def ensure_image(images: Path, image: Image, progress: Progress = lambda line: None) -> Path:
    """Build the environment of an image unless it is there.

    The environment grows in a temporary folder and is renamed when complete, so a killed build leaves nothing
    that looks finished. Builders wait for each other: two workspaces cause one build.

    Parameters
    ----------
    images : Path
        The folder of environments.
    image : Image
        What to build.
    progress : callable
        Called with one line per step.

    Returns
    -------
    Path
        The environment; its interpreter is ``bin/python`` in it.

    Raises
    ------
    ImageBuildError
        When uv fails, for example because the package index cannot be reached.
    """
    images.mkdir(parents=True, exist_ok=True)
    final = image_folder(images, image)
    if final.is_dir():
        return final
    with _locked(images / f".{image.name}.lock", progress):
        if not final.is_dir():
            _build(images, image, final, progress)
    return final


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Waiting for another workspace that builds the same image")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(images: Path, image: Image, final: Path, progress: Progress) -> None:
    for stale in images.glob(f".{image.name}.building-*"):  # we hold the lock: its builder was killed
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{image.name}.building-", dir=images))
    try:
        progress(f"Building image {image.title} (first use; takes under a minute)")
        env = work / "env"
        _uv("venv", "--quiet", "--relocatable", "--python", sys.executable, str(env))
        python = env / "bin" / "python"
        progress(f"Installing {image.lock.read_text().count('==')} packages")
        _uv("pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(image.lock))
        progress("Installing the A360 kit")
        tree = source_tree()
        kit = str(tree) if tree is not None else f"a360=={version('a360')}"
        fresh = ["--reinstall-package", "a360"] if tree is not None else []
        _uv("pip", "install", "--quiet", "--python", str(python), "--no-deps", *fresh, kit)
        _configure(env)
        env.rename(final)
        progress("Image ready")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def uv_environment() -> dict[str, str]:
    """Where uv runs: pip's folders and pages of wheels count for uv too, which reads its own variable only.

    Builds of PyTorch for the CPU, for example, are on no ordinary index.
    """
    environment = dict(os.environ)
    given = environment.get("PIP_FIND_LINKS", "").split()
    if given and not environment.get("UV_FIND_LINKS"):
        environment["UV_FIND_LINKS"] = ",".join(given)
    return environment


def _uv(*arguments: str) -> None:
    done = subprocess.run(
        [uv.find_uv_bin(), *arguments], capture_output=True, text=True, env=uv_environment()
    )
    if done.returncode != 0:
        raise ImageBuildError(f"uv {arguments[0]} failed: {done.stderr.strip()[-2000:]}")


def _configure(env: Path) -> None:
    """System-level configuration: the kit in every kernel, activity as the platform understands it."""
    pandoc = _site_packages(env) / "pypandoc" / "files" / "pandoc"
    if pandoc.is_file():  # nbconvert looks for it on the search path
        (env / "bin" / "pandoc").symlink_to(os.path.relpath(pandoc, env / "bin"))
    write_ipython_config(env)
    folder = env / "etc" / "jupyter" / "jupyter_server_config.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a360-activity.json").write_text(json.dumps(SERVER_EXTENSIONS, indent=2))


def write_ipython_config(prefix: Path) -> None:
    """Load the kit in every kernel whose ``sys.prefix`` this is."""
    folder = prefix / "etc" / "ipython"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ipython_config.py").write_text(IPYTHON_CONFIG)


def ensure_overlay(image_env: Path, home: Path) -> Path:
    """Make or refresh a workspace's own environment on top of its image.

    It sees everything the image has and takes what ``pip install`` in a cell adds, for this workspace alone.
    It survives a rebuild or change of the image: only the links are set anew.

    Parameters
    ----------
    image_env : Path
        What :func:`ensure_image` returned.
    home : Path
        Home of the workspace.

    Returns
    -------
    Path
        ``<home>/.a360/env``.
    """
    overlay = home / ".a360" / "env"
    image_python = image_env / "bin" / "python"
    if not (overlay / "pyvenv.cfg").is_file() or not (overlay / "bin" / "python").exists():
        overlay.parent.mkdir(parents=True, exist_ok=True)
        command = [str(image_python), "-m", "venv", "--without-pip", "--clear", str(overlay)]
        subprocess.run(command, check=True, capture_output=True)
    site = _site_packages(overlay)
    _replace(site / "_a360_image.pth", f"import site; site.addsitedir({str(_site_packages(image_env))!r})\n")
    for name, module in COMMANDS.items():
        _replace(overlay / "bin" / name, _module_script(overlay, module), mode=0o755)
    write_ipython_config(overlay)
    _write_kernel_spec(overlay)
    return overlay


def _site_packages(env: Path) -> Path:
    return env / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _module_script(overlay: Path, module: str) -> str:
    # A shell starts it, because a home can be longer than a #! line may be.
    # -P: files of the folder it is called in must not stand in for modules.
    return f'#!/bin/sh\nexec {_quoted(str(overlay / "bin" / "python"))} -P -m {module} "$@"\n'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _write_kernel_spec(overlay: Path) -> None:
    folder = overlay / "share" / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True, exist_ok=True)
    argv = [str(overlay / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {
        "argv": argv,
        "display_name": "Python 3 (A360)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    _replace(folder / "kernel.json", json.dumps(spec, indent=1))


def _replace(path: Path, text: str, mode: int = 0o644) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(mode)
    os.replace(temporary, path)
