"""Drift monitoring: baselines given with an experiment, and given later."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from a360mdk.exceptions import ExperimentError, ModelError
from tests.kit.conftest import Workspace

Table = tuple[pd.DataFrame, "pd.Series[Any]"]


@pytest.mark.row("M047", "M052", "M084", "M085", "M086", "M123", "M125")
def test_arrays_with_drift_monitoring(workspace: Workspace) -> None:
    features = np.random.default_rng(0).normal(size=(30, 26))
    target = np.arange(30) % 2
    names = [f"f{number}" for number in range(26)]
    model = workspace.ai.get_or_create_model("churn_pred_2")
    given: dict[str, Any] = {
        "experiment_name": "forest", "model_flavor": "sklearn", "enable_drift_monitoring": True,
        "train_features": features, "train_target": target,
    }  # fmt: skip
    with pytest.raises(ExperimentError, match=r"names of the features[^$]*feature_names=\["):
        model.get_or_create_experiment(**given)
    with pytest.raises(ExperimentError, match="25 names for 26 columns"):
        model.get_or_create_experiment(**given, feature_names=names[:25])
    assert model.list_experiments().empty
    experiment = model.get_or_create_experiment(**given, feature_names=names)
    assert experiment.input_signature == "ndarray: float64 (26,)"
    assert experiment.output_signature == "ndarray: int64 ()"
    assert experiment.baseline is not None
    assert list(experiment.baseline) == names
    assert experiment.feature_names == names
    assert experiment.train_features is features
    assert experiment.train_target is target
    entry = experiment.baseline["f3"]
    assert (entry["mean"], entry["std"]) == pytest.approx((features[:, 3].mean(), features[:, 3].std()))
    assert (len(entry["bins"]), sum(entry["frequencies"])) == (11, pytest.approx(1, abs=1e-4))
    stored = workspace.client.get(f"/experiments/{experiment.id}").json()
    target_entry = stored["target_baseline"]["target"]
    assert (target_entry["mean"], target_entry["std"]) == (0.5, 0.5)
    assert experiment.target_baseline == stored["target_baseline"]
    median = model.get_or_create_experiment(
        **{**given, "experiment_name": "median"}, feature_names=names, monitoring_expected_value="median"
    )
    assert median.baseline is not None
    assert list(median.baseline["f0"])[:2] == ["median", "std"]
    assert median.baseline["f0"]["median"] == pytest.approx(np.median(features[:, 0]))


@pytest.mark.row("M087")
def test_drift_monitoring_after_the_fact(workspace: Workspace, table: Table) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn_pred_2")
    with pytest.raises(ModelError, match="no final run"):
        model.enable_drift_monitoring(train_features=features)
    experiment = model.get_or_create_experiment("e", "sklearn", features, target)
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression(max_iter=2000).fit(features, target))
    model.set_final_run(experiment, run.id)
    with pytest.raises(ExperimentError, match="train_target or both"):
        model.enable_drift_monitoring()
    this_experiment = model.enable_drift_monitoring(train_features=features, train_target=target)
    assert this_experiment.enable_drift_monitoring is True
    stored = workspace.client.get(f"/experiments/{experiment.id}").json()
    assert list(stored["baseline"]) == list(features.columns)
    assert list(stored["target_baseline"]) == ["Churn"]
    # In another order they are the same features, and the baseline keeps the order of the experiment.
    shuffled = features[list(reversed(features.columns))]
    again = model.enable_drift_monitoring(train_features=shuffled)
    assert list(again.baseline or {}) == list(features.columns)
    assert again.baseline == stored["baseline"]
    assert again.target_baseline == stored["target_baseline"]
    with pytest.raises(ExperimentError, match="not the features of the experiment"):
        model.enable_drift_monitoring(train_features=features.rename(columns={"tenure": "months"}))
    # What lists show is what the first release printed.
    shown = model.list_experiments().baseline[0]
    assert list(shown) == list(features.columns)
    assert {tuple(entry) for entry in shown.values()} == {("mean", "std")}


@pytest.mark.row("M085", "M087")
@pytest.mark.parametrize("later", [False, True])
def test_drift_of_the_target_alone_and_of_arrays(workspace: Workspace, later: bool) -> None:
    features, target = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    model = workspace.ai.get_or_create_model("waves")
    given: dict[str, Any] = {} if later else {"enable_drift_monitoring": True, "feature_names": ["a", "b"]}
    experiment = model.get_or_create_experiment("e", "sklearn", features, target, **given)
    assert experiment.enable_drift_monitoring is not later
    with experiment.run_experiment() as run:
        run.log_model(LogisticRegression().fit(features, target))
    model.set_final_run(experiment, run.id)
    if later:
        only_target = model.enable_drift_monitoring(train_target=target.tolist())
        assert (only_target.baseline, list(only_target.target_baseline or {})) == (None, ["target"])
        with pytest.raises(ExperimentError, match=r"feature_names=\["):
            model.enable_drift_monitoring(train_features=features)
        best = model.enable_drift_monitoring(train_features=features.tolist(), feature_names=["a", "b"])
    else:
        best = model.enable_drift_monitoring(train_features=features)  # the experiment knows the names
    stored = workspace.client.get(f"/experiments/{best.id}").json()
    assert [entry["mean"] for entry in stored["baseline"].values()] == [19.0, 20.0]
    assert stored["target_baseline"]["target"]["mean"] == 0.5
