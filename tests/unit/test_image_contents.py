"""What images hold, read from layers made here."""

import io
import tarfile
from pathlib import Path

import pytest

from a360_hub_service.backends.images.contents import Contents, read_layers

LIBC = b"\x7fELF ... GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"


def layer(path: Path, members: dict[str, bytes | str | None], mode: str = "w:gz") -> Path:
    """Write a layer: bytes are files, texts are links to what they say, None is a folder."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, what in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(what, str):
                info.type, info.linkname = tarfile.SYMTYPE, what
            elif what is None:
                info.type = tarfile.DIRTYPE
            info.size = len(what) if isinstance(what, bytes) else 0
            tar.addfile(info, io.BytesIO(what) if isinstance(what, bytes) else None)
    return path


DEBIAN: dict[str, bytes | str | None] = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "usr/bin/python3": "python3.11",
    "usr/bin/python3.11": b"program",
    "usr/lib/x86_64-linux-gnu/libc.so.6": LIBC,
    "usr/lib/python3/dist-packages/onnxruntime/__init__.py": b"",
}


def test_debian(tmp_path: Path) -> None:
    found = read_layers([layer(tmp_path / "a", DEBIAN)])
    assert found.python([]) == ("/usr/bin/python3", "3.11")
    assert found.python(["PATH=/bin"]) == ("/bin/python3", "3.11")
    assert found.python(["PATH=/opt/bin"]) is None
    assert (found.glibc, found.musl, found.has_runtime) == ("2.36", False, True)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_the_first_python_of_the_path_counts(tmp_path: Path, mode: str) -> None:
    own: dict[str, bytes | str | None] = {
        "./usr/local/bin/python3": "/usr/local/bin/python3.12",
        "./usr/local/bin/python3.12": b"program",
    }
    found = read_layers([layer(tmp_path / "a", DEBIAN), layer(tmp_path / "b", own, mode)])
    assert found.python([]) == ("/usr/local/bin/python3", "3.12")


def test_alpine(tmp_path: Path) -> None:
    members: dict[str, bytes | str | None] = {
        "lib/ld-musl-x86_64.so.1": b"",
        "usr/bin/python3": "python3.12",
        "usr/bin/python3.12": b"",
    }
    found = read_layers([layer(tmp_path / "a", members)])
    assert (found.musl, found.glibc, found.python([])) == (True, "", ("/usr/bin/python3", "3.12"))


@pytest.mark.parametrize(
    "removed",
    [
        {"usr/bin/.wh.python3.11": b"", "usr/lib/python3/dist-packages/.wh.onnxruntime": b""},
        {"usr/.wh.bin": b"", "usr/lib/python3/.wh..wh..opq": b""},
        {".wh.usr": b""},
    ],
)
def test_what_a_layer_removes_is_gone(tmp_path: Path, removed: dict[str, bytes | str | None]) -> None:
    found = read_layers([layer(tmp_path / "a", DEBIAN), layer(tmp_path / "b", removed)])
    assert found.python([]) is None
    assert not found.has_runtime


def test_a_layer_that_empties_a_folder_may_fill_it_anew(tmp_path: Path) -> None:
    members: dict[str, bytes | str | None] = {
        "usr/bin/python3": "python3.10",
        "usr/bin/python3.10": b"",
        "usr/bin/.wh..wh..opq": b"",
    }
    found = read_layers([layer(tmp_path / "a", DEBIAN), layer(tmp_path / "b", members)])
    assert found.python([]) == ("/usr/bin/python3", "3.10")


def test_links_in_a_circle_lead_nowhere() -> None:
    assert Contents(programs={"usr/bin/python3": "../bin/python3"}).python([]) is None


def test_what_is_no_layer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no tar" * 1000)
    with pytest.raises(tarfile.TarError):
        read_layers([tmp_path / "a"])
