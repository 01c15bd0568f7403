"""The runtime object: what it takes, and what it needs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from a360mdk.flavors import get
from a360mdk.flavors.base import InputSchema
from a360runtime import ONNXModel

SKLEARN = get("sklearn")
RANDOM = np.random.default_rng(3)
FEATURES = RANDOM.normal(size=(200, 3))
LABELS = (FEATURES.sum(axis=1) > 0).astype(int)
NAMES = ["a", "b", "c d, e"]


def graph_of(model: Any, **schema: Any) -> bytes:
    return next(iter(SKLEARN.conversions(model, InputSchema(**schema)))).graph


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return RandomForestClassifier(5, random_state=0).fit(FEATURES, LABELS)


@pytest.fixture(scope="module")
def onnx_forest(forest: RandomForestClassifier) -> ONNXModel:
    return ONNXModel.from_bytes(graph_of(forest, names=NAMES))


@pytest.mark.row("M076", "M077")
@settings(deadline=None, max_examples=40)
@given(
    rows=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-100, 100, width=32)
    ),
    form=st.sampled_from(["array", "frame", "shuffled", "list", "records", "columns", "float32", "fortran"]),
)
def test_any_form_of_rows_gives_the_native_labels(
    forest: RandomForestClassifier, onnx_forest: ONNXModel, rows: Any, form: str
) -> None:
    frame = pd.DataFrame(rows, columns=NAMES)
    given = {
        "array": rows,
        "frame": frame,
        "shuffled": frame[NAMES[::-1]],
        "list": rows.tolist(),
        "records": frame.to_dict("records"),
        "columns": frame.to_dict("list"),
        "float32": rows.astype(np.float32),
        "fortran": np.asfortranarray(rows),
    }[form]
    found = onnx_forest.predict(given)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, forest.predict(rows))


def test_one_row_in_every_form(forest: RandomForestClassifier, onnx_forest: ONNXModel) -> None:
    row = FEATURES[0]
    frame = pd.DataFrame([row], columns=NAMES)
    expected = forest.predict([row])
    named = dict(zip(NAMES, row, strict=True))
    forms: list[Any] = [row, row.tolist(), [row.tolist()], frame, frame.iloc[0], frame.astype(object)]
    forms += [named, {**named, "extra": 1}]
    for form in forms:
        np.testing.assert_array_equal(onnx_forest.predict(form), expected)
    assert onnx_forest.feature_names == NAMES


def test_wrong_input_is_a_clear_error(onnx_forest: ONNXModel) -> None:
    wrong: list[Any] = [np.zeros((2, 4)), np.zeros(4), np.zeros((1, 1, 3)), [["a", "b", "c"]], [[1, 2], [3]]]
    reasons = r"array of shape|takes float32|inhomogeneous|concatenate"
    for data in (*wrong, None, {}):
        with pytest.raises(ValueError, match=reasons):
            onnx_forest.predict(data)
    with pytest.raises(ValueError, match="huggingface"):
        onnx_forest.predict(FEATURES, "sentiment")
    with pytest.raises(ValueError, match="dict of arrays"):
        onnx_forest.predict(FEATURES, "huggingface")


def test_missing_values_become_nan() -> None:
    model = ONNXModel.from_bytes(graph_of(StandardScaler().fit(FEATURES), names=NAMES))
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [None, 2.0], "c d, e": [1, 2]})
    np.testing.assert_array_equal(
        np.isnan(model.transform(frame)), [[False, True, False], [True, False, False]]
    )


def test_a_single_feature_takes_a_flat_list() -> None:
    line = LinearRegression().fit([[1.0], [2.0]], [2.0, 4.0])
    model = ONNXModel.from_bytes(graph_of(line))
    np.testing.assert_allclose(model.predict([1.0, 3.0]).ravel(), [2.0, 6.0], rtol=1e-6)


def test_a_series_is_a_row_or_the_only_column() -> None:
    texts = pd.Series(["good food", "bad food", "good", "bad"], index=[3, 7, 9, 11])
    words = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    model = ONNXModel.from_bytes(graph_of(words))
    for form in (texts, texts.to_frame(), texts.tolist(), texts.to_numpy()):
        np.testing.assert_array_equal(model.predict(form), [1, 0, 1, 0])
    line = LinearRegression().fit(pd.DataFrame({"a": [1.0, 2.0]}), [2.0, 4.0])
    model = ONNXModel.from_bytes(graph_of(line))
    np.testing.assert_allclose(model.predict(pd.Series([1.0, 3.0])).ravel(), [2.0, 6.0], rtol=1e-6)
    row = pd.Series({"b": 7.0, "a": 3.0})
    np.testing.assert_allclose(model.predict(row).ravel(), [6.0], rtol=1e-6)


@pytest.mark.row("M077")
def test_one_column_of_many_is_found_in_every_form() -> None:
    frame = pd.DataFrame(
        {"contract": ["year", "month"] * 50, "plan": ["a"] * 100, "charges": FEATURES[:100, 0]}
    )
    encode = ColumnTransformer([("e", OneHotEncoder(handle_unknown="ignore"), ["contract"])])
    target = frame.contract == "year"
    pipeline = make_pipeline(encode, LogisticRegression()).fit(frame, target.astype(int))
    model = ONNXModel.from_bytes(
        graph_of(pipeline, names=list(frame), types={"contract": "text", "plan": "text", "charges": "float"})
    )
    assert model.input_names == ["contract"]
    assert model.feature_names == list(frame)
    expected = pipeline.predict(frame)
    forms: list[Any] = [frame, frame[frame.columns[::-1]], frame[["contract"]], frame.to_numpy()]
    forms += [frame.to_numpy().tolist(), frame.to_dict("records"), frame.to_dict("list")]
    for form in forms:
        np.testing.assert_array_equal(model.predict(form), expected)
    for one in (frame.iloc[0], frame.iloc[0].to_dict(), frame.iloc[0].tolist()):
        np.testing.assert_array_equal(model.predict(one), expected[:1])


@pytest.mark.row("M006")
def test_mixed_columns_have_one_input_each() -> None:
    frame = pd.DataFrame({"contract": ["year", "month"] * 100, "charges": FEATURES[:, 0] * 10})
    target = ((frame.contract == "year") & (frame.charges > 0)).map({True: "stay", False: "go"})
    encode = ColumnTransformer(
        [("e", OneHotEncoder(handle_unknown="ignore"), ["contract"])], remainder="passthrough"
    )
    pipeline = make_pipeline(encode, RandomForestClassifier(5, random_state=0)).fit(frame, target)
    model = ONNXModel.from_bytes(
        graph_of(pipeline, names=list(frame.columns), types={"contract": "text", "charges": "float"})
    )
    assert model.input_names == ["contract", "charges"]
    expected = pipeline.predict(frame)
    forms: list[Any] = [frame, frame[["charges", "contract"]], frame.to_numpy(), frame.to_numpy().tolist()]
    forms += [frame.to_dict("records"), frame.to_dict("list"), frame.set_axis(["x", "y"], axis=1)]
    for form in forms:
        np.testing.assert_array_equal(model.predict(form), expected)
    np.testing.assert_array_equal(model.predict(frame.iloc[0]), expected[:1])
    np.testing.assert_array_equal(model.predict({"contract": "year", "charges": 3}), ["stay"])
    np.testing.assert_array_equal(model.predict(["year", 3]), ["stay"])
    for wrong in ({"contract": "year"}, [1, 2, 3], [{"contract": "year"}]):
        with pytest.raises(ValueError, match=r"charges|2 columns"):
            model.predict(wrong)
    # the types are found in the encoder when the experiment does not know them
    again = ONNXModel.from_bytes(graph_of(pipeline))
    np.testing.assert_array_equal(again.predict(frame), expected)


def test_huggingface_takes_a_dict_and_gives_all_outputs(tmp_path: Path) -> None:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "length"])
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "length"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length"])
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("Cast", ["kept"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", [ids, mask], [logits])
    model_proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model_proto, str(tmp_path / "trained_model"))
    model = ONNXModel(tmp_path / "trained_model")
    encoded = {
        "input_ids": [[1, 2]],
        "attention_mask": np.array([[1, 0]], dtype=np.int32),
        "token_type_ids": [[0, 0]],
    }
    found = model.predict(encoded, "huggingface")
    assert isinstance(found, list)
    np.testing.assert_array_equal(found[0][0], [1.0, 0.0])
    with pytest.raises(ValueError, match="attention_mask is missing"):
        model.predict({"input_ids": [[1]]}, "huggingface")


@pytest.mark.row("M075")
def test_home_paths_and_bad_files(
    tmp_path: Path, monkeypatch: Any, onnx_forest: ONNXModel, forest: Any
) -> None:
    if Path("/home/jovyan").is_dir():
        pytest.skip("this machine has /home/jovyan")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "trained_model").write_bytes(graph_of(forest))
    np.testing.assert_array_equal(
        ONNXModel("/home/jovyan/trained_model").predict(FEATURES), onnx_forest.predict(FEATURES)
    )
    assert "float32[None, 3]" in repr(ONNXModel("~/trained_model"))
    with pytest.raises(FileNotFoundError, match="no model file"):
        ONNXModel("/home/jovyan/other")
    (tmp_path / "broken").write_bytes(b"not a graph")
    with pytest.raises(ValueError, match="not an ONNX model"):
        ONNXModel(tmp_path / "broken")


def test_threads_come_from_the_environment(monkeypatch: Any, forest: Any) -> None:
    monkeypatch.setenv("A360_THREADS", "1")
    model = ONNXModel.from_bytes(graph_of(forest))
    assert model._session.get_session_options().intra_op_num_threads == 1
    monkeypatch.setenv("A360_THREADS", "many")
    with pytest.raises(ValueError, match="A360_THREADS"):
        ONNXModel.from_bytes(graph_of(forest))


@pytest.mark.row("M002", "M017", "F359")
def test_the_runtime_needs_numpy_and_onnxruntime_only(tmp_path: Path, forest: Any) -> None:
    (tmp_path / "m").write_bytes(graph_of(forest))
    code = (
        "import sys\n"
        "REFUSED = {'pandas', 'sklearn', 'pyarrow', 'requests', 'onnx', 'skl2onnx', 'tqdm', 'torch'}\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in REFUSED:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "from a360runtime import ONNXModel\n"
        f"print(ONNXModel({str(tmp_path / 'm')!r}).predict([[0.0, 1.0, 2.0]])[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
