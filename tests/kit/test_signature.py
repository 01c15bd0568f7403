"""Signatures, baselines and logged values, without a service."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a360mdk import baseline, notebooks, signature, values
from a360mdk.exceptions import ExperimentError, RunError
from a360runtime.paths import resolve


@pytest.mark.row("M051")
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *((kind, "big_integer") for kind in ("int64", "int32", "Int64", "category")),
        *((kind, "small_integer") for kind in ("uint8", "int16", "bool", "boolean")),
        *((kind, "float") for kind in ("float64", "float32", "Float64")),
        *((kind, "text") for kind in ("object", "string")),
        ("datetime64[ns]", "timestamp"),
    ],
)
def test_types_of_columns(dtype: str, expected: str) -> None:
    series = pd.Series([0, 1, 1], name="Churn").astype(dtype)  # type: ignore[call-overload]
    assert signature.infer(series) == f"Churn {expected}"
    assert signature.infer(series.to_frame()) == f"Churn {expected}"


def test_texts_are_text_in_every_form() -> None:
    assert signature.infer(pd.DataFrame({"a": ["x"], "b": pd.Categorical(["y"])})) == "a text, b text"
    assert signature.infer(pd.Series([1])) == "target big_integer"


@pytest.mark.row("M052")
def test_arrays() -> None:
    assert signature.infer(np.zeros((150, 26))) == "ndarray: float64 (26,)"
    assert signature.infer(np.zeros((10, 3, 32, 32), dtype=np.float32)) == "ndarray: float32 (3, 32, 32)"
    assert signature.infer(np.zeros(10, dtype=np.int64)) == "ndarray: int64 ()"
    assert signature.infer([[1, 2], [3, 4]]) == "ndarray: int64 (2,)"
    assert signature.train_shape(np.zeros((5, 26))) == [26]
    assert signature.train_shape(pd.DataFrame(np.zeros((5, 2)))) == [2]


@pytest.mark.row("M053")
def test_tensors_by_name() -> None:
    inputs = {
        "input_ids": np.zeros((4, 128), dtype=np.int64),
        "pixels": np.zeros((4, 3, 8, 8), dtype=np.float32),
    }
    assert signature.infer(inputs) == "tensor: input_ids int64 (128,), pixels float32 (3, 8, 8)"
    assert signature.train_shape(inputs) == [128]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=6, unique=True
    ),
    st.data(),
)
def test_a_table_signature_can_be_read_back(names: list[str], data: Any) -> None:
    kinds = data.draw(st.lists(st.sampled_from(signature.TYPES), min_size=len(names), max_size=len(names)))
    text = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
    found = signature.column_types(text, names)
    assert found == dict(zip(names, kinds, strict=True))
    assert signature.column_types("ndarray: float64 (26,)", names) == {}


@pytest.mark.row("M067", "M123", "M124")
def test_baselines_keep_order_and_hold_only_json() -> None:
    frame = pd.DataFrame(
        {
            "z": [1.0, 2.0, np.nan],
            "a": [True, False, True],
            "t": ["x", "y", "x"],
            "n": [np.nan] * 3,
            "o": [1, 2, None],
        }
    )
    frame["o"] = frame["o"].astype(object)
    found = baseline.of_features(frame, list(frame.columns), "mean")
    assert list(found) == ["z", "a", "t", "n", "o"]
    assert found["z"] == {
        "mean": 1.5, "std": 0.5, "bins": [1.0, 1.5, 2.0], "frequencies": [0.5, 0.5], "missing": 0.333333,
    }  # fmt: skip
    assert (found["a"]["mean"], found["a"]["frequencies"]) == (pytest.approx(2 / 3), [0.333333, 0.666667])
    assert found["t"] == {"mean": None, "std": None, "categories": {"x": 0.666667, "y": 0.333333}}
    assert found["n"] == {"mean": None, "std": None, "missing": 1.0}
    assert (found["o"]["mean"], found["o"]["std"]) == (1.5, 0.5)
    json.dumps(found, allow_nan=False)
    found = baseline.of_target(pd.Series([1, 4, 1], name="y"), "median")
    assert list(found) == ["y"]
    assert list(found["y"].items())[:3] == [("median", 1.0), ("std", pytest.approx(2**0.5)), ("mean", 2.0)]
    found = baseline.of_target(np.array([[1.0], [3.0]]), "mean")
    assert (list(found), found["target"]["mean"], found["target"]["std"]) == (["target"], 2.0, 1.0)
    assert list(baseline.of_target(pd.DataFrame({"a": [1], "b": [2]}), "mean")) == ["a", "b"]
    assert list(baseline.of_target(np.zeros((3, 2)), "mean")) == ["target_0", "target_1"]
    with pytest.raises(ExperimentError, match="table of features"):
        baseline.of_features(np.zeros((2, 3, 4)), ["a"], "mean")
    with pytest.raises(ExperimentError, match="twice"):
        baseline.feature_names_of(np.zeros((2, 2)), ["a", "a"], monitored=True)
    with pytest.raises(ExperimentError, match="two columns of one name"):
        baseline.feature_names_of(pd.DataFrame([[1, 2]], columns=["a", "a"]), None, monitored=True)


def psi(entry: dict[str, Any], values: Any) -> float:
    """The population stability index of values against a baseline's distribution, as monitoring will."""
    edges = np.array(entry["bins"])
    places = np.searchsorted(edges[1:-1], values, side="right")
    counts = np.bincount(places, minlength=len(entry["frequencies"]))
    now, then = counts / counts.sum() + 1e-6, np.array(entry["frequencies"]) + 1e-6
    return float(((now - then) * np.log(now / then)).sum())


@pytest.mark.row("C21", "M123")
def test_distributions_tell_the_same_data_from_other_data() -> None:
    random = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "normal": random.normal(10, 2, 5000),
            "zeros": np.where(random.random(5000) < 0.95, 0, random.exponential(1, 5000)),
            "binary": random.integers(0, 2, 5000),
            "constant": [7] * 5000,
            "endless": [np.inf] * 2 + [1.0] * 2499 + [3.0] * 2499,
        }
    )
    found = baseline.of_features(table, list(table), "mean")
    for name, entry in found.items():
        assert len(entry["bins"]) == len(entry["frequencies"]) + 1, name
        assert sum(entry["frequencies"]) == pytest.approx(1, abs=1e-4)
        assert entry["bins"] == sorted(entry["bins"])
    assert len(found["normal"]["frequencies"]) == 10
    assert found["normal"]["frequencies"] == pytest.approx([0.1] * 10, abs=0.001)
    assert psi(found["normal"], random.normal(10, 2, 5000)) < 0.02
    assert psi(found["normal"], random.normal(13, 2, 5000)) > 0.5
    assert psi(found["binary"], (random.random(5000) < 0.9).astype(int)) > 0.5
    assert psi(found["zeros"], np.zeros(5000)) < 0.1
    assert found["binary"]["bins"] == [0.0, 0.5, 1.0]
    assert (found["constant"]["bins"], found["constant"]["frequencies"]) == ([7.0, 7.0], [1.0])
    assert (found["endless"]["mean"], found["endless"]["bins"]) == (None, [1.0, 2.0, 3.0])


def test_texts_become_categories_and_no_more_than_the_platform_takes() -> None:
    words = [f"w{n % 150}" for n in range(300)]
    frame = pd.DataFrame(
        {"w": words, "zip": ["01234", "99999", None] * 100, "long": ["x" * 999, "y", "y"] * 100}
    )
    frame["kind"] = pd.Categorical([1, 2, 2] * 100)
    frame["when"] = pd.Timestamp("2026-01-01")
    found = baseline.of_features(frame, list(frame), "mean")
    assert len(found["w"]["categories"]) == 100
    assert found["w"]["other"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["zip"]["categories"] == {"01234": 0.5, "99999": 0.5}
    assert found["zip"]["missing"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["long"] == {
        "mean": None, "std": None, "categories": {"y": 0.666667}, "other": 0.333333,
    }  # fmt: skip
    assert found["kind"]["categories"] == {"2": 0.666667, "1": 0.333333}
    assert found["when"]["categories"] == {"2026-01-01": 1.0}
    wide = np.random.default_rng(0).normal(size=(20, 4000))
    many = baseline.of_features(wide, [f"feature_{n}" for n in range(4000)], "mean")
    assert len(many) == 4000
    assert len(json.dumps(many)) < 1_000_000
    assert set(many["feature_7"]) == {"mean", "std"}


@pytest.mark.row("M087")
@pytest.mark.parametrize(
    ("features", "names"),
    [
        ([[1, 4.0], [3, 5.0]], ["a", "b"]),
        (np.array([[1, 4.0], [3, 5.0]]), ["a", "b"]),
        (pd.DataFrame({"a": [1, 3], "b": [4.0, 5.0]}), None),
        ({"a": [1, 3], "b": np.array([4.0, 5.0])}, None),
        ([{"a": 1, "b": 4.0}, {"a": 3, "b": 5.0}], None),
    ],
)
def test_features_come_in_many_forms(features: Any, names: list[str] | None) -> None:
    assert baseline.feature_names_of(features, names, monitored=True) == ["a", "b"]
    found = baseline.of_features(features, ["a", "b"], "mean")
    assert {name: entry["mean"] for name, entry in found.items()} == {"a": 2.0, "b": 4.5}
    one = baseline.of_features([1, 2, 3], baseline.feature_names_of([1, 2, 3], ["a"], monitored=True), "mean")
    assert one["a"]["mean"] == 2.0
    assert baseline.feature_names_of(pd.Series([1], name="s"), None, monitored=True) == ["s"]
    with pytest.raises(ExperimentError, match="3 names for 2 columns"):
        baseline.feature_names_of([[1, 2]], ["a", "b", "c"], monitored=True)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.sampled_from([np.int8(3), np.float32(2)]),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_anything_logged_is_json(value: Any) -> None:
    json.dumps(values.plain(value), allow_nan=False)


def test_objects_are_logged_as_text() -> None:
    class Kernel:
        def __str__(self) -> str:
            return "rbf"

    found = values.logged("hyperparameters", {"kernel": Kernel(), 1: {2, 1}, "none": None}, RunError)
    assert found == {"kernel": "rbf", "1": [1, 2], "none": None}


def test_paths_of_notebooks(tmp_path: Path, monkeypatch: Any) -> None:
    if Path("/home/jovyan").is_dir():
        pytest.skip("this machine has /home/jovyan")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("/home/jovyan/a/b.csv") == tmp_path / "a" / "b.csv"
    assert resolve("/home/jovyan") == tmp_path
    assert resolve("/home/jovyanne/x") == Path("/home/jovyanne/x")
    assert resolve("x/y") == Path("x/y")
    assert resolve("~/x") == tmp_path / "x"
    work = tmp_path / "work"
    work.mkdir()
    (work / "eda.ipynb").write_text("{}")
    monkeypatch.chdir("/")
    assert notebooks.locate("eda.ipynb") is None
    monkeypatch.setenv("JPY_SESSION_NAME", str(work / "train.ipynb"))
    assert notebooks.locate("eda.ipynb") == work / "eda.ipynb"
    assert notebooks.current_notebook() is None  # not saved yet
    (work / "train.ipynb").write_text("{}")
    assert notebooks.current_notebook() == work / "train.ipynb"


def test_signatures_of_arrays_can_be_read_back() -> None:
    inputs = {
        "input_ids": np.zeros((4, 128), dtype="int64"),
        "two words": np.zeros((4, 3, 8), dtype="float32"),
    }
    assert signature.tensors(signature.infer(inputs)) == {
        "input_ids": ("int64", (128,)),
        "two words": ("float32", (3, 8)),
    }
    assert signature.tensors(signature.infer(np.zeros((5, 26)))) == {"": ("float64", (26,))}
    assert signature.tensors(signature.infer(np.zeros(5))) == {"": ("float64", ())}
    assert signature.tensors("tensor: input float32 (3,)") == {"": ("float32", (3,))}
    for other in ("gender big_integer, a (b) text", "unknown", "", None):
        assert signature.tensors(other) == {}
