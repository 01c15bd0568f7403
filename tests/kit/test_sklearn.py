"""ONNX forms of scikit-learn estimators answer like the originals."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector
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
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from a360mdk import certifying, parity, samples
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
    make_pipeline(StandardScaler(), LinearSVC()),
    make_pipeline(StandardScaler(), make_pipeline(PCA(3), LinearSVC())),
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


def asked_all(model: Any, rows: Any) -> parity.Asked | None:
    """Every row, and the edges."""
    asked = parity.ask(SKLEARN, model, samples.at(rows, range(len(rows))))
    return None if asked is None else parity.ask_edges(SKLEARN, model, asked, rows)


def first_that_passes(model: Any, rows: Any, **schema: Any) -> tuple[parity.Parity, str]:
    """What the close of a run does, on every row."""
    forms = certifying.Forms("model", SKLEARN, model, InputSchema(**schema), asked_all(model, rows))
    form = next(forms.passing(), None)
    if form is None:
        raise forms.refusal()
    assert form.parity is not None
    return form.parity, form.conversion.label


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


TABLE = pd.DataFrame(X[:, :3], columns=["a", "b", "c"]).assign(d=np.where(LABELS, "yes", "no"))
COLUMNS: dict[str, tuple[Any, Any]] = {
    "names": (["a", "c"], ["d"]),
    "an index": (pd.Index(["a", "c"]), pd.Index(["d"])),
    "a slice of names": (slice("a", "c"), slice("d", None)),
    "a slice": (slice(0, 2), slice(3, None)),
    "positions of numpy": ([np.int64(0), np.int64(2)], np.array([3])),
    "from the end": ([0, -2], [-1]),
    "a mask": ([True, False, True, False], [False, False, False, True]),
    "a mask of pandas": (
        TABLE.dtypes.map(lambda kind: kind.kind == "f"),
        TABLE.dtypes.map(lambda kind: kind.kind == "O"),
    ),
    "a selector": (make_column_selector(dtype_include=float), make_column_selector(dtype_include=object)),
    "none for one": (["a"], []),
}


@pytest.mark.parametrize("form", COLUMNS)
def test_columns_are_chosen_in_every_form(form: str) -> None:
    numbers, words = COLUMNS[form]
    choose = ColumnTransformer([("n", StandardScaler(), numbers), ("w", OneHotEncoder(), words)])
    fitted = make_pipeline(choose, LogisticRegression()).fit(TABLE, LABELS)
    types = {"a": "float", "b": "float", "c": "float", "d": "text"}
    result, _ = first_that_passes(fitted, TABLE, names=list(TABLE), types=types)
    assert result.label_agreement == 1.0
    assert result.rows >= len(TABLE)


def test_what_a_union_drops_is_no_estimator() -> None:
    union = FeatureUnion([("s", StandardScaler()), ("p", "drop"), ("m", MinMaxScaler())])
    fitted = make_pipeline(union, LogisticRegression(max_iter=5000)).fit(X, LABELS)
    assert first_that_passes(fitted, X)[0].label_agreement == 1.0
    assert dict(fitted.steps[0][1].transformer_list)["p"] == "drop"


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
    assert asked_all(model, raw) is None


def test_what_cannot_be_converted_is_named() -> None:
    own = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(np.abs(X), LABELS)
    with pytest.raises(RunError, match="No converter to ONNX knows"):
        next(iter(SKLEARN.conversions(own, InputSchema())))
    categorical = HistGradientBoostingRegressor(max_iter=3, categorical_features=[0])
    rows = np.c_[RANDOM.integers(0, 5, 300), X]
    categorical.fit(rows, rows[:, 0] * 7 % 3 + VALUES)
    with pytest.raises(RunError, match="categorical"):
        next(iter(SKLEARN.conversions(categorical, InputSchema())))


def compared(model: Any, other: Any) -> parity.Parity:
    """The answers of one model against the graph of another."""
    graph = next(iter(SKLEARN.conversions(other, InputSchema()))).graph
    taken = parity.ask(SKLEARN, model, samples.sampled(X))
    assert taken is not None
    return parity.compare(ONNXModel.from_bytes(graph), taken)


def test_differences_are_counted_and_named() -> None:
    rows = samples.sampled(X)
    assert rows is not None
    assert (len(rows.data), rows.places[0], rows.places[-1]) == (100, "training row 0", "training row 299")
    for nothing in (None, np.zeros((0, 3)), {}):
        assert samples.sampled(nothing) is None
    result = compared(LogisticRegression().fit(X, LABELS), LogisticRegression().fit(X, 1 - LABELS))
    assert not result.passed
    assert result.label_agreement is not None
    assert result.label_agreement < 0.2
    assert "training rows 0, 3, 6" in str(certifying.refuse("model", result))
    line = LinearRegression().fit(X, VALUES)
    result = compared(line, LinearRegression().fit(X, VALUES * 1.01))
    assert (result.passed, result.label_agreement) == (False, None)
    assert result.max_difference == pytest.approx(np.abs(line.predict(rows.data) * 0.01).max(), rel=0.05)


def test_a_small_difference_beside_large_values_counts() -> None:
    # Values around a million that differ by three: single precision shows them.
    tree = DecisionTreeRegressor(random_state=0).fit(X, LABELS * 3 + 1e6)
    other = DecisionTreeRegressor(random_state=0).fit(X, (1 - LABELS) * 3 + 1e6)
    assert compared(tree, tree).passed
    result = compared(tree, other)
    assert (result.passed, len(result.off)) == (False, 100)


def test_probabilities_count_beside_equal_labels() -> None:
    model = LogisticRegression().fit(X, LABELS)
    sharper = LogisticRegression(C=0.01).fit(X, LABELS)
    sharper.coef_, sharper.intercept_ = model.coef_ * 1.01, model.intercept_ * 1.01
    result = compared(model, sharper)
    assert (result.label_agreement, result.passed) == (1.0, False)
    assert result.probability_difference is not None
    assert result.difference is not None
    assert result.difference.column.startswith("the probability of class")
