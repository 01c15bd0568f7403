"""ONNX forms of scikit-learn estimators answer like the originals."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from a360mdk import parity
from a360mdk.exceptions import RunError
from a360mdk.flavors import get
from a360mdk.flavors.base import InputSchema
from a360runtime import ONNXModel

SKLEARN = get("sklearn")
RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(300, 5)) * [1, 10, 0.1, 1000, 1]
LABELS = (X[:, 0] + X[:, 1] / 10 > 0).astype(int)
VALUES = X[:, 0] * 3 + X[:, 1]

CLASSIFIERS: list[BaseEstimator] = [
    RandomForestClassifier(20, max_depth=6, random_state=0),
    DecisionTreeClassifier(random_state=0),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10),
    LogisticRegression(max_iter=5000),
    LinearSVC(),
    SVC(),
    RidgeClassifier(),
    KNeighborsClassifier(),
    MLPClassifier((4,), max_iter=50),
    make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
    make_pipeline(SimpleImputer(), MinMaxScaler(), HistGradientBoostingClassifier(max_iter=5)),
    VotingClassifier([("a", DecisionTreeClassifier(max_depth=3)), ("b", LogisticRegression(max_iter=5000))]),
]
REGRESSORS: list[BaseEstimator] = [
    LinearRegression(),
    RandomForestRegressor(20, random_state=0),
    ExtraTreesRegressor(20, random_state=0),
    DecisionTreeRegressor(random_state=0),
    GradientBoostingRegressor(n_estimators=10),
    HistGradientBoostingRegressor(max_iter=10),
    make_pipeline(StandardScaler(), RandomForestRegressor(20, random_state=0)),
    make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=20)),
]
OTHERS: list[BaseEstimator] = [
    KMeans(3, n_init=2, random_state=0),
    PCA(2),
    StandardScaler(),
    IsolationForest(n_estimators=10, random_state=0),
]


def first_that_passes(model: Any, rows: Any, **schema: Any) -> tuple[parity.Parity, str]:
    """What the close of a run does."""
    taken = parity.answered(SKLEARN, model, parity.Sample(rows, range(len(rows))))
    assert taken is not None
    result, label = None, ""
    for conversion in SKLEARN.conversions(model, InputSchema(**schema)):
        result, label = parity.compare(conversion.graph, taken), conversion.label
        if result.passed:
            break
    assert result is not None
    return result, label


def named(model: BaseEstimator) -> str:
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    return "-".join(type(step).__name__ for step in steps)


@pytest.mark.row("M006", "F358")
@pytest.mark.parametrize("model", [*CLASSIFIERS, *REGRESSORS, *OTHERS], ids=named)
def test_estimators(model: BaseEstimator) -> None:
    labels = model in CLASSIFIERS
    fitted = clone(model).fit(X, LABELS if labels else VALUES)
    result, _ = first_that_passes(fitted, X)
    assert result.passed, result
    if labels:
        assert result.label_agreement is not None
        assert result.label_agreement >= 0.99


@pytest.mark.parametrize("kind", [str, float, bool, np.uint8])
def test_labels_of_any_type(kind: Any) -> None:
    target = np.array([kind(value) for value in LABELS])
    fitted = RandomForestClassifier(5, random_state=0).fit(X, target)
    result, _ = first_that_passes(fitted, X)
    assert result.label_agreement == 1.0


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_forests_on_float64_data_agree_exactly(seed: int, scale: float) -> None:
    # Thresholds lie between float64 values; compared in float32 they must not flip a single row.
    random = np.random.default_rng(seed)
    rows = random.normal(size=(80, 3)) * scale
    model = RandomForestRegressor(5, random_state=0).fit(rows, rows.sum(axis=1))
    graph = next(iter(SKLEARN.conversions(model, InputSchema()))).graph
    found = ONNXModel.from_bytes(graph).predict(rows).ravel()
    np.testing.assert_allclose(found, model.predict(rows), rtol=1e-5, atol=1e-6 * scale)


def test_scaled_forests_fall_back_to_float64_input() -> None:
    random = np.random.default_rng(0)
    rows = np.round(random.normal(size=(4000, 2)), 1) + 1000.0
    target = random.normal(size=4000)
    model = make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0)).fit(rows, target)
    result, label = first_that_passes(model, rows)
    assert result.passed, result
    assert label in ("float32", "float64")


def test_columns_by_name_and_text() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["contract"] = np.where(X[:, 0] > 0, "Month-to-month", "One year")
    frame["Monthly Charges"] = X[:, 1]
    numbers = ["a", "b", "Monthly Charges"]
    split = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["contract"]),
        ]
    )
    pipeline = make_pipeline(split, RandomForestClassifier(10, random_state=0)).fit(frame, LABELS)
    result, _ = first_that_passes(pipeline, frame, names=list(frame.columns))
    assert result.label_agreement == 1.0
    graph = next(iter(SKLEARN.conversions(pipeline, InputSchema()))).graph
    assert ONNXModel.from_bytes(graph).input_names == ["a", "b", "contract", "Monthly Charges"]
    shuffled = frame[list(frame.columns)[::-1]]
    np.testing.assert_array_equal(ONNXModel.from_bytes(graph).predict(shuffled), pipeline.predict(frame))
    encoder = OneHotEncoder().fit(frame[["contract"]])
    assert first_that_passes(encoder, frame[["contract"]])[0].passed
    by_position = ColumnTransformer([("s", StandardScaler(), [0, 1])], remainder="drop").fit(X)
    assert first_that_passes(by_position, X)[0].passed


def test_columns_that_are_left_out_may_hold_anything() -> None:
    frame = pd.DataFrame(
        {"since": pd.date_range("2020", periods=300), "id": ["x"] * 300, "x": X[:, 0], "k": LABELS}
    )
    picked = ColumnTransformer([("x", StandardScaler(), ["x"]), ("k", OneHotEncoder(), ["k"])])
    model = make_pipeline(picked, LogisticRegression()).fit(frame, LABELS)
    types = {"since": "timestamp", "id": "text", "x": "float", "k": "big_integer"}
    result, _ = first_that_passes(model, frame, names=list(frame.columns), types=types)
    assert result.label_agreement == 1.0
    graph = next(iter(SKLEARN.conversions(model, InputSchema(list(frame.columns), types)))).graph
    onnx = ONNXModel.from_bytes(graph)
    expected = model.predict(frame)
    np.testing.assert_array_equal(onnx.predict(frame.to_numpy()), expected)
    np.testing.assert_array_equal(onnx.predict(frame[["x", "k"]]), expected)


def test_types_of_features_before_encoding_do_not_mislead() -> None:
    # train_features held text; the model was fitted on numbers under the same names.
    encoded = pd.DataFrame({"gender": LABELS, "x": X[:, 0]})
    schema = {"names": ["gender", "x"], "types": {"gender": "text", "x": "float"}}
    for rows in (encoded, encoded.to_numpy()):
        model = RandomForestClassifier(5, random_state=0).fit(rows, LABELS)
        assert first_that_passes(model, rows, **schema)[0].label_agreement == 1.0
    raw = pd.DataFrame({"gender": ["f", "m"], "x": [1.0, 2.0]})
    assert parity.answered(SKLEARN, model, parity.Sample(raw, [0, 1])) is None


def test_what_cannot_be_converted_is_named() -> None:
    own = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(np.abs(X), LABELS)
    with pytest.raises(RunError, match="No converter to ONNX knows"):
        next(iter(SKLEARN.conversions(own, InputSchema())))
    categorical = HistGradientBoostingRegressor(max_iter=3, categorical_features=[0])
    rows = np.c_[RANDOM.integers(0, 5, 300), X]
    categorical.fit(rows, rows[:, 0] * 7 % 3 + VALUES)
    with pytest.raises(RunError, match="categorical"):
        next(iter(SKLEARN.conversions(categorical, InputSchema())))


def test_differences_are_counted_and_named() -> None:
    model = LogisticRegression().fit(X, LABELS)
    other = LogisticRegression().fit(X, 1 - LABELS)
    graph = next(iter(SKLEARN.conversions(other, InputSchema()))).graph
    sample = parity.sample(X)
    assert (len(sample.rows), sample.positions[0], sample.positions[-1]) == (100, 0, 299)
    taken = parity.answered(SKLEARN, model, sample)
    assert taken is not None
    result = parity.compare(graph, taken)
    assert not result.passed
    assert result.label_agreement is not None
    assert result.label_agreement < 0.2
    for nothing in (None, np.zeros((0, 3)), {"a": X}):
        assert parity.sample(nothing).rows is None
    error = parity.refuse("model", result)
    assert "rows 0, 3, 6" in str(error)
    line = LinearRegression().fit(X, VALUES)
    shifted = LinearRegression().fit(X, VALUES * 1.01)
    graph = next(iter(SKLEARN.conversions(shifted, InputSchema()))).graph
    taken = parity.answered(SKLEARN, line, sample)
    assert taken is not None
    result = parity.compare(graph, taken)
    assert (result.passed, result.label_agreement) == (False, None)
    assert result.max_difference == pytest.approx(np.abs(line.predict(sample.rows) * 0.01).max(), rel=0.05)
