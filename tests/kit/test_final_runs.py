"""The final run of a model: chosen, and its artifacts fetched."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from a360mdk import A360AI
from a360mdk.exceptions import ArtifactError, ModelError
from a360runtime import ONNXModel
from tests.kit.conftest import Workspace
from tests.kit.test_runs import an_experiment

Table = tuple[pd.DataFrame, "pd.Series[Any]"]


@pytest.mark.row("M016", "M070", "M071", "M072", "M074", "M075", "M080")
def test_the_best_run_is_chosen_and_its_artifacts_come_back(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    forests = {}
    for depth in (1, 3, 6):
        with experiment.run_experiment() as run:
            forest = RandomForestClassifier(5, max_depth=depth, random_state=0).fit(features, target)
            run.log_model(forest)
            run.log_hyperparameters({"max_depth": depth})
            run.log_metadata({"source": "test"})
            run.log_metrics({"test_score": float(forest.score(features, target))})
        forests[run.id] = forest
    assert list(experiment.list_runs().id) == list(forests)
    runs = experiment.list_runs()
    assert list(runs.columns)[:5] == [
        "id", "dataset", "artifact_paths", "metric_test_score", "hyperparameter_max_depth",
    ]  # fmt: skip
    assert list(runs.hyperparameter_max_depth) == [1, 3, 6]
    assert list(runs.metadata_source) == ["test"] * 3
    stored = workspace.client.get(f"/runs/{runs.id[0]}").json()["artifacts"]
    assert runs.artifact_paths[0] == {each["name"]: each["file_key"] for each in stored}
    files = workspace.files()
    assert all(column.startswith("metadata_") for column in runs.columns[5:])
    assert (runs.metadata_run_time >= 0).all()
    best = runs.sort_values("metric_test_score", ascending=False).id.values[0]
    model = workspace.ai.model
    assert model is not None
    model.set_final_run(experiment, best)
    assert (model.best_run_id, model.best_experiment_id, experiment.best_run_id) == (
        best,
        experiment.id,
        best,
    )
    assert workspace.files() == files, "to choose a run moves no file"

    loaded = model.get_artifact("trained_model", path="/home/jovyan")
    assert type(loaded) is ONNXModel
    assert (workspace.home / "trained_model").is_file()
    expected = forests[best].predict(features)
    np.testing.assert_array_equal(loaded.predict(features), expected)
    np.testing.assert_array_equal(
        ONNXModel("/home/jovyan/trained_model").predict(features.to_numpy()), expected
    )
    native = model.get_artifact("trained_model_native", path="native")
    np.testing.assert_array_equal(native.predict(features), expected)
    assert (workspace.home / "native" / "trained_model_native").is_file()
    # Without a preprocessor, notebooks and drift monitoring there is nothing else.
    with pytest.raises(ArtifactError, match=r"It has: trained_model, trained_model_native\."):
        model.get_artifact("preprocessor")


@pytest.mark.row("M074", "M087")
def test_the_final_run_is_the_one_that_is_chosen_now(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    model = workspace.ai.model
    assert model is not None
    runs = []
    for trees in (1, 2):
        with experiment.run_experiment() as run:
            run.log_model(RandomForestClassifier(trees, random_state=0).fit(features, target))
        runs.append(str(run.id))
    model.set_final_run(experiment, runs[0])
    assert model.get_artifact("trained_model_native").n_estimators == 1
    # A colleague chooses the other one, in a kernel of their own.
    A360AI().get_or_create_model("churn_pred_2").set_final_run(experiment, runs[1])
    assert model.get_artifact("trained_model_native").n_estimators == 2
    assert model.best_run_id == runs[1]


@pytest.mark.row("M073")
def test_the_final_run_by_metric(workspace: Workspace, table: Table, capsys: Any) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    model = workspace.ai.model
    assert model is not None
    ids = []
    for score in (0.2, 0.9, 0.4):
        with experiment.run_experiment() as run:
            run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
            run.log_metrics({"train_score": score, "rmse": score, "neg_mean_squared_error": -score})
        ids.append(run.id)
    assert model.set_final_run_by_metric(experiment, "train_score") == ids[1]
    assert model.set_final_run_by_metric(experiment, "rmse") == ids[0]
    assert model.set_final_run_by_metric(experiment, "rmse", greater_is_better=True) == ids[1]
    assert f"Final run: {ids[1]} (train_score = 0.9)" in capsys.readouterr().out
    assert model.set_final_run_by_metric(experiment, "neg_mean_squared_error") == ids[0]
    with pytest.raises(ModelError, match="rmse, train_score"):
        model.set_final_run_by_metric(experiment, "f1")
    assert model.best_run_id == ids[0]


@pytest.mark.row("M073")
def test_only_numbers_choose_a_final_run(workspace: Workspace, table: Table) -> None:
    features, target = table
    experiment = an_experiment(workspace, table)
    model = workspace.ai.model
    assert model is not None
    logged: list[dict[str, Any]] = [
        {"matrix": [[1, 2], [3, 4]], "grade": "A", "score": "n/a"},
        {"grade": "B", "score": 0.1},
    ]
    for metrics in logged:
        with experiment.run_experiment() as run:
            run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
            run.log_metrics(metrics)
    for metric in ("matrix", "grade"):
        with pytest.raises(ModelError, match=f"has the metric '{metric}' as a number"):
            model.set_final_run_by_metric(experiment, metric)
    assert model.set_final_run_by_metric(experiment, "score") == run.id
