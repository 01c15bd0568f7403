"""Local images: keys, locks, and overlays on a real environment (no package index needed)."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spawner_profiles import environments
from spawner_profiles.catalogue import Image, catalogue
from spawner_profiles.environments import (
    ImageBuildError,
    ensure_image,
    ensure_overlay,
    image_folder,
    image_key,
)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    lock = tmp_path / "empty.lock"
    lock.write_text("")
    return Image(name="a360-test-sklearn", flavor="sklearn", title="Test", packages=[], lock=lock)


@pytest.mark.row("M010")
def test_lock_pins_and_hashes_everything_and_names_no_index() -> None:
    for each in catalogue().images:
        text = each.lock.read_text()
        requirements = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert all("==" in line for line in requirements)
        assert text.count("--hash=sha256:") >= len(requirements)
        assert "http" not in text.replace("httpcore", "").replace("httpx", "").replace("aiohttp", "")
        for line in requirements:
            if line.startswith("pandas=="):
                assert int(line.split("==")[1].split(".")[0]) < 3


@pytest.mark.row("M010")
def test_lock_is_what_the_packages_ask_for() -> None:
    import re

    from packaging.requirements import Requirement

    for each in catalogue().images:
        locked = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", each.lock.read_text(), re.MULTILINE))
        for text in each.packages:
            requirement = Requirement(text)
            assert requirement.specifier.contains(locked[requirement.name.lower()]), text


LIBRARIES = """
altair beautifulsoup4 bokeh dask h5py ipython joblib jupyterlab matplotlib nbconvert nbdime numba numpy
onnx onnxruntime pandas pypandoc-binary patsy pillow pip pyarrow scikit-image scikit-learn scipy seaborn
"""
FRAMEWORKS = {
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "pytorch": "torch",
    "tensorflow": "tensorflow-cpu",
    "huggingface": "transformers",
}


@pytest.mark.row("M009", "M010")
def test_every_framework_has_an_image_and_every_image_the_libraries_people_expect() -> None:
    """Left out is what is no package of Python: conda, mamba, and libraries that wheels hold inside."""
    by_flavor = {image.flavor: image for image in catalogue().images}
    assert set(by_flavor) == set(FRAMEWORKS)
    for flavor, image in by_flavor.items():
        locked = {line.partition("==")[0] for line in image.lock.read_text().splitlines() if "==" in line}
        assert {*LIBRARIES.split(), FRAMEWORKS[flavor]} <= locked, flavor
        parts = image.name.split("-")
        assert (parts[-2] if flavor == "huggingface" else parts[-1]) == flavor


def test_the_image_of_the_default_size_comes_first() -> None:
    known = catalogue()
    assert known.images[0].name == known.profiles[0].image


def test_folders_of_wheels_that_pip_knows_are_known_to_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/some/wheels https://wheels.example.org/cpu")
    assert environments.uv_environment()["UV_FIND_LINKS"] == "/some/wheels,https://wheels.example.org/cpu"
    monkeypatch.setenv("UV_FIND_LINKS", "/others")
    assert environments.uv_environment()["UV_FIND_LINKS"] == "/others"


def test_images_for_clusters_are_made_from_the_same_locks_and_the_whole_kit() -> None:
    root = environments.SOURCE
    lines = (root / "helm" / "images" / "workspace" / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY ") for word in line.split()[2:-1]]
    for image in catalogue().images:
        for source in copied:
            assert (root / source.replace("${flavor}", image.flavor)).exists()
        assert any(root / source.replace("${flavor}", image.flavor) == image.lock for source in copied)
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)


def test_key_follows_lock_and_kit(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = image_key(image)
    assert image_key(image) == before
    image.lock.write_text("x==1\n")
    changed = image_key(image)
    assert changed != before
    tree = tmp_path / "tree"
    (tree / "a360mdk").mkdir(parents=True)
    (tree / "pyproject.toml").write_text("")
    monkeypatch.setattr(environments, "SOURCE", tree)
    first = image_key(image)
    (tree / "a360mdk" / "new.py").write_text("")
    assert len({before, changed, first, image_key(image)}) == 4


def test_a_build_that_fails_leaves_nothing_and_says_why(image: Image, tmp_path: Path) -> None:
    image.lock.write_text("no-such-package-a360==1.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(ImageBuildError, match="no-such-package-a360"):
        ensure_image(tmp_path / "images", image)
    assert not image_folder(tmp_path / "images", image).exists()
    assert not list((tmp_path / "images").glob(".*building*"))


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment with pip and one package, made without an index."""
    env = tmp_path / "image"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    (environments._site_packages(env) / "of_image.py").write_text("where = 'image'")
    return env


def wheel(folder: Path, name: str, body: str) -> Path:
    """A wheel, written by hand."""
    import zipfile

    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", body)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.row("M011")
def test_pip_in_a_workspace_changes_that_workspace_alone(environment: Path, tmp_path: Path) -> None:
    here, there = (ensure_overlay(environment, tmp_path / name) for name in ("one's home", "two"))
    assert run(here / "bin" / "python", "-c", "import of_image; print(of_image.where)") == "image"
    added = wheel(tmp_path, "tiny_a360", "value = 42")
    run(here / "bin" / "pip", "install", "--no-index", "--quiet", added)
    assert run(here / "bin" / "python", "-c", "import tiny_a360; print(tiny_a360.value)") == "42"
    missing = subprocess.run([there / "bin" / "python", "-c", "import tiny_a360"], capture_output=True)
    assert missing.returncode == 1


@pytest.mark.row("M011")
def test_conda_lists_what_pip_lists_and_says_what_to_do_instead(environment: Path, tmp_path: Path) -> None:
    kit = environments._site_packages(environment) / "a360mdk"
    kit.mkdir()
    (kit / "__init__.py").touch()
    (kit / "conda.py").write_text(Path(environments.SOURCE, "a360mdk", "conda.py").read_text())
    overlay = ensure_overlay(environment, tmp_path / "home")
    run(
        overlay / "bin" / "pip",
        "install",
        "--no-index",
        "--quiet",
        wheel(tmp_path, "tiny_a360", "value = 42"),
    )
    listed = run(overlay / "bin" / "conda", "list")
    assert listed.startswith(f"# packages in environment at {overlay}")
    assert {line.split()[0] for line in listed.splitlines() if line[0] != "#"} >= {
        "pip",
        "python",
        "tiny_a360",
    }
    assert "pip " not in run(overlay / "bin" / "mamba", "list", "tiny*")
    refused = subprocess.run(
        [overlay / "bin" / "conda", "install", "-y", "numpy"], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "Use: pip install numpy" in refused.stderr


def test_overlay_outlives_a_change_of_image(environment: Path, tmp_path: Path) -> None:
    overlay = ensure_overlay(environment, tmp_path / "home")
    run(
        overlay / "bin" / "pip",
        "install",
        "--no-index",
        "--quiet",
        wheel(tmp_path, "tiny_a360", "value = 42"),
    )
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", str(other)], check=True)
    (environments._site_packages(other) / "of_image.py").write_text("where = 'other image'")
    assert ensure_overlay(other, tmp_path / "home") == overlay
    code = "import of_image, tiny_a360; print(of_image.where, tiny_a360.value)"
    assert run(overlay / "bin" / "python", "-c", code) == "other image 42"


@pytest.mark.row("M003")
def test_overlay_loads_the_kit_in_every_kernel(environment: Path, tmp_path: Path) -> None:
    import json

    overlay = ensure_overlay(environment, tmp_path / "home")
    config = (overlay / "etc" / "ipython" / "ipython_config.py").read_text()
    assert "a360mdk.ipython" in config
    spec = json.loads((overlay / "share" / "jupyter" / "kernels" / "python3" / "kernel.json").read_text())
    assert spec["argv"][0] == str(overlay / "bin" / "python")
