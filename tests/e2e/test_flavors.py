"""Notebooks of each framework in a workspace of its image, from data to an endpoint that answers the same.

What a framework needs is installed in its image only: the platform, packages and served models know ONNX.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests

from examples.demo import line
from examples.demo.line import Published, Record
from examples.demo.notebooks import Jupyter, text_of
from examples.demo.people import Person
from tests.e2e.conftest import HERE
from tests.support.hub import Platform

pytestmark = [
    pytest.mark.flavors,
    pytest.mark.slow,
    pytest.mark.xdist_group("e2e"),
    pytest.mark.timeout(900),
]
MODELS = {
    "xgboost": "tumours_xgboost",
    "pytorch": "tumours_pytorch",
    "tensorflow": "diabetes_keras",
    "huggingface": "reviews_bert",
}
RUNS = {"xgboost": 4, "pytorch": 4, "tensorflow": 4, "huggingface": 2}
CALLS = 20


@dataclass
class Line:
    """What a framework's notebooks left behind."""

    flavor: str
    project: Record
    printed: str
    model: Record
    imported: Record


@pytest.fixture(scope="module", params=list(MODELS))
def worked(request: pytest.FixtureRequest, running: Platform, people: dict[str, Person]) -> Line:
    """The framework's notebooks, run one after the other."""
    flavor, scientist = request.param, people["scientist"]
    folder = HERE / "flavors" / flavor
    project = line.create_project(scientist, f"With {flavor}", "All of them", "Frameworks", f"with-{flavor}")
    line.add_collaborators(scientist, project, "reviewer", "engineer")
    workspace = line.start_workspace(scientist, project, flavor, memory="4Gi", flavor=flavor)
    with Jupyter(f"{running.url}{workspace['url']}".partition("/lab")[0], scientist.token) as jupyter:
        for path in (*folder.glob("*.ipynb"), *folder.glob("tokenizer.json")):
            jupyter.upload(path)
        cells = [cell for name in ("prepare", "train") for cell in jupyter.run(f"{name}.ipynb")["cells"]]
    line.stop_workspace(scientist, workspace)
    printed = "\n".join(text_of(output) for cell in cells for output in cell.get("outputs", []))
    models = {model["model_name"]: model for model in scientist.listing(f"/projects/{project['id']}/models")}
    (other,) = [name for name in models if name.startswith("imported_")]
    return Line(flavor, project, printed, models[MODELS[flavor]], models[other])


@pytest.fixture(scope="module")
def published(
    worked: Line, people: dict[str, Person], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Published]:
    scientist = people["scientist"]
    line.review(scientist, people["reviewer"], worked.model, "Fine")
    folder = tmp_path_factory.mktemp("script")
    for path in (HERE / "flavors" / worked.flavor).iterdir():
        if path.suffix != ".ipynb":
            (folder / path.name).write_bytes(path.read_bytes())
    repository = line.commit_folder(folder, tmp_path_factory.mktemp("git") / "script.git")
    form = {"repository": repository, "script_name": "predict.py", "builder": "bundle"}
    line.package(scientist, worked.model, **form, registry_type="none")
    sizes = {"cpu_request": 0.1, "cpu_limit": 1, "memory_request": 0.1, "memory_limit": 1}
    yield line.publish(people["engineer"], worked.model, target="process", **sizes)
    line.withdraw(people["engineer"], worked.model)


@pytest.mark.row("M003", "M005", "M009", "M011", "F212", "F217")
def test_the_workspace_is_of_the_framework(worked: Line) -> None:
    assert f"<A360 AI Interface for project: With {worked.flavor}> {worked.flavor}" in worked.printed


@pytest.mark.row("M006", "M045", "M058", "M070", "M072", "M074", "M116")
def test_the_best_of_the_runs_is_final_and_certified(worked: Line, people: dict[str, Person]) -> None:
    assert "//-- Experiment Loaded --//" in worked.printed
    scientist = people["scientist"]
    runs = list(scientist.listing(f"/experiments/{worked.model['best_experiment_id']}/runs"))
    assert [run["status"] for run in runs] == ["finished"] * RUNS[worked.flavor]
    final = next(run for run in runs if run["id"] == worked.model["best_run_id"])
    assert final["metrics"]["test_score"] == max(run["metrics"]["test_score"] for run in runs)
    assert all(check["passed"] for check in final["certificate"]["checks"])
    assert "equal: 1.0" in worked.printed


@pytest.mark.row("M007", "M008", "M059")
def test_a_native_copy_is_stored_of_all_but_hugging_face(worked: Line, people: dict[str, Person]) -> None:
    run = people["scientist"].api("GET", f"/runs/{worked.model['best_run_id']}")
    names = {artifact["name"] for artifact in run["artifacts"]}
    notebooks = {"data_preparation_notebook", "model_training_notebook"}
    own = {
        "xgboost": {"trained_model_native", "baseline"},
        "pytorch": {"trained_model_native", "preprocessor", "baseline"},
        "tensorflow": {"trained_model_native", "baseline"},
        "huggingface": set(),
    }
    assert names == {"trained_model", *notebooks, *own[worked.flavor]}


@pytest.mark.row("M134")
def test_a_model_trained_elsewhere_is_imported(worked: Line) -> None:
    assert worked.imported["imported"]
    assert worked.imported["best_run_id"]
    assert "True True" in worked.printed


@pytest.mark.row("F330", "F359", "M017", "M077")
def test_the_endpoint_answers_as_the_native_model(
    worked: Line, published: Published, people: dict[str, Person]
) -> None:
    scientist, repo = people["scientist"], worked.project["default_data_repo_id"]
    rows = pd.read_parquet(io.BytesIO(scientist.download(repo, "X_test.parquet")))
    expected = pd.read_parquet(io.BytesIO(scientist.download(repo, "expected.parquet")))["expected"]
    header = {"Content-Type": "application/json", "apikey": published.api_key}
    answers = []
    for i in range(CALLS):
        answer = requests.post(
            published.endpoint["url"], data=rows.iloc[i].to_json(), headers=header, timeout=30
        )
        answers.append(float(answer.text.split(":")[-1].split("}")[0]))
    assert np.std(answers) > 0
    np.testing.assert_allclose(answers, expected[:CALLS], rtol=1e-4, atol=1e-5)


def test_what_is_served_needs_none_of_the_frameworks() -> None:
    asked = {
        line.strip() for folder in MODELS for line in _requirements(HERE / "flavors" / folder).splitlines()
    }
    assert asked == {"numpy", "tokenizers"}


def _requirements(folder: Path) -> str:
    return (folder / "requirements.txt").read_text()
