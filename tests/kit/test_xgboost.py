"""XGBoost's models in a project: logged, chosen, fetched and imported."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from a360mdk.exceptions import RunError
from a360runtime import ONNXModel
from tests.kit.conftest import Workspace

Table = tuple[pd.DataFrame, "pd.Series[Any]"]


@pytest.mark.row("M006", "M007", "M009", "M058", "M074", "M079", "M080", "M116")
def test_a_classifier_is_stored_and_comes_back(workspace: Workspace, table: Table) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn")
    experiment = model.get_or_create_experiment(
        "boosted", "xgboost", train_features=features, train_target=target
    )
    for depth in (2, 4):
        with experiment.run_experiment() as run:
            boosted = XGBClassifier(n_estimators=20, max_depth=depth).fit(features, target)
            run.log_model(boosted)
            run.log_metrics({"accuracy": boosted.score(features, target)})
    runs = experiment.list_runs()
    assert list(runs.metadata_onnx_passed) == [True, True]
    assert "xgboost-cpu 3.2" in runs.metadata_onnx_versions[0]
    assert "onnxmltools" in runs.metadata_onnx_versions[0]
    model.set_final_run_by_metric(experiment, "accuracy")
    kinds = {a["name"]: a["file_key"] for a in workspace.client.get(f"/runs/{run.id}").json()["artifacts"]}
    assert kinds["trained_model_native"].endswith("/trained_model_native.json")
    served = model.get_artifact("trained_model")
    assert isinstance(served, ONNXModel)
    assert served.feature_names == list(features.columns)
    np.testing.assert_array_equal(served.predict(features), boosted.predict(features))
    row = features.iloc[3].to_dict()
    assert served.predict(row).tolist() == boosted.predict(features.iloc[3:4]).tolist()
    native = model.get_artifact("trained_model_native")
    assert isinstance(native, XGBClassifier)
    np.testing.assert_array_equal(native.predict_proba(features), boosted.predict_proba(features))
    plain = XGBClassifier()
    plain.load_model(bytearray((workspace.repo_folder / kinds["trained_model_native"]).read_bytes()))
    np.testing.assert_array_equal(plain.predict(features), boosted.predict(features))


@pytest.mark.row("M134")
def test_a_booster_is_imported(workspace: Workspace, table: Table) -> None:
    features, target = table
    rows = xgboost.DMatrix(features.astype(float), target)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, rows, 10)
    model = workspace.ai.import_model("imported", "elsewhere", booster, "xgboost")
    certificate = workspace.client.get(f"/runs/{model.best_run_id}").json()["certificate"]
    assert certificate["passed"] is True
    native = model.get_artifact("trained_model_native")
    assert isinstance(native, xgboost.Booster)
    np.testing.assert_array_equal(native.predict(rows), booster.predict(rows))
    served = model.get_artifact("trained_model").predict(features)
    np.testing.assert_allclose(served.ravel(), booster.predict(rows), atol=1e-6)


def test_what_is_missing_for_the_model_is_known_to_its_native_copy(
    workspace: Workspace, table: Table
) -> None:
    features, target = table
    marked = features.astype(float).mask(features.astype(float) < 5, -1)
    boosted = XGBRegressor(n_estimators=5, missing=-1).fit(marked, target)
    model = workspace.ai.import_model("gaps", "e", boosted, "xgboost", train_features=marked)
    native = model.get_artifact("trained_model_native")
    assert (type(native), native.missing) == (XGBRegressor, -1)
    np.testing.assert_array_equal(native.predict(marked), boosted.predict(marked))
    assert boosted.get_booster().attributes() == {}


class Once(BaseSearchCV):
    """A search of a library's own, as optimizers bring one."""

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator, cv=2)

    def _run_search(self, evaluate_candidates: Any) -> None:
        evaluate_candidates([{"max_depth": 2}])


@pytest.mark.row("M069")
@pytest.mark.parametrize("search", [Once, lambda model: GridSearchCV(model, {"max_depth": [1, 2]}, cv=2)])
def test_of_a_search_the_best_estimator_counts(workspace: Workspace, table: Table, search: Any) -> None:
    features, target = table
    found = search(XGBClassifier(n_estimators=3)).fit(features, target)
    model = workspace.ai.import_model("searched", "e", found, "xgboost", train_features=features)
    native = model.get_artifact("trained_model_native")
    assert type(native) is XGBClassifier
    np.testing.assert_array_equal(native.predict(features), found.predict(features))


def test_what_is_no_model_of_xgboost_is_refused(workspace: Workspace, table: Table) -> None:
    features, target = table
    model = workspace.ai.get_or_create_model("churn")
    experiment = model.get_or_create_experiment(
        "boosted", "xgboost", train_features=features, train_target=target
    )
    pipeline = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3)).fit(features, target)
    forest = RandomForestClassifier(3).fit(features, target)
    for other, said in (
        (pipeline, "Pipeline.*\n.*\n.*flavor sklearn"),
        (forest, "RandomForestClassifier"),
        (XGBClassifier(), "not fitted"),
    ):
        with pytest.raises(RunError, match=said), experiment.run_experiment() as run:
            run.log_model(other)
    assert workspace.files() == []
