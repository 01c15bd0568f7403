"""Experiments, as notebooks use them."""

from typing import Any

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from a360mdk import Experiment
from a360mdk.exceptions import ExperimentError
from tests.kit.conftest import Workspace

Table = tuple[pd.DataFrame, "pd.Series[Any]"]

LABELS = [
    "Model Name",
    "Model Version",
    "Experiment Name",
    "Final Run Id",
    "Model Flavor",
    "Input Signature",
    "Output Signature",
    "Data Exploration File",
    "Data Preparation File",
    "Model Training File",
    "Drift Monitoring Enabled",
]
LISTED = [
    *("id", "bestRun", "model_id", "experiment_name", "best_run_id", "model_flavor", "input_signature"),
    *("output_signature", "data_exploration_file", "data_preparation_file", "model_training_file"),
    *("baseline", "train_shape", "model_name", "version", "updated_at"),
]


@pytest.mark.row(
    "M044", "M045", "M046", "M048", "M049", "M050", "M051", "M115", "M116", "M117", "M118", "M122"
)
@pytest.mark.row("M126")
def test_the_summary_of_a_data_frame(workspace: Workspace, table: Table, capsys: Any) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn_pred_2")
    experiment = model.get_or_create_experiment(
        experiment_name="forest", model_flavor="sklearn", train_features=features, train_target=target
    )
    lines = capsys.readouterr().out.strip().split("\n")
    assert lines[0].startswith("//-- Experiment Loaded --//")
    assert [line.split(": ")[0] for line in lines[1:]] == LABELS
    values = dict(line.split(": ", 1) for line in lines[1:])
    assert values["Input Signature"] == (
        "gender big_integer, SeniorCitizen small_integer, MonthlyCharges float, tenure big_integer"
    )
    assert values["Output Signature"] == "Churn big_integer"
    assert (values["Final Run Id"], values["Drift Monitoring Enabled"]) == ("None", "False")
    assert (experiment.baseline, experiment.train_shape, experiment.model) == (None, [4], model)
    assert (experiment.a360ai, experiment.model_id) == (workspace.ai, model.id)
    same = workspace.ai.get_or_create_experiment("churn_pred_2", "1.0", "forest", "sklearn", features, target)
    assert same.id == experiment.id
    loaded = model.get_or_create_experiment(experiment_name="forest")
    assert (loaded.id, loaded.input_signature) == (experiment.id, experiment.input_signature)
    with pytest.warns(UserWarning, match="other features"):
        model.get_or_create_experiment("forest", "sklearn", train_features=features[["tenure"]])


@pytest.mark.row("M044", "M045")
def test_a_model_may_be_named_once_more(workspace: Workspace, table: Table) -> None:
    features, target = table
    ai = workspace.ai
    model: Any = ai.get_or_create_model("churn_pred_2")
    documented = ("churn_pred_2", "1.0", "forest", "sklearn", features, target)
    names = (
        "model_name", "version", "experiment_name", "model_flavor", "train_features", "train_target",
    )  # fmt: skip
    by_name = dict(zip(names, documented, strict=True))
    experiment = ai.get_or_create_experiment(*documented)
    assert (experiment.experiment_name, experiment.model_flavor) == ("forest", "sklearn")
    assert experiment.output_signature == "Churn big_integer"
    for found in (
        ai.get_or_create_experiment(**by_name),
        model.get_or_create_experiment(*documented),
        model.get_or_create_experiment(**by_name),
        model.get_or_create_experiment("churn_pred_2", "1.0", experiment_name="forest"),
        model.get_or_create_experiment("churn_pred_2", experiment_name="forest", model_flavor="sklearn"),
        model.get_or_create_experiment("forest", "sklearn", features, target),
        model.get_or_create_experiment("forest", version="1.0"),
    ):
        assert found.id == experiment.id
    for other in (("other", *documented[1:]), ("churn_pred_2", "2.0", *documented[2:])):
        with pytest.raises(ExperimentError, match=r"another model[^$]*This is churn_pred_2 1\.0"):
            model.get_or_create_experiment(*other)
    with pytest.raises(ExperimentError, match="another model"):
        model.get_or_create_experiment(**{**by_name, "version": "2.0"})


@pytest.mark.row("M127", "M144")
def test_what_hugging_face_needs_goes_from_the_experiment_to_its_runs(
    workspace: Workspace, table: Table
) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn_pred_2")
    tokenizer = object()
    given: dict[str, Any] = {"pipeline_name": "text-classification", "framework": "pytorch"}
    experiment = model.get_or_create_experiment(
        experiment_name="e", model_flavor="sklearn", train_features=features, train_target=target,
        tokenizer=tokenizer, **given,
    )  # fmt: skip
    again = model.get_or_create_experiment("e", tokenizer=tokenizer)
    for loaded in (experiment, again):
        assert {name: getattr(loaded, name) for name in given} == given
        assert loaded.tokenizer is tokenizer
        run = loaded.run_experiment()
        assert {name: getattr(run, name) for name in given} == given
        assert run.tokenizer is tokenizer
    assert model.get_or_create_experiment("e").tokenizer is None  # it is not stored


@pytest.mark.row("M128")
def test_what_may_change_of_an_experiment(workspace: Workspace, table: Table) -> None:
    features, target = table
    (workspace.home / "eda.ipynb").write_text("{}")
    model = workspace.ai.get_or_create_model("churn_pred_2")
    experiment = model.get_or_create_experiment("e", "sklearn", features, target)
    assert set(Experiment.mutable) == {
        "baseline", "data_exploration_file", "data_preparation_file", "model_training_file",
        "enable_drift_monitoring", "monitoring_expected_value",
    }  # fmt: skip
    given: dict[str, Any] = {
        "data_exploration_file": "eda.ipynb",
        "data_preparation_file": "eda.ipynb",
        "model_training_file": "eda.ipynb",
        "monitoring_expected_value": "median",
        "baseline": {"tenure": {"median": 3.0, "std": 1.0}},
        "enable_drift_monitoring": True,
    }
    for name, value in given.items():
        setattr(experiment, name, value)
        assert getattr(experiment, name) == value
    stored = workspace.client.get(f"/experiments/{experiment.id}").json()
    assert {name: stored[name] for name in given} == given
    loaded = model.get_or_create_experiment("e")
    assert {name: getattr(loaded, name) for name in given} == given
    with pytest.raises(ExperimentError, match="cannot be changed"):
        experiment.model_flavor = "xgboost"
    experiment.enable_drift_monitoring = False
    later = model.get_or_create_experiment(
        "e", train_features=features, train_target=target, enable_drift_monitoring=True
    )
    assert later.enable_drift_monitoring is True
    assert list(later.baseline or {}) == list(features.columns)


def test_wrong_experiments_create_nothing(workspace: Workspace, table: Table) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn_pred_2")
    with pytest.raises(ExperimentError, match="stores models of: sklearn"):
        model.get_or_create_experiment("e", "prophet", features, target)
    with pytest.raises(ExperimentError, match="needs a model flavor"):
        model.get_or_create_experiment("e", train_features=features)
    with pytest.raises(ExperimentError, match="needs train_features"):
        model.get_or_create_experiment("e", "sklearn")
    with pytest.raises(ExperimentError, match="needs a name"):
        model.get_or_create_experiment("", "sklearn", features, target)
    with pytest.raises(ExperimentError, match="mean or median"):
        model.get_or_create_experiment("e", "sklearn", features, target, monitoring_expected_value="mode")
    with pytest.raises(ExperimentError, match="differ"):
        model.get_or_create_experiment("e", "sklearn", features, target, feature_names=["a", "b", "c", "d"])
    assert model.list_experiments().empty
    with pytest.raises(ExperimentError, match="not on the platform"):
        Experiment().run_experiment().__enter__()


@pytest.mark.row("M014", "M016")
def test_list_experiments(workspace: Workspace, table: Table) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn_pred_2")
    assert list(model.list_experiments().columns) == LISTED
    experiment = model.get_or_create_experiment(
        "forest", "sklearn", features, target, enable_drift_monitoring=True
    )
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
    assert model.list_experiments().bestRun[0] is None
    model.set_final_run(experiment, run.id)
    found = model.list_experiments()
    assert list(found.columns) == LISTED
    row = found.iloc[0]
    assert (row.best_run_id, row.bestRun["id"], row.model_name, row.version) == (
        run.id,
        run.id,
        "churn_pred_2",
        "1.0",
    )
    assert row.train_shape == [4]
    expected = {
        name: {"mean": pytest.approx(column.mean()), "std": pytest.approx(column.std(ddof=0))}
        for name, column in features.astype(float).items()
    }
    assert row.baseline == expected
    assert list(row.baseline) == list(features.columns)
    assert list(row.baseline["gender"]) == ["mean", "std"]
