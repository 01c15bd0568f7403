"""Bundles: what goes in, what is refused, and that nothing half-made is left."""

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a360_hub_service.backends.images import BuildError, BuildRequest, BuiltPackage, builder_class
from a360_hub_service.backends.images.bundle import BundleBuilder, folder_digest
from a360_hub_service.backends.images.validate import compare
from tests.support import endpoints
from tests.support.endpoints import ROW, SCRIPT, write_files

Request = Callable[..., BuildRequest]


@pytest.fixture
def builder(package_home: Path) -> BundleBuilder:
    made = builder_class("bundle")(home=str(package_home))
    assert isinstance(made, BundleBuilder)
    return made


@pytest.fixture
def request_for(tmp_path: Path, model_file: Path) -> Request:
    """Write a repository and return a request for it; a script that works unless one is given."""

    def make(files: dict[str, str] | None = None, **changes: Any) -> BuildRequest:
        all_files = {"predict.py": SCRIPT, "requirements.txt": "numpy\nsklearn\n"} | (files or {})
        return endpoints.package_request(model_file, write_files(tmp_path / "repo", all_files), **changes)

    return make


def leftovers(builder: BundleBuilder, request: BuildRequest) -> list[str]:
    folder = Path(builder.home, "packages")
    names = (path.name for path in folder.glob("*")) if folder.exists() else iter(())
    return [name for name in names if request.package_id[:12] in name]


@pytest.mark.row("F286", "F287", "F358", "F359", "F307")
def test_a_bundle_holds_model_script_and_dependencies(
    builder: BundleBuilder, request_for: Request, baseline_file: Path
) -> None:
    request = request_for(baseline=baseline_file, validation_input=json.dumps(ROW), validation_output="0")
    log: list[str] = []
    built = builder.build(request, log.append)
    folder = Path(built.reference)
    assert built.builder == "bundle"
    assert built.digest == folder_digest(folder)[0]
    assert built.size > 50_000_000
    manifest = json.loads((folder / "a360.json").read_text())
    assert manifest["lock_sha256"] == built.lock_sha256
    assert manifest["commit"] == request.commit
    assert (folder / "artifacts" / "trained_model").read_bytes() == request.artifact_files[
        "trained_model"
    ].read_bytes()
    assert {path.name for path in folder.iterdir()} == {
        *("a360.json", "artifacts", "requirements.lock", "run.py", "script", "site")
    }
    assert "scikit" not in (folder / "requirements.lock").read_text()
    text = "\n".join(log)
    assert "names sklearn; read as scikit-learn" in text
    assert "Left out scikit-learn" in text
    assert '{"prediction": 0.0}' in text


def test_the_same_request_again_finds_the_package(builder: BundleBuilder, request_for: Request) -> None:
    request = request_for()
    built = builder.build(request, print)
    log: list[str] = []
    assert builder.build(request, log.append) == built == builder.find(request.package_id, request.slug)
    assert len(log) == 1
    builder.remove(request.package_id, request.slug)
    builder.remove(request.package_id, request.slug)
    assert builder.find(request.package_id, request.slug) is None


def test_what_a_killed_build_left_is_cleared_away(builder: BundleBuilder, request_for: Request) -> None:
    request = request_for()
    write_files(Path(builder.home, "packages", f".{request.package_id}-left"), {"package/a360.json": "{}"})
    builder.build(request, print)
    assert leftovers(builder, request) == [request.package_id]


def test_the_same_content_has_the_same_digest(builder: BundleBuilder, request_for: Request) -> None:
    request = request_for()
    other = dataclasses.replace(request, package_id="f" * 32)
    assert builder.build(request, print).digest == builder.build(other, print).digest


def test_two_builds_of_one_package_at_once_give_one_package(
    builder: BundleBuilder, request_for: Request
) -> None:
    request = request_for()
    built: list[BuiltPackage] = []
    threads = [threading.Thread(target=lambda: built.append(builder.build(request, print))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built[0] == built[1]
    assert leftovers(builder, request) == [request.package_id]


LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"
BAD_SCRIPTS: dict[str, tuple[dict[str, str], dict[str, Any], str, str]] = {
    "no such file": ({}, {"script_name": "score.py"}, "no file score.py", "script_name"),
    "no Python file": ({}, {"script_name": "requirements.txt"}, "does not end in .py", "script_name"),
    "outside": ({}, {"script_name": "../predict.py"}, "not a path inside", "script_name"),
    "absolute": ({}, {"script_name": "/etc/predict.py"}, "not a path inside", "script_name"),
    "LFS script": ({"predict.py": LFS}, {}, "predict.py is a pointer of Git LFS", "script_name"),
    "LFS module": (
        {"predict.py": "import more\n" + SCRIPT, "more.py": LFS},
        {},
        "more.py is a pointer of Git LFS",
        "script_name",
    ),
    "LFS dependencies": (
        {"requirements.txt": LFS},
        {},
        "requirements.txt is a pointer of Git LFS; the file itself is not in the repository",
        "dependencies",
    ),
    "syntax": ({"predict.py": "def predict(:\n"}, {}, "line 1 is not Python", "script_name"),
    "no function": (
        {"predict.py": "def score(a, b): return 1\n"},
        {},
        "no function predict",
        "call_function",
    ),
    "one parameter": (
        {"predict.py": "def predict(payload): return 1\n"},
        {},
        "takes payload",
        "call_function",
    ),
    "three parameters": (
        {"predict.py": "def predict(a, b, c): return 1\n"},
        {},
        "takes a, b, c",
        "call_function",
    ),
    "no name": ({}, {"call_function": "predict()"}, "not a name of a function", "call_function"),
    "wrapper": ({}, {"wrapper": "django"}, "no wrapper 'django'", "wrapper"),
    "no requirements": ({}, {"dependencies": "needs.txt"}, "no file needs.txt", "dependencies"),
    "outside requirements": ({}, {"dependencies": "../../x.txt"}, "not a path inside", "dependencies"),
    "no such package": (
        {"requirements.txt": "numpy\nno-such-package-of-anyone\n"},
        {},
        "no package no-such-package-of-anyone",
        "dependencies",
    ),
    "contradiction": ({"requirements.txt": "numpy<1.20\n"}, {}, "cannot be resolved.*numpy", "dependencies"),
    "source only": ({"requirements.txt": "pycrypto\n"}, {}, "pycrypto comes only as source", "dependencies"),
    "not a requirement": ({"requirements.txt": "numpy ==\n"}, {}, "is not a requirement", "dependencies"),
    "address": (
        {"requirements.txt": "x @ https://example.org/x.whl\n"},
        {},
        "comes from an address",
        "dependencies",
    ),
    "editable": ({"requirements.txt": "-e .\n"}, {}, "not supported", "dependencies"),
    "missing module": (
        {"predict.py": "import pandas\n" + SCRIPT},
        {},
        "No module named 'pandas'",
        "dependencies",
    ),
    "nested": ({"predict.py": SCRIPT + "-" * 100_000 + "1\n"}, {}, "is not Python", "script_name"),
    "fails on load": ({"predict.py": SCRIPT + "\n1 / 0\n"}, {}, "division by zero", ""),
}


@pytest.mark.row("F293", "F294", "F303", "F308")
@pytest.mark.parametrize("case", BAD_SCRIPTS)
def test_what_cannot_be_packaged_is_refused_by_name(
    builder: BundleBuilder, request_for: Request, case: str
) -> None:
    files, changes, words, field = BAD_SCRIPTS[case]
    request = request_for(files, **changes)
    with pytest.raises(BuildError, match=words) as caught:
        builder.build(request, print)
    assert caught.value.field == field
    assert leftovers(builder, request) == []


@pytest.mark.row("F308")
def test_the_same_package_can_be_tried_again(builder: BundleBuilder, request_for: Request) -> None:
    request = request_for({"requirements.txt": "no-such-package-of-anyone\n"})
    with pytest.raises(BuildError):
        builder.build(request, print)
    write_files(request.repo_dir, {"requirements.txt": "numpy\n"})
    assert builder.build(request, print).size


BAD_VALIDATIONS = {
    "wrong answer": (json.dumps(ROW), "1", "prediction is 0.0, expected 1", "validation_output"),
    "no JSON": ("{", "", "not JSON", "validation_input"),
    "script fails": ('{"one": 1}', "", "failed on the validation input", "validation_input"),
    "endless": ('{"sleep": 60}', "", "did not answer within 3 seconds", "validation_input"),
}


@pytest.mark.row("F297", "F298", "F308")
@pytest.mark.parametrize("case", BAD_VALIDATIONS)
def test_validation_that_fails_names_the_reason(
    builder: BundleBuilder, request_for: Request, case: str
) -> None:
    given, expected, words, field = BAD_VALIDATIONS[case]
    builder.validation_timeout = 3.0
    request = request_for(validation_input=given, validation_output=expected)
    with pytest.raises(BuildError, match=words) as caught:
        builder.build(request, print)
    assert caught.value.field == field
    assert leftovers(builder, request) == []


@pytest.mark.row("F298")
@pytest.mark.parametrize(
    ("answer", "expected", "difference"),
    [
        ('{"prediction": 1.0}', "1", ""),
        ('{"prediction": 1.0}', '{"prediction": 1}', ""),
        ('{"prediction": 0.30000001}', "0.3", ""),
        ('{"prediction": 0.3001}', "0.3", "prediction is 0.3001, expected 0.3"),
        ('{"prediction": [1, [2.0]]}', "[1, [2]]", ""),
        ('{"prediction": [1, [2.0]]}', "[1, [3]]", r"prediction\[1\]\[0\] is 2.0, expected 3"),
        ('{"prediction": [1]}', "[1, 2]", "has 1 items, expected 2"),
        ('{"prediction": {"a": 1}}', '{"a": 1.0}', ""),
        ('{"prediction": {"a": 1}}', '{"b": 1}', r"members \['a'\], expected \['b'\]"),
        ('{"prediction": {"prediction": 1}}', '{"prediction": 1}', ""),
        ('{"prediction": "yes"}', "yes", ""),
        ('{"prediction": "yes"}', '"yes"', ""),
        ('{"prediction": "yes"}', "no", "is 'yes', expected 'no'"),
        ('{"prediction": "yes"}', "[" * 100_000, r"expected '\[{499}\.$"),
        ('{"prediction": true}', "1", "is True, expected 1"),
        ('{"prediction": null}', "null", ""),
    ],
)
def test_answers_are_compared_as_json(answer: str, expected: str, difference: str) -> None:
    if not difference:
        compare(answer, expected)
        return
    with pytest.raises(BuildError, match=difference):
        compare(answer, expected)


def test_modules_of_the_repository_go_with_the_script(builder: BundleBuilder, request_for: Request) -> None:
    files = {
        "deploy/predict.py": "import helper\nfrom shared.rows import parse\n\n\n"
        "def predict(artifact_list, payload):\n    return helper.times(parse(payload))\n",
        "deploy/helper.py": "FACTOR = float(open('factor.txt').read())\ndef times(x): return FACTOR * x\n",
        "deploy/factor.txt": "3",
        "deploy/requirements.txt": "numpy\n",
        "shared/__init__.py": "",
        "shared/rows.py": "import json\n\n\ndef parse(text):\n    return json.loads(text)['x']\n",
        "training.py": "import sklearn\n",
    }
    request = request_for(
        files, script_name="deploy/predict.py", validation_input='{"x": 2}', validation_output="6"
    )
    folder = Path(builder.build(request, print).reference)
    assert (folder / "script" / "shared" / "rows.py").is_file()
    assert not (folder / "script" / "training.py").exists()


@pytest.mark.row("F303", "F359")
def test_what_the_script_imports_is_installed(builder: BundleBuilder, request_for: Request) -> None:
    files = {
        "predict.py": "import inflection\n\n\ndef predict(artifact_list, payload):\n"
        "    return inflection.pluralize('model')\n",
        "requirements.txt": "--index-url https://index.example.org/simple\n-r more.txt\n\n# Training\n"
        "xgboost ; python_version > '3'\na360runtime\nmatplotlib\\\n  >=3\n",
        "more.txt": "inflection  # plural words\n-r requirements.txt\n",
    }
    log: list[str] = []
    request = request_for(files, validation_input="{}", validation_output="models")
    folder = Path(builder.build(request, log.append).reference)
    assert (folder / "site" / "inflection").exists()
    assert not (folder / "site" / "matplotlib").exists()
    text = "\n".join(log)
    assert "--index-url is ignored" in text
    assert "Left out xgboost" in text
    assert "a360runtime is part of every package" in text


@pytest.mark.row("M017")
def test_the_script_gets_preprocessor_and_baseline(
    builder: BundleBuilder, request_for: Request, model_file: Path, baseline_file: Path
) -> None:
    script = (
        "def predict(artifact_list, payload):\n    model, preprocessor, baseline = artifact_list\n"
        "    return [type(model).__name__, type(preprocessor).__name__, list(baseline)]\n"
    )
    request = request_for({"predict.py": script}, validation_input="{}", baseline=baseline_file)
    expected = json.dumps(["ONNXModel", "ONNXModel", list(endpoints.BASELINE)])
    files = dict(request.artifact_files) | {"preprocessor": model_file}
    builder.build(dataclasses.replace(request, artifact_files=files, validation_output=expected), print)


def test_a_run_without_a_model_is_refused(builder: BundleBuilder, request_for: Request) -> None:
    request = dataclasses.replace(request_for(), artifact_files={})
    with pytest.raises(BuildError, match="no model") as caught:
        builder.build(request, print)
    assert "final run" in caught.value.hint


def test_a_script_cannot_read_the_secrets_of_the_service(
    builder: BundleBuilder, request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    request = request_for(
        validation_input='{"environment": "JUPYTERHUB_API_TOKEN"}', validation_output="null"
    )
    builder.build(request, print)


@pytest.mark.row("F308")
@pytest.mark.parametrize("where", ["dependencies", "script"])
def test_a_full_disk_is_named_and_leaves_nothing(
    small_disk: Path, request_for: Request, package_home: Path, bundle: BuiltPackage, where: str
) -> None:
    builder = BundleBuilder(home=str(small_disk))
    request = request_for()
    if where == "script":
        # The dependencies are there already; what does not fit is the package.
        (small_disk / "cache").symlink_to(package_home / "cache")
        with (request.repo_dir / "data.bin").open("wb") as file:
            file.truncate(50_000_000)
    with pytest.raises(BuildError, match="No space is left") as caught:
        builder.build(request, print)
    assert "Free disk space" in caught.value.hint
    assert leftovers(builder, request) == []
    assert list((small_disk / "cache" / "deps").glob(".*")) == []


def test_the_health_of_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert builder_class("bundle")(home=str(tmp_path)).health().available
    assert not builder_class("bundle")(home=str(tmp_path / "file")).health().available


@pytest.mark.parametrize("name", ["nothing", "json.JSONDecoder"])
def test_names_that_are_no_builder(name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        builder_class(name)


def test_a_builder_is_chosen_by_its_path() -> None:
    assert builder_class("a360_hub_service.backends.images.bundle.BundleBuilder") is BundleBuilder
