"""Values far from the training data are counted and logged, feature by feature, at an endpoint itself."""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a360mdk import baseline
from a360runtime.serving.outliers import Outliers
from tests.support.wrappers import WRAPPERS, client_for

TABLE = pd.DataFrame(
    {
        "age": np.linspace(20, 60, 101),  # mean 40, deviation 11.66: 5.02 to 74.98
        "plan": ["a", "b"] * 50 + ["a"],
        "paid": [True] * 101,
    }
)
BASELINE = baseline.of_features(TABLE, list(TABLE), "mean")
NORMAL = {"age": 41, "plan": "a", "paid": True}
FAR = {"age": 90.5, "plan": "zebra", "paid": False}


@pytest.mark.row("M083", "C21")
@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (NORMAL, {}),
        (FAR, {"age": 1, "paid": 1}),
        ({"age": 74.9}, {}),
        ({"age": 75.0}, {"age": 1}),
        ({"age": 5.1}, {}),
        ({"age": 5.0}, {"age": 1}),
        ([90, "a", 1], {"age": 1}),
        ([[90, "a", 1], [41, "b", 1], [2, "b", 0]], {"age": 2, "paid": 1}),
        ([NORMAL, FAR, FAR], {"age": 2, "paid": 2}),
        ({"rows": [FAR], "client": "x"}, {"age": 1, "paid": 1}),
        ({"age": [41, 90, 91], "plan": ["a", "b", "c"]}, {"age": 2}),
        (json.loads(pd.DataFrame([FAR, NORMAL]).to_json()), {"age": 1, "paid": 1}),
        (json.loads(pd.DataFrame([FAR, NORMAL]).to_json(orient="split")), {"age": 1, "paid": 1}),
        (json.loads(pd.DataFrame([FAR]).iloc[0].to_json()), {"age": 1, "paid": 1}),
        ({"age": "90"}, {"age": 1}),
        ({"age": 10**400}, {"age": 1}),
        ({"age": None}, {}),
        ({"age": "unknown"}, {}),
        ([1, 2], {}),
        ({"shoe_size": 900}, {}),
        ("text", {}),
        (7, {}),
        (None, {}),
    ],
)
def test_the_three_sigma_rule_on_every_form_of_a_body(body: Any, counted: dict[str, int]) -> None:
    outliers = Outliers(BASELINE)
    assert outliers.look(json.loads(json.dumps(body))) == counted
    assert outliers.counts() == {"age": 0, "paid": 0, **counted}


@pytest.mark.row("M083", "M124")
def test_outliers_are_counted_from_the_mean_whatever_is_expected() -> None:
    skewed = pd.DataFrame({"income": [1.0] * 90 + [1000.0] * 10})  # median 1, mean 100.9, deviation 299.7
    outliers = Outliers(baseline.of_features(skewed, ["income"], "median"))
    assert outliers.look([{"income": 990}, {"income": 1010}, [1010], {"income": -790}]) == {"income": 2}


@pytest.mark.parametrize(
    "entries", [None, {}, [], {"a": None}, {"a": {"mean": None, "std": None}}, {"a": {"std": 1}}]
)
def test_without_a_mean_and_a_deviation_nothing_is_counted(entries: Any) -> None:
    outliers = Outliers(entries)
    assert (outliers.look({"a": 1e9}), outliers.counts(), outliers.values()) == ({}, {}, 0)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["age", "paid", "columns", "data", "x"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_no_body_is_too_odd(body: Any) -> None:
    outliers = Outliers(BASELINE)
    found = outliers.look(body)
    assert set(found) <= {"age", "paid"}
    assert sum(found.values()) <= outliers.values()


def test_threads_lose_no_count() -> None:
    outliers = Outliers(BASELINE)
    threads = [threading.Thread(target=lambda: [outliers.look(FAR) for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outliers.counts() == {"age": 1600, "paid": 1600}


@pytest.mark.row("M082", "M083")
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_endpoint_logs_features_once_a_call_and_never_what_they_held(
    wrapper: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "a360.serving")

    def predict(artifacts: list[Any], payload: str) -> int:
        return int(json.loads(payload)[0]["age"] / 0 if "fail" in payload else 1)

    client = client_for(wrapper, tmp_path, predict, artifacts=[None, None, BASELINE])
    assert client.post(json.dumps([FAR, FAR, NORMAL])).status_code == 200
    assert client.post(json.dumps([NORMAL])).status_code == 200
    assert client.post(json.dumps([{**FAR, "fail": 1}])).status_code == 500
    assert client.post(json.dumps([FAR]), key="wrong").status_code == 401
    lines = [record.getMessage() for record in caplog.records if record.name == "a360.serving"]
    assert [line for line in lines if line.startswith("outliers")] == [
        'outliers {"age": 2, "paid": 2}',
        'outliers {"age": 1, "paid": 1}',
    ]
    # How often it is called, how long that takes and how it ends is on record without any baseline.
    access = client.access_lines()
    assert [line.split("status=")[1].split()[0] for line in access] == ["200", "200", "500", "401"]
    assert all("time=" in line and "seconds=" in line for line in access)
    assert "90.5" not in caplog.text
    assert "zebra" not in caplog.text
    assert client.endpoint.predictor.outliers.counts() == {"age": 3, "paid": 3}
