"""What the documents say is so: links, folders, commands, settings, notebooks."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from traitlets.config import Config, LoggingConfigurable

from a360_hub_service.app import A360HubService
from a360_hub_service.backends.git.source import GitSource
from a360_hub_service.backends.images.oci import OciBuilder
from a360_hub_service.backends.registries import Registry
from a360_hub_service.backends.scanners.embedded import EmbeddedScanner
from a360_hub_service.backends.scanners.trivy import TrivyScanner
from a360_hub_service.backends.targets.gateway import Gateway
from a360_hub_service.backends.targets.kubernetes import KubernetesTarget
from a360_hub_service.cli import _parser
from a360_hub_service.jobs.engine import JobEngine
from hub_config import install_a360
from spawner_profiles.catalogue import catalogue
from tests.support.samples import DOCUMENTS, ROOT, samples

CONFIGURABLE: list[type[LoggingConfigurable]] = [
    A360HubService, EmbeddedScanner, GitSource, Gateway, JobEngine, KubernetesTarget, OciBuilder, Registry,
    TrivyScanner,
]  # fmt: skip
OPERATORS = ROOT / "docs" / "operators.md"
names = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@names
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-") for text in headings]


@names
def test_lines_fit_a_screen(document: Path):
    wide = [
        line for line in document.read_text().splitlines() if len(line) > 130 and not line.startswith("|")
    ]
    assert wide == []


def test_folders_and_files_of_the_architecture_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"^\| `([a-z0-9_]+(?:/[a-z0-9_]+)*(?:/|\.py))`", text, re.MULTILINE)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_package_of_the_wheel_is_described():
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = [path.parent.name for path in ROOT.glob("*/__init__.py")]
    assert [name for name in packages if name != "tests" and f"`{name}/`" not in text] == []


@names
def test_commands_exist(document: Path):
    makefile = (ROOT / "Makefile").read_text()
    for sample in samples(document, "bash"):
        for line in sample.text.splitlines():
            words = shlex.split(line, comments=True) if line.startswith(("a360 ", "make ")) else []
            if words[:1] == ["a360"]:
                assert _parser().parse_args(words[1:]).run
            elif words[:1] == ["make"]:
                assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line


def test_settings_of_the_service_exist_and_take_these_values():
    (sample,) = samples(OPERATORS, "python", "service")
    config = Config()
    exec(sample.compiled(), {"c": config})
    classes = {cls.__name__: cls for cls in CONFIGURABLE}
    for section, settings in config.items():
        known = classes[section].class_traits(config=True)
        for name, value in settings.items():
            assert name in known, f"{section}.{name}"
            known[name]._validate(classes[section].__new__(classes[section]), value)


def test_a_hub_of_ones_own_gets_the_service():
    (sample,) = samples(OPERATORS, "python", "hub")
    config = Config()
    exec(sample.compiled(), {"c": config, "install_a360": install_a360})
    services = config.JupyterHub.services
    added = services if isinstance(services, list) else services.get_value([])
    assert "a360" in [service["name"] for service in added]


def test_profiles_can_be_written_like_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (sample,) = samples(OPERATORS, "yaml", "profiles")
    shutil.copytree(ROOT / "spawner_profiles" / "images", tmp_path / "images")
    (tmp_path / "profiles.yaml").write_text(sample.text)
    monkeypatch.setenv("A360_PROFILES", str(tmp_path))
    wanted = [item["name"] for item in yaml.safe_load(sample.text)]
    assert [profile.name for profile in catalogue().profiles] == wanted


def test_notebooks_are_committed_without_outputs():
    tracked = subprocess.run(
        ["git", "ls-files", "*.ipynb"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(tracked) >= 4
    for name in tracked:
        for cell in json.loads((ROOT / name).read_text())["cells"]:
            assert not cell.get("outputs"), name
            assert cell.get("execution_count") is None, name
