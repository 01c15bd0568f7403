"""Taking stock of folders and layers: what is found, what a layer hides, and what is not read."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from a360_hub_service.backends.images import BuildError, stock
from a360_hub_service.backends.images.inventory import Distribution, Inventory, Release

NUMPY = {
    "app/site/numpy-2.1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: NumPy\nVersion: 2.1\n\nName: x\n"
}
STATUS = b"""Package: libssl3
Status: install ok installed
Architecture: amd64
Source: openssl (3.0.16-1)
Version: 3.0.16-1+b1
Description: libraries
 Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: zlib1g
Version: 1:1.2
"""


def layer(files: Mapping[str, bytes | str], mode: str = "w:gz") -> io.BytesIO:
    """A layer of files; a text is where a hard link leads."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.LNKTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    out.seek(0)
    return out


def take(cache: Path, *layers: Mapping[str, bytes | str], mode: str = "w:gz") -> Inventory:
    pairs = enumerate(layers)
    return stock.of_layers(
        [stock.layer_facts(cache, f"sha256:{n}", lambda each=each: layer(each, mode)) for n, each in pairs]  # type: ignore[misc]
    )


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_what_layers_hold(tmp_path: Path, mode: str) -> None:
    release = b'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
    base = {
        "usr/lib/os-release": release,
        "./var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/status.d/media-types": b"Package: media-types\nVersion: 10.0.0\n",
        "var/lib/dpkg/status.d/media-types.md5sums": b"Package: sums\nVersion: 1\n",
    }
    own = {"app/artifacts/trained_model": b"onnx", "app/script/predict.py": b"", "artifacts/other": b""}
    found = take(tmp_path, base, NUMPY, own, mode=mode)
    assert found.is_image
    assert found.release == Release("debian", "12", "bookworm")
    assert found.distributions == (Distribution("numpy", "2.1", "app/site/numpy-2.1.dist-info"),)
    packages = [(each.name, each.version, each.source, each.source_version) for each in found.packages]
    assert packages == [
        ("libssl3", "3.0.16-1+b1", "openssl", "3.0.16-1"),
        ("media-types", "10.0.0", "media-types", "10.0.0"),
        ("zlib1g", "1:1.2", "zlib1g", "1:1.2"),
    ]
    assert [(file.path, file.size) for file in found.files] == [
        ("artifacts/trained_model", 4),
        ("script/predict.py", 0),
    ]
    assert found.unread == ()


@pytest.mark.parametrize(
    "mark",
    [
        "app/.wh.site",
        "app/site/.wh.numpy-2.1.dist-info",
        "app/site/numpy-2.1.dist-info/.wh.METADATA",
        "app/site/.wh..wh..opq",
    ],
)
def test_what_a_layer_removes_is_gone(tmp_path: Path, mark: str) -> None:
    assert take(tmp_path, NUMPY, {mark: b""}).distributions == ()
    assert take(tmp_path / "again", {mark: b""}, NUMPY).distributions != ()


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    found = take(
        tmp_path,
        {
            "lib/apk/db/installed": b"P:musl\n",
            "var/lib/rpm/rpmdb.sqlite": b"",
            "usr/local/bin/python3.12": b"",
            "a.dist-info/METADATA": b"Metadata-Version: 2.1\n\n\xff",
            "b.dist-info/METADATA": "a.dist-info/METADATA",
        },
    )
    assert found.unread == (
        "a Python that no package brought",
        "b.dist-info/METADATA, which is a link",
        "packages of Alpine",
        "packages of RPM",
        "the Python package of a.dist-info/METADATA, which names no version",
    )


def test_packages_a_script_brings_along_count(tmp_path: Path) -> None:
    folder = tmp_path / "script" / "vendored-1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Name: vendored\nVersion: 1\n")
    found = stock.of_folder(tmp_path)
    assert not found.is_image
    assert [each.name for each in found.distributions] == ["vendored"]
    assert [file.path for file in found.files] == ["script/vendored-1.dist-info/METADATA"]


def archive(place: Path, documents: Mapping[str, bytes]) -> Path:
    place.write_bytes(layer(documents, "w").getvalue())
    return place


def test_an_archive_is_read_through_its_manifest(tmp_path: Path) -> None:
    config = json.dumps({"rootfs": {"diff_ids": ["sha256:1"]}}).encode()
    manifest = json.dumps([{"Config": "c.json", "Layers": ["one/layer.tar"]}]).encode()
    documents = {"manifest.json": manifest, "c.json": config, "one/layer.tar": layer(NUMPY, "w").getvalue()}
    found = stock.of_archive(archive(tmp_path / "image.tar", documents), tmp_path / "cache")
    assert [each.name for each in found.distributions] == ["numpy"]
    # Once read, a layer is known by what the engine calls it.
    documents["one/layer.tar"] = b"no layer any more"
    again = stock.of_archive(archive(tmp_path / "image.tar", documents), tmp_path / "cache")
    assert again == found


def test_what_a_base_says_of_its_layers_hides_nothing(tmp_path: Path) -> None:
    """A base's configuration may name the layer of another image; only its blob's digest was compared."""
    found = []
    for number, files in enumerate(({}, NUMPY)):
        name = f"blobs/sha256/{number:064}"
        manifest = json.dumps([{"Config": "c.json", "Layers": [name]}]).encode()
        config = json.dumps({"rootfs": {"diff_ids": ["sha256:1"]}}).encode()
        documents = {"manifest.json": manifest, "c.json": config, name: layer(files).getvalue()}
        found.append(stock.of_archive(archive(tmp_path / "image.tar", documents), tmp_path / "cache"))
    assert [len(each.distributions) for each in found] == [0, 1]


@pytest.mark.parametrize(
    "documents",
    [
        {},
        {"manifest.json": b"[]"},
        {"manifest.json": b"{"},
        {"manifest.json": b'[{"Config": "none", "Layers": []}]'},
        {"manifest.json": b'[{"Config": "c", "Layers": []}]', "c": b'{"rootfs": {"diff_ids": ["x"]}}'},
        {
            "manifest.json": b'[{"Config": "c", "Layers": ["l"]}]',
            "c": b'{"rootfs": {"diff_ids": ["x"]}}',
            "l": b"\x1f\x8b\x08 not really",
        },
    ],
)
def test_an_archive_that_is_none_is_an_error(tmp_path: Path, documents: dict[str, bytes]) -> None:
    place = archive(tmp_path / "image.tar", documents)
    with pytest.raises(BuildError, match="The image cannot be read: "):
        stock.of_archive(place, tmp_path / "cache")
