"""Notebooks, deployment script and caller as people write them, on their data, from upload to answers."""

import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import requests

from examples.demo import line
from examples.demo.line import Published, Record
from examples.demo.notebooks import CellFailed, Jupyter, Notebook, text_of
from examples.demo.people import Person
from tests.e2e.conftest import CHURN
from tests.support.hub import Platform

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.slow, pytest.mark.timeout(600)]
NOTEBOOKS = ("upload", "prepare", "train")


@dataclass
class Worked:
    """What the notebooks left behind."""

    project: Record
    workspace: Record
    jupyter: Jupyter
    notebooks: dict[str, Notebook]

    def printed(self, notebook: str) -> str:
        """Everything a notebook printed and showed."""
        cells = self.notebooks[notebook]["cells"]
        return "\n".join(text_of(output) for cell in cells for output in cell.get("outputs", []))


@pytest.fixture(scope="module")
def worked(running: Platform, people: dict[str, Person], churn_csv: Path):
    scientist = people["scientist"]
    project = line.create_project(scientist, "Customer Churn", "Rewards Inc.", "Keep customers", "churn-data")
    line.add_collaborators(scientist, project, "reviewer", "engineer")
    workspace = line.start_workspace(scientist, project, "churn", memory="2Gi")
    with Jupyter(f"{running.url}{workspace['url']}".partition("/lab")[0], scientist.token) as jupyter:
        jupyter.upload(churn_csv)
        for path in CHURN.glob("*.ipynb"):
            jupyter.upload(path)
        done = {name: jupyter.run(f"{name}.ipynb") for name in NOTEBOOKS}
        yield Worked(project, workspace, jupyter, done)
    line.stop_workspace(scientist, workspace)


@pytest.fixture(scope="module")
def published(
    worked: Worked, people: dict[str, Person], tmp_path_factory: pytest.TempPathFactory
) -> Published:
    scientist, reviewer, engineer = people["scientist"], people["reviewer"], people["engineer"]
    model = line.model_of(scientist, worked.project, "churn_pred_2")
    line.review(scientist, reviewer, model, "Fine")
    repository = line.commit_folder(CHURN, tmp_path_factory.mktemp("git") / "churn.git")
    form = {"repository": repository, "script_name": "predict.py", "builder": "bundle"}
    line.package(scientist, model, **form, registry_type="none")
    return line.publish(engineer, model, target="process", **sizes())


def sizes() -> dict[str, float]:
    return {"cpu_request": 0.1, "cpu_limit": 1, "memory_request": 0.1, "memory_limit": 1}


@pytest.mark.row("M003", "M004", "F212", "F217")
def test_notebooks_find_the_interface_their_flavor_and_their_data(worked: Worked):
    printed = worked.printed("upload")
    assert "<A360 AI Interface for project: Customer Churn> sklearn Customer Churn" in printed
    assert "Customer Churn data" in printed
    assert "True" in printed
    assert "base_name" in printed
    assert "extension" in printed


def test_what_pip_installs_is_there_in_the_next_cell_and_frames_change_in_place(worked: Worked):
    printed = worked.printed("prepare")
    assert "inflection" in printed
    assert "(7043, 27)" in printed
    assert printed.count("True") >= 2


@pytest.mark.row("M045", "M048", "M051", "M070", "M071", "M072", "M074", "M075")
def test_six_runs_are_logged_and_the_best_one_is_final(worked: Worked, people: dict[str, Person]):
    printed = worked.printed("train")
    assert "//-- Experiment Loaded --//" in printed
    assert "ndarray: float64 (26,)" in printed
    scientist = people["scientist"]
    model = line.model_of(scientist, worked.project, "churn_pred_2")
    runs = list(scientist.listing(f"/experiments/{model['best_experiment_id']}/runs"))
    assert [run["status"] for run in runs] == ["finished"] * 6
    best = max(run["metrics"]["test_score"] for run in runs)
    final = next(run for run in runs if run["id"] == model["best_run_id"])
    assert final["metrics"]["test_score"] == best
    names = {artifact["name"] for artifact in final["artifacts"]}
    notebooks = {f"{part}_notebook" for part in ("data_exploration", "data_preparation", "model_training")}
    assert names == {"trained_model", "trained_model_native", "baseline", *notebooks}


def test_a_cell_that_fails_in_a_run_raises_and_leaves_a_failed_run(worked: Worked, people: dict[str, Person]):
    with pytest.raises(CellFailed, match="ZeroDivisionError: on purpose") as failed:
        worked.jupyter.run("fails.ipynb")
    assert "Traceback" in failed.value.traceback
    assert "\x1b" not in failed.value.traceback
    scientist = people["scientist"]
    model = line.model_of(scientist, worked.project, "never_finished")
    experiment = next(scientist.listing(f"/models/{model['id']}/experiments"))
    (run,) = scientist.listing(f"/experiments/{experiment['id']}/runs")
    assert run["status"] == "failed"
    assert run["artifacts"] == []


@pytest.mark.row("F330", "F331", "F359")
def test_callers_get_the_native_models_answers(
    worked: Worked, published: Published, people: dict[str, Person], tmp_path: Path
):
    scientist, repo = people["scientist"], worked.project["default_data_repo_id"]
    df = pd.read_parquet(io.BytesIO(scientist.download(repo, "X_test.parquet")))
    expected = pd.read_parquet(io.BytesIO(scientist.download(repo, "expected.parquet")))["expected"]
    header = {"Content-Type": "application/json", "apikey": published.api_key}
    url = published.endpoint["url"]
    answers = []
    for i in range(100):
        r = requests.post(url, data=df.iloc[i].to_json(), headers=header, timeout=30)
        answers.append(float(r.text.split(":")[-1].split("}")[0]))
    assert answers == expected[:100].tolist()


@pytest.mark.row("F314")
def test_without_the_key_nobody_is_answered(published: Published):
    body = {"Content-Type": "application/json"}
    for headers in (body, body | {"apikey": "a360_wrong"}):
        answer = requests.post(published.endpoint["url"], data="{}", headers=headers, timeout=30)
        assert answer.status_code == 401
