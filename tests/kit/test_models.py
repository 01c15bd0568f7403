"""Models and the interface they come from, as notebooks use them."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from a360_hub_service.lifecycle import State
from a360mdk import A360AI, Experiment, Model, Run
from a360mdk.exceptions import A360AIError, ConfigurationError, ExperimentError, ModelError, RunError
from a360mdk.model import greater_is_better_by_name
from tests.kit.conftest import Workspace
from tests.kit.test_experiments import LABELS

Table = tuple[pd.DataFrame, "pd.Series[Any]"]
PHASES = {
    State.DRAFT: "In Development",
    State.IN_REVIEW: "In Development",
    State.NEEDS_REVISIONS: "In Development",
    State.READY_TO_PACKAGE: "Packaging",
    State.PACKAGING: "Packaging",
    State.PACKAGE_FAILED: "Packaging",
    State.READY_TO_PUBLISH: "Packaging",
    State.PUBLISHING: "Packaging",
    State.PUBLISH_FAILED: "Packaging",
    State.PUBLISHED: "Published",
    State.TERMINATED: "Terminated",
}


@pytest.mark.row("M002", "M003", "M004", "M005")
def test_the_interface(workspace: Workspace, monkeypatch: Any) -> None:
    from a360mdk.main import A360AI as Again

    assert Again is A360AI
    monkeypatch.setenv("A360_PROJECT_NAME", "Customer Churn")
    ai = A360AI()
    assert repr(ai) == "<A360 AI Interface for project: Customer Churn>"
    assert ai.project_name == "Customer Churn"
    monkeypatch.delenv("A360_PROJECT_NAME")
    assert A360AI().project_name == workspace.project["name"]  # asked of the service
    for name in ("A360_API_URL", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name)
    outside = A360AI()
    assert "A360_API_URL, JUPYTERHUB_API_TOKEN" in repr(outside)
    with pytest.raises(ConfigurationError, match="A360_API_URL, JUPYTERHUB_API_TOKEN"):
        outside.list_datasets()


@pytest.mark.row(
    "M035", "M037", "M038", "M040", "M129", "M130", "M131", "M132", "M133", "M134", "M135", "M136"
)
def test_models(workspace: Workspace) -> None:
    ai = workspace.ai
    assert ai.model is None
    model = ai.get_or_create_model(model_name="churn_pred_2")
    assert ai.model is model
    assert (model.model_name, model.version, model.status, model.sub_status) == (
        "churn_pred_2", "1.0", "In Development", "Draft",
    )  # fmt: skip
    assert (model.best_experiment_id, model.best_run_id, model.imported, model.a360ai) == (
        None,
        None,
        False,
        ai,
    )
    again = ai.get_or_create_model("churn_pred_2", "1.0", "classification")
    other = ai.get_or_create_model("churn_pred_2", "2", "time series")
    assert again.id == model.id
    assert (other.id != model.id, other.model_type) == (True, "time series")
    assert Model.mutable == ("status", "sub_status", "best_experiment_id", "best_run_id")
    with pytest.raises(ModelError, match="cannot be changed"):
        model.version = "3"
    with pytest.raises(ModelError, match="set_final_run"):
        model.status = "Published"
    assert (Model().id, Experiment().enable_drift_monitoring, Run().trained_model) == (None, False, None)


@pytest.mark.row("M036", "M039")
def test_names_and_versions_are_checked_before_any_request(monkeypatch: Any) -> None:
    monkeypatch.delenv("A360_API_URL", raising=False)
    ai = A360AI()  # not connected: a request would raise something else
    for version in ("1234567890123", "", "  ", 2):
        with pytest.raises(ModelError, match=r"1 to 12"):
            ai.get_or_create_model("m", version)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="needs a name"):
        ai.get_or_create_model("")
    with pytest.warns(UserWarning, match="longer than 15"), pytest.raises(ConfigurationError):
        ai.get_or_create_model("a_name_of_16_chr")


def test_exact_lengths_are_accepted(workspace: Workspace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert workspace.ai.get_or_create_model("a_name_of_15_ch", "123456789012").version == "123456789012"


@pytest.mark.row("M134")
def test_import_model(workspace: Workspace, table: Table, capsys: Any) -> None:
    features, target = table
    forest = RandomForestClassifier(5, random_state=0).fit(features.to_numpy(), target)
    model = workspace.ai.import_model(
        model_name="imported",
        experiment_name="elsewhere",
        model_artifact_object_in_memory=forest,
        model_flavor="sklearn",
        model_type="classification",
        enable_drift_monitoring=True,
        train_features=features.to_numpy(dtype=float),
        train_target=target.to_numpy(),
        feature_names=list(features.columns),
    )
    lines = capsys.readouterr().out.strip().split("\n")
    assert lines[0] == "//-- Experiment Loaded --//"
    assert [line.split(": ")[0] for line in lines[1:]] == LABELS
    assert f"Final Run Id: {model.best_run_id}" in lines
    stored = workspace.client.get(f"/models/{model.id}").json()
    assert (stored["imported"], stored["best_run_id"]) == (True, model.best_run_id)
    loaded = model.get_artifact("trained_model")
    np.testing.assert_array_equal(loaded.predict(features), forest.predict(features.to_numpy()))


@pytest.mark.row("M134", "F353")
def test_import_without_training_data(workspace: Workspace, table: Table) -> None:
    features, target = table
    forest = RandomForestClassifier(3).fit(features.to_numpy(), target)
    ai = workspace.ai
    model = ai.import_model("imported", "elsewhere", forest, "sklearn")
    certificate = workspace.client.get(f"/runs/{model.best_run_id}").json()["certificate"]
    assert certificate["passed"] is True
    assert certificate["checks"][0]["source"] == "made"
    row = model.list_experiments().iloc[0]
    assert (row.input_signature, row.output_signature, row.train_shape) == (
        "ndarray: float64 (4,)",
        "unknown",
        [4],
    )
    assert row.baseline is None
    with pytest.raises(ExperimentError, match="needs train_features"):
        ai.import_model("refused", "e", forest, "sklearn", enable_drift_monitoring=True)
    with pytest.raises(RunError, match="not fitted"):
        ai.import_model("refused", "e", RandomForestClassifier(), "sklearn")
    models = workspace.client.get(f"/projects/{workspace.project['id']}/models").json()["items"]
    assert [entry["model_name"] for entry in models] == ["imported"]


def test_notebooks_run_again_while_the_model_is_in_review(workspace: Workspace, table: Table) -> None:
    features, target = table
    project = workspace.project["id"]
    assert workspace.client.put(f"/projects/{project}/collaborators/reviewer").status_code < 300
    model = workspace.ai.get_or_create_model("churn_pred_2")
    given: dict[str, Any] = {
        "experiment_name": "e", "model_flavor": "sklearn", "enable_drift_monitoring": True,
        "train_features": features, "train_target": target,
    }  # fmt: skip
    experiment = model.get_or_create_experiment(**given)
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
    model.set_final_run(experiment, run.id)
    answer = workspace.client.post(f"/models/{model.id}/submit", json={"reviewer": "reviewer"})
    assert answer.status_code == 200, answer.text
    again = workspace.ai.get_or_create_model("churn_pred_2")
    assert (again.status, again.sub_status) == ("In Development", "In Review")
    assert again.get_or_create_experiment(**given).id == experiment.id
    assert again.get_artifact("trained_model").predict(features).shape == (400,)
    with pytest.raises(RunError, match="In Review"), experiment.run_experiment():
        raise AssertionError("the block is not entered")
    with pytest.raises(ModelError, match="In Review"):
        model.set_final_run(experiment, run.id)


@pytest.mark.row("M041", "M043")
def test_definitions(workspace: Workspace, tmp_path: Path) -> None:
    ai = workspace.ai
    with pytest.raises(ModelError, match="no current model"):
        ai.export_model_definition("model.yaml")
    model = ai.get_or_create_model("churn_pred_2", "1.0", "classification")
    ai.export_model_definition("/home/jovyan/model.yaml")
    written = yaml.safe_load((workspace.home / "model.yaml").read_text())
    assert written == {
        "model_name": "churn_pred_2", "version": "1.0", "model_type": "classification",
        "best_experiment_id": None, "best_run_id": None,
    }  # fmt: skip
    assert ai.import_model_definition("model.yaml").id == model.id
    ai.export_model_definition(tmp_path, model=ai.get_or_create_model("other"))
    assert (tmp_path / "other.yaml").is_file()
    (tmp_path / "new.yaml").write_text("model_name: new\nversion: 2.0\n")
    assert ai.import_model_definition(tmp_path / "new.yaml").version == "2.0"
    for text in ("- a list", "{", "version: 1"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ModelError):
            ai.import_model_definition(tmp_path / "bad.yaml")


@pytest.mark.row("M043", "M133")
def test_the_final_run_is_in_the_definition(workspace: Workspace, table: Table) -> None:
    features, target = table
    ai = workspace.ai
    model = ai.get_or_create_model("churn_pred_2", model_type="classification")
    experiment = model.get_or_create_experiment("e", "sklearn", features, target)
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
    # Chosen elsewhere, by a colleague or on the model's page: what is written is what is so now.
    A360AI().get_or_create_model("churn_pred_2").set_final_run(experiment, str(run.id))
    ai.export_model_definition("model.yaml")
    written = yaml.safe_load((workspace.home / "model.yaml").read_text())
    assert written == {
        "model_name": "churn_pred_2", "version": "1.0", "model_type": "classification",
        "best_experiment_id": experiment.id, "best_run_id": run.id,
    }  # fmt: skip
    assert (model.best_experiment_id, model.best_run_id) == (experiment.id, run.id)


@pytest.mark.row("C04", "M131", "M132")
@pytest.mark.parametrize("state", State)
def test_every_state_of_the_platform_has_its_phase(state: State) -> None:
    model = Model.of({"id": "0" * 32, "status": state.value}, A360AI())
    assert model.sub_status == state
    assert model.status == PHASES[state]


@pytest.mark.row("M081")
def test_the_detail_page(workspace: Workspace, capsys: Any) -> None:
    model = workspace.ai.get_or_create_model("churn_pred_2")
    model.get_model_detail_page()
    url = workspace.client.get(f"/models/{model.id}").json()["detail_url"]
    printed = capsys.readouterr().out.strip()
    assert printed.startswith("http://")
    assert printed.endswith(url)


def test_refusals_of_the_service_carry_its_reason(workspace: Workspace, monkeypatch: Any) -> None:
    model = workspace.ai.get_or_create_model("churn_pred_2")
    missing = Experiment(id="0" * 32, a360ai=workspace.ai)
    with pytest.raises(ModelError) as caught:
        model.set_final_run(missing, "0" * 32)
    assert caught.value.status in (404, 422)
    assert caught.value.why or caught.value.hint
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "test-outsider")
    monkeypatch.delenv("A360_PROJECT_NAME")
    with pytest.raises(A360AIError, match="no such project") as hidden:
        _ = A360AI().project_name
    assert hidden.value.status == 404


@pytest.mark.parametrize(
    ("metric", "greater"),
    [
        ("train_score", True), ("accuracy", True), ("r2", True), ("f1_macro", True), ("roc_auc", True),
        ("rmse", False), ("test_rmse", False), ("MAE", False), ("val_loss", False), ("valLoss", False),
        ("log_loss", False), ("mlogloss", False), ("mean_squared_error", False), ("max_error", False),
        ("neg_mean_squared_error", True), ("neg_log_loss", True), ("test_neg_root_mean_squared_error", True),
        ("mass", True), ("maestro", True), ("lossless_share", True),
    ],
)  # fmt: skip
@pytest.mark.row("M073")
def test_what_is_better_shows_in_the_name_of_a_metric(metric: str, greater: bool) -> None:
    assert greater_is_better_by_name(metric) is greater
