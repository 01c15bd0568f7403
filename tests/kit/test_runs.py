"""Runs: what their close leaves, and what a failure does not leave."""

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from a360mdk import open_runs
from a360mdk.exceptions import ExperimentError, RunError
from a360runtime import ONNXModel
from tests.kit.conftest import Workspace

Table = tuple[pd.DataFrame, "pd.Series[Any]"]


def an_experiment(workspace: Workspace, table: Table, **more: Any) -> Any:
    features, target = table
    model = workspace.ai.get_or_create_model(model_name="churn_pred_2")
    given = {"experiment_name": "forest", "model_flavor": "sklearn", "train_features": features}
    return model.get_or_create_experiment(**{**given, "train_target": target, **more})


def a_notebook(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(json.dumps({"cells": [], "metadata": {"n": name}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.mark.row("M006", "M007", "M015", "M054", "M055", "M056", "M057", "M058", "M060")
@pytest.mark.row("M061", "M062", "M063", "M064", "M065", "M066", "M067", "M068")
@pytest.mark.row("M137", "M138", "M139", "M140", "M141", "M142", "M143", "M144", "M145")
def test_the_close_of_a_run_stores_everything(workspace: Workspace, table: Table, monkeypatch: Any) -> None:
    features, target = table
    for name in ("eda.ipynb", "prepare.ipynb", "train.ipynb"):
        a_notebook(workspace.home, name)
    monkeypatch.setenv("JPY_SESSION_NAME", str(workspace.home / "train.ipynb"))
    experiment = an_experiment(
        workspace,
        table,
        enable_drift_monitoring=True,
        data_exploration_file="/home/jovyan/eda.ipynb",
        data_preparation_file="prepare.ipynb",
    )
    scaler = StandardScaler().fit(features)
    forest = RandomForestClassifier(10, random_state=0).fit(scaler.transform(features), target)
    with experiment.run_experiment() as run:
        run.log_hyperparameters(hyperparameters={"n_estimators": np.int64(10), "criterion": "gini"})
        run.log_metrics(metrics={"test_score": np.float64(0.5)})
        run.log_metrics({"matrix": np.eye(2)})
        run.log_metadata(metadata={"note": "first"})
        run.log_preprocessor(preprocessor=scaler, preprocessor_shape=4)
        run.log_model(model=forest)
        run.dataset = "X.parquet"
        assert open_runs.count() == 1
    assert open_runs.count() == 0
    assert (run.model_experiment_id, run.trained_model, run.preprocessor) == (experiment.id, forest, scaler)
    assert (run.preprocessor_shape, run.baseline, run.dataset) == (4, experiment.baseline, "X.parquet")
    assert (run.data_exploration_file, run.model_training_file) == ("/home/jovyan/eda.ipynb", None)
    with pytest.raises(RunError, match="cannot be changed"):
        run.metrics = {}

    stored = workspace.client.get(f"/runs/{run.id}").json()
    assert (stored["status"], stored["dataset"], stored["error"]) == ("finished", "X.parquet", None)
    assert stored["hyperparameters"] == {"n_estimators": 10, "criterion": "gini"}
    assert stored["metrics"] == {"test_score": 0.5, "matrix": [[1.0, 0.0], [0.0, 1.0]]}
    assert stored["metadata"]["note"] == "first"
    assert stored["metadata"]["run_time"] >= 0
    assert stored["metadata"]["onnx_label_agreement"] == 1.0
    assert {a["name"]: a["kind"] for a in stored["artifacts"]} == {
        "trained_model": "model",
        "trained_model_native": "native_model",
        "preprocessor": "preprocessor",
        "baseline": "baseline",
        "data_exploration_notebook": "notebook",
        "data_preparation_notebook": "notebook",
        "model_training_notebook": "notebook",
    }
    repo = workspace.repo_folder
    paths = {a["name"]: repo / a["file_key"] for a in stored["artifacts"]}
    assert all(a["file_key"].startswith("Projects/") for a in stored["artifacts"])
    assert ONNXModel(paths["preprocessor"]).transform(features).shape == features.shape
    scaled = scaler.transform(features)
    np.testing.assert_array_equal(ONNXModel(paths["trained_model"]).predict(scaled), forest.predict(scaled))
    assert joblib.load(paths["trained_model_native"]).n_estimators == 10
    assert list(json.loads(paths["baseline"].read_text())) == list(features.columns)
    assert json.loads(paths["model_training_notebook"].read_text())["metadata"]["n"] == "train.ipynb"
    assert json.loads(paths["data_exploration_notebook"].read_text())["metadata"]["n"] == "eda.ipynb"
    assert json.loads(paths["data_preparation_notebook"].read_text())["metadata"]["n"] == "prepare.ipynb"
    assert not list(repo.rglob("*.a360-part"))


def test_a_failing_cell_raises_and_leaves_a_failed_run(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    with pytest.raises(ZeroDivisionError), experiment.run_experiment() as run:  # noqa: PT012 - a whole cell
        run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
        run.log_metrics({"test_score": 0.99})
        1 / 0  # noqa: B018
    stored = workspace.client.get(f"/runs/{run.id}").json()
    assert (stored["status"], stored["artifacts"]) == ("failed", [])
    assert stored["error"] == "ZeroDivisionError: division by zero"
    assert (run.status, workspace.files(), open_runs.count()) == ("failed", [], 0)
    assert experiment.list_runs().empty
    assert list(experiment.list_runs(include_failed=True).status) == ["failed"]
    with pytest.raises(RunError, match="no open run"):
        run.log_metrics({"late": 1})


class OwnTransformer(StandardScaler):
    """A subclass nobody wrote a converter for."""


def test_a_model_no_converter_knows_fails_by_name_and_leaves_nothing(
    workspace: Workspace, table: Table
) -> None:
    features, target = table
    a_notebook(workspace.home, "eda.ipynb")
    experiment = an_experiment(workspace, table, data_exploration_file="eda.ipynb")
    unknown = make_pipeline(OwnTransformer(), LogisticRegression(max_iter=2000)).fit(features, target)
    with pytest.raises(RunError, match="knows OwnTransformer"), experiment.run_experiment() as run:
        run.log_model(unknown)
    assert workspace.client.get(f"/runs/{run.id}").json()["status"] == "failed"
    assert workspace.files() == []
    with pytest.raises(RunError, match="A dict cannot be stored"), experiment.run_experiment() as run:
        run.log_model({"weights": 1})


def test_a_native_copy_that_cannot_be_written_takes_the_rest_away(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    model = LogisticRegression(max_iter=2000).fit(features, target)
    model.handle = threading.Lock()  # cannot be pickled
    with pytest.raises(RunError, match="native copy"), experiment.run_experiment() as run:
        run.log_model(model)
    assert workspace.client.get(f"/runs/{run.id}").json()["status"] == "failed"
    assert workspace.files() == []


@pytest.mark.row("M069")
def test_search_objects_stand_for_their_best_estimator(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    forest = RandomForestClassifier(3, random_state=0)
    searches = [
        GridSearchCV(forest, {"max_depth": [1, 2]}, cv=2).fit(features, target),
        RandomizedSearchCV(make_pipeline(StandardScaler(), forest), {}, n_iter=1, cv=2).fit(features, target),
    ]
    model = workspace.ai.model
    assert model is not None
    for number, search in enumerate(searches):
        with experiment.run_experiment() as run:
            run.log_model(search)
        assert run.trained_model is search.best_estimator_
        model.set_final_run(experiment, run.id)
        native = model.get_artifact("trained_model_native", path=f"native{number}")
        assert type(native) is type(search.best_estimator_)
    with pytest.raises(RunError, match="refit"), experiment.run_experiment() as run:
        run.log_model(GridSearchCV(forest, {"max_depth": [1]}, cv=2, refit=False).fit(features, target))
    with pytest.raises(RunError, match="not fitted"), experiment.run_experiment() as run:
        run.log_model(RandomForestClassifier())


@pytest.mark.row("M059", "M078")
def test_preprocessors(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    scaler = StandardScaler().fit(features.to_numpy())
    with pytest.raises(RunError, match="preprocessor_shape=4"), experiment.run_experiment() as run:
        run.log_preprocessor(scaler, 26)
    with experiment.run_experiment() as run:
        run.log_preprocessor(preprocessor=make_pipeline(scaler), preprocessor_shape=4)
        run.log_model(LogisticRegression().fit(scaler.transform(features.to_numpy()), target))
    model = workspace.ai.model
    assert model is not None
    model.set_final_run(experiment, run.id)
    again = model.get_artifact("preprocessor", path="/home/jovyan")
    assert type(again) is ONNXModel
    assert (workspace.home / "preprocessor").is_file()
    np.testing.assert_allclose(again.transform(features), scaler.transform(features.to_numpy()), atol=1e-5)


FINE = np.full((100, 2), 1e9)  # values that float32 cannot tell apart
FINE[50:, 0] += 1.0
FINE_TARGET = np.r_[np.zeros(50), np.ones(50)]


def test_what_float32_cannot_answer_is_stored_with_float64_input(workspace: Workspace) -> None:
    experiment = an_experiment(workspace, (FINE, FINE_TARGET))  # type: ignore[arg-type]
    exact = LogisticRegression().fit([[-1.0, 0.0], [1.0, 0.0]], [0, 1])
    exact.coef_, exact.intercept_ = np.array([[1.0, 0.0]]), np.array([-(1e9 + 0.5)])
    with experiment.run_experiment() as run:
        run.log_model(exact)
    assert run.metadata["onnx_label_agreement"] == 1.0
    graph = ONNXModel(workspace.repo_folder / run.artifacts[0].file_key)
    np.testing.assert_array_equal(graph.predict(FINE), FINE_TARGET)


def test_histogram_boosting_compares_in_float64_as_it_does_itself(workspace: Workspace) -> None:
    experiment = an_experiment(workspace, (FINE, FINE_TARGET))  # type: ignore[arg-type]
    boosted = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(FINE, FINE_TARGET)
    with experiment.run_experiment() as run:
        run.log_model(boosted)
    graph = ONNXModel(workspace.repo_folder / run.artifacts[0].file_key)
    np.testing.assert_array_equal(graph.predict(FINE), boosted.predict(FINE))


def test_a_graph_that_answers_differently_is_refused_with_row_and_column(
    workspace: Workspace, table: Table
) -> None:
    # What neighbours at no distance say is divided by nought in its ONNX form.
    features, target = table
    experiment = an_experiment(workspace, table)
    neighbours = KNeighborsClassifier(weights="distance").fit(features, target)
    with (
        pytest.raises(
            RunError, match=r"answers differently[^$]*training rows \d+, \d+[^$]*by input column \w+: model 1"
        ),
        experiment.run_experiment() as run,
    ):
        run.log_model(neighbours)
    stored = workspace.client.get(f"/runs/{run.id}").json()
    assert (stored["status"], stored["certificate"]) == ("failed", None)
    assert workspace.files() == []


@pytest.mark.row("M006", "M070")
def test_the_certificate_of_a_run(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    scaler = StandardScaler().fit(features)
    forest = RandomForestClassifier(10, random_state=0).fit(scaler.transform(features), target)
    with experiment.run_experiment() as run:
        run.log_preprocessor(scaler)
        run.log_model(forest)
    stored = workspace.client.get(f"/runs/{run.id}").json()
    certificate = stored["certificate"]
    assert certificate["passed"] is True
    assert certificate["opset"] == 18
    assert set(certificate["versions"]) == {"scikit-learn", "skl2onnx", "onnx", "onnxruntime"}
    checks = {check["part"]: check for check in certificate["checks"]}
    assert list(checks) == ["preprocessor", "model", "chain"]
    assert checks["preprocessor"]["form"] == "float64"  # the forest tells apart what float32 does not
    for check in checks.values():
        assert check["passed"]
        assert check["edge_rows"] == check["rows"] - len(features)
        assert check["source"] == "training"
    assert checks["chain"]["label_agreement"] == 1.0
    assert checks["chain"]["probability_difference"] < 1e-6
    hashes = {artifact["name"]: artifact["sha256"] for artifact in stored["artifacts"]}
    assert checks["model"]["sha256"] == hashes["trained_model"]
    assert checks["preprocessor"]["sha256"] == hashes["preprocessor"]
    (listed,) = experiment.list_runs().to_dict("records")
    assert listed["metadata_onnx_passed"] is True
    assert listed["metadata_onnx_label_agreement"] == 1.0
    assert listed["metadata_onnx_rows_compared"] == checks["chain"]["rows"]
    assert listed["metadata_onnx_opset"] == 18
    assert "skl2onnx" in listed["metadata_onnx_versions"]
    assert run.certificate is not None
    assert run.certificate["checks"] == certificate["checks"]


def test_without_rows_that_fit_some_are_made_up(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    encoded = features.rename(columns=str.upper)
    with experiment.run_experiment() as run:
        run.log_model(RandomForestClassifier(5, random_state=0).fit(encoded, target))
    (check,) = workspace.client.get(f"/runs/{run.id}").json()["certificate"]["checks"]
    assert (check["passed"], check["source"], check["rows"]) == (True, "made", 60)


def test_the_current_notebook_is_the_training_notebook_unless_one_is_named(
    workspace: Workspace, table: Table, monkeypatch: Any
) -> None:
    features, target = table
    current = a_notebook(workspace.home, "Untitled.ipynb")
    named = a_notebook(workspace.home, "named.ipynb")
    monkeypatch.setenv("JPY_SESSION_NAME", str(current))
    for file, expected in ((None, current), ("named.ipynb", named)):
        experiment = an_experiment(workspace, table, experiment_name=str(file), model_training_file=file)
        with experiment.run_experiment() as run:
            run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
        found = {a.name: a.file_key for a in run.artifacts}["model_training_notebook"]
        assert (workspace.repo_folder / found).read_text() == expected.read_text()


@pytest.mark.row("M119", "M120", "M121")
def test_files_are_looked_for_before_training(workspace: Workspace, table: Table) -> None:
    with pytest.raises(ExperimentError, match=r"data_exploration_file.*\n.*eda\.ipynb"):
        an_experiment(workspace, table, data_exploration_file="eda.ipynb")
    experiment = an_experiment(workspace, table)
    notebook = a_notebook(workspace.home, "eda.ipynb")
    experiment.data_exploration_file = "eda.ipynb"
    notebook.unlink()
    with pytest.raises(ExperimentError, match=r"eda\.ipynb"), experiment.run_experiment():
        raise AssertionError("the block is not entered")
    assert workspace.runs(experiment) == []
    experiment.data_exploration_file = None
    with experiment.run_experiment() as run:
        run.log_metrics({"score": 1})
    assert (run.status, run.artifacts) == ("finished", [])


@pytest.mark.row("M059", "M066", "M067", "M145")
def test_what_may_change_of_an_open_run(workspace: Workspace, table: Table) -> None:
    features, target = table
    for name in ("eda.ipynb", "prepare.ipynb", "train.ipynb"):
        a_notebook(workspace.home, name)
    scaler = StandardScaler().fit(features)
    given: dict[str, Any] = {
        "baseline": {"tenure": {"mean": 3.0, "std": 1.0}},
        "preprocessor": scaler,
        "preprocessor_shape": 4,
        "dataset": "X.parquet",
        "data_exploration_file": "eda.ipynb",
        "data_preparation_file": "prepare.ipynb",
        "model_training_file": "train.ipynb",
    }
    experiment = an_experiment(workspace, table)
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression().fit(scaler.transform(features), target))
        for name, value in given.items():
            setattr(run, name, value)
            assert getattr(run, name) is value
        with pytest.raises(ExperimentError, match="names a file that is not there"):
            run.data_preparation_file = "nothing.ipynb"
    stored = workspace.client.get(f"/runs/{run.id}").json()
    assert stored["dataset"] == "X.parquet"
    paths = {each["name"]: workspace.repo_folder / each["file_key"] for each in stored["artifacts"]}
    assert json.loads(paths["baseline"].read_text()) == given["baseline"]
    np.testing.assert_allclose(
        ONNXModel(paths["preprocessor"]).transform(features), scaler.transform(features), atol=1e-5
    )
    for part in ("data_exploration", "data_preparation", "model_training"):
        name = json.loads(paths[f"{part}_notebook"].read_text())["metadata"]["n"]
        assert name == given[f"{part}_file"]
    assert experiment.data_preparation_file is None
    with pytest.raises(RunError, match="no open run"):
        run.dataset = "late"


def test_values_that_are_not_finite_are_stored_as_none(workspace: Workspace, table: Table) -> None:
    experiment = an_experiment(workspace, table)
    with pytest.warns(UserWarning, match="auc"), experiment.run_experiment() as run:
        run.log_metrics({"auc": float("nan"), "score": 1})
    assert workspace.client.get(f"/runs/{run.id}").json()["metrics"] == {"auc": None, "score": 1}
    with pytest.raises(RunError, match="as a dict"), experiment.run_experiment() as run:
        run.log_metrics(0.5)


def test_marks_of_dead_processes_do_not_count(workspace: Workspace) -> None:
    open_runs.folder().mkdir(parents=True)
    (open_runs.folder() / "a").write_text(json.dumps({"pid": 2**22 + 1}))
    (open_runs.folder() / "b").write_text("damaged")
    assert open_runs.count() == 0
    open_runs.mark("c")
    assert open_runs.count() == 1
    assert re.fullmatch("c", os.listdir(open_runs.folder())[0])
