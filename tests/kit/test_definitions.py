"""Models and experiments from YAML, and YAML from models."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from a360mdk import A360AI
from a360mdk.exceptions import ExperimentError, ModelError
from tests.kit.conftest import Workspace, make_workspace

WHOLE = """
model_name: churn_pred
version: 1.10  # no number: the version is what is written
model_type: classification
experiments:
  - experiment_name: Random forest
    model_flavor: sklearn
    train_features: churn.csv
    target_column: Churn
    enable_drift_monitoring: yes
    monitoring_expected_value: median
    model_training_file: training.ipynb
  - experiment_name: Trees
    model_flavor: sklearn
    train_features: features
    train_target: target.parquet
  - experiment_name: Declared
    model_flavor: sklearn
    input_signature: a float, b float
    output_signature: y float
    train_shape: [2]
    feature_names: [a, b]
"""


@pytest.fixture
def ai(workspace: Workspace, table: tuple[pd.DataFrame, "pd.Series[Any]"]) -> A360AI:
    """An interface whose data repo holds the data that the definitions name."""
    features, churn = table
    for key, data in {"churn.csv": features.join(churn), "features": features, "target": churn}.items():
        workspace.ai.write_dataset(data, key)
    Path("training.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return workspace.ai


@pytest.mark.row("M041", "M042")
def test_a_model_with_experiments(workspace: Workspace, ai: A360AI, capsys: Any) -> None:
    Path("churn.yaml").write_text(
        WHOLE.replace("train_features: features", "train_features: features.parquet")
    )
    model = ai.get_or_create_model(from_yaml="churn.yaml")
    assert (model.model_name, model.version, model.model_type) == ("churn_pred", "1.10", "classification")
    assert ai.model is model
    assert ai.experiment is not None
    assert ai.experiment.experiment_name == "Declared"
    assert capsys.readouterr().out.count("//-- Experiment Loaded --//") == 3
    found = {
        each["experiment_name"]: each
        for each in workspace.client.get(f"/models/{model.id}/experiments").json()["items"]
    }
    columns = ["gender", "SeniorCitizen", "MonthlyCharges", "tenure"]
    assert list(found["Random forest"]["baseline"]) == columns
    assert "median" in found["Random forest"]["baseline"]["tenure"]
    assert found["Random forest"]["target_baseline"].keys() == {"Churn"}
    assert found["Random forest"]["output_signature"] == "Churn big_integer"
    assert found["Random forest"]["model_training_file"] == "training.ipynb"
    assert found["Trees"]["output_signature"] == "Churn big_integer"
    assert (found["Declared"]["train_shape"], found["Declared"]["feature_names"]) == ([2], ["a", "b"])
    # Once more changes nothing.
    assert ai.create_from_yaml("churn.yaml").id == model.id
    assert len(workspace.client.get(f"/models/{model.id}/experiments").json()["items"]) == 3


@pytest.mark.row("M042", "M043")
def test_what_is_exported_can_be_read_here_and_in_another_project(
    workspace: Workspace, ai: A360AI, tmp_path: Path, monkeypatch: Any
) -> None:
    model = ai.get_or_create_model("tides", "2.0", "regression")
    features = pd.DataFrame({"h": [1.0, 2, 3], "grün": [3.0, 1, 2]})
    experiment = model.get_or_create_experiment("Least squares", "sklearn", features, features["h"])
    with experiment.run_experiment() as run:
        run.log_metrics({"score": 1})
    path = ai.export_model_definition(tmp_path / "tides.yaml", experiments=True)
    written = yaml.safe_load(Path(path).read_text())
    assert written["experiments"][0]["input_signature"] == "h float, grün float"
    assert ai.create_from_yaml(path).id == model.id
    again = ai.export_model_definition("again.yaml", experiments=True)
    assert Path(again).read_text() == Path(path).read_text()

    other = make_workspace(workspace.service, tmp_path / "other", monkeypatch)
    copied = other.ai.create_from_yaml(path)
    assert copied.id != model.id
    assert other.ai.export_model_definition("copy.yaml", experiments=True)
    assert yaml.safe_load(Path("copy.yaml").read_text()) == written
    other.close()


@pytest.mark.row("M041", "M042", "M168", "M171")
@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("model_name: m\nmodeltype: x\n", ModelError, ["Line 2", "'modeltype'", "Did you mean model_type?"]),
        ("model_name: m\ncolour: x\n", ModelError, ["Line 2", "Keys there: model_name"]),
        ("model_name: m\nmodel_name: n\n", ModelError, ["Line 2", "comes twice"]),
        ("model_name: [m]\n", ModelError, ["Line 1", "model_name is not text"]),
        ("version: 1\n", ModelError, ["model_name is missing"]),
        ("", ModelError, ["empty"]),
        ("- m\n", ModelError, ["Line 1", "keys with values"]),
        ("model_name: {\n", ModelError, ["cannot be read", "line 2"]),
        ("model_name: m\nexperiments: Trees\n", ExperimentError, ["Line 2", "not a list"]),
        ("model_name: m\nexperiments:\n  - Trees\n", ExperimentError, ["Line 3", "keys with values"]),
        ("model_name: m\nexperiments:\n  - flavor: x\n", ExperimentError, ["Line 3", "model_flavor?"]),
        (
            "model_name: m\nexperiments:\n  - model_flavor: x\n",
            ExperimentError,
            ["experiment_name is missing"],
        ),
        (
            "model_name: m\nexperiments:\n  - experiment_name: t\n    enable_drift_monitoring: 1\n",
            ExperimentError,
            ["Line 4", "true or false"],
        ),
        (
            "model_name: m\nexperiments:\n  - experiment_name: t\n  - experiment_name: t\n",
            ExperimentError,
            ["Line 4", "comes twice"],
        ),
        (
            "model_name: m\nexperiments:\n  - experiment_name: t\n    train_target: a\n"
            "    target_column: b\n",
            ExperimentError,
            ["Line 3", "two targets"],
        ),
        (
            "model_name: m\nexperiments:\n  - experiment_name: t\n    train_shape: [a]\n",
            ExperimentError,
            ["Line 4", "a list of numbers"],
        ),
    ],
)
def test_what_is_not_of_the_syntax_is_refused_with_its_line(
    workspace: Workspace, text: str, error: type[Any], said: list[str]
) -> None:
    Path("bad.yaml").write_text(text)
    with pytest.raises(error) as caught:
        workspace.ai.create_from_yaml("bad.yaml")
    for part in said:
        assert part in str(caught.value)
    assert caught.value.hint
    assert workspace.client.get(f"/projects/{workspace.project['id']}/models").json()["items"] == []


@pytest.mark.row("M042", "M168")
def test_experiments_that_cannot_be_created(workspace: Workspace, ai: A360AI) -> None:
    start = "model_name: m\nexperiments:\n  - experiment_name: t\n    model_flavor: sklearn\n"
    for text, said in {
        "": "needs train_features",
        "    input_signature: a float\n    enable_drift_monitoring: true\n": "needs train_features",
        "    train_features: churn.csv\n    target_column: Charm\n": "Its columns are gender",
    }.items():
        Path("m.yaml").write_text(start + text)
        with pytest.raises(ExperimentError, match=said):
            ai.create_from_yaml("m.yaml")
    assert ai.model is not None
    assert workspace.client.get(f"/models/{ai.model.id}/experiments").json()["items"] == []
    Path("m.yaml").write_text(start + "    input_signature: a float\n")
    ai.create_from_yaml("m.yaml")
    Path("m.yaml").write_text(start + "    input_signature: b float\n")
    with pytest.raises(ExperimentError, match="exists as another"):
        ai.create_from_yaml("m.yaml")
    with pytest.raises(ModelError, match="defined twice"):
        ai.get_or_create_model("m", from_yaml="m.yaml")
