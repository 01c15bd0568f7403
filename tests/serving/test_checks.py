"""What does not fit a model's signature is named by its field; what callers send in the wild passes."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from a360mdk import signature
from a360runtime.serving.checks import ENFORCE, EXPLAIN, OFF, InputCheck, fields_of, mode_of

TABLE = pd.DataFrame(
    {
        "age": [41, 20],
        "flag": np.array([1, 0], dtype=np.int8),
        "paid": [2.5, 1.0],
        "plan": ["a", "b"],
        "since": pd.to_datetime(["2026-01-01", "2026-01-02"]),
    }
)
MANIFEST = {"input_signature": signature.infer(TABLE), "feature_names": list(TABLE)}
ROW = {"age": 41, "flag": 1, "paid": 2.5, "plan": "a", "since": "2026-01-01"}
CHECK = InputCheck.of(MANIFEST)
ARRAY = {"input_signature": "ndarray: float64 (3,)", "feature_names": ["a", "b", "c"]}


@pytest.mark.row("F330")
@pytest.mark.parametrize(
    "body",
    [
        json.loads(TABLE.iloc[0].to_json()),
        json.loads(TABLE.to_json(date_format="iso")),
        json.loads(TABLE.to_json(orient="records", date_format="iso")),
        json.loads(TABLE.to_json(orient="split", date_format="iso")),
        json.loads(TABLE.to_json(orient="values", date_format="iso")),
        {name: column.tolist() if name != "since" else ["x", "y"] for name, column in TABLE.items()},
        ROW,
        ROW | {"customer": [1, {}]},
        ROW | {"age": 41.0, "flag": True},
        ROW | {"age": "41", "paid": "2.5"},
        ROW | {"paid": None, "plan": None},
        ROW | {"plan": 7},
        ROW | {"paid": 3},
        list(ROW.values()),
        [list(ROW.values())] * 2,
        [ROW, ROW],
    ],
)
def test_what_fits(body: Any) -> None:
    assert CHECK is not None
    assert CHECK.errors(body) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "age is missing; it takes a whole number"),
        ({"customer": 7}, "age is missing; it takes a whole number"),
        (ROW | {"age": 41.5}, "age takes a whole number, got one with a fraction"),
        (ROW | {"age": None}, "age takes a whole number, got null"),
        (ROW | {"age": 2**64}, "age is out of range"),
        (ROW | {"flag": 70_000}, "flag is out of range"),
        (ROW | {"age": 10**400}, "age is out of range"),
        (ROW | {"paid": "much"}, "paid takes a number, got text"),
        (ROW | {"paid": "nan"}, "paid takes a number, got text"),
        (ROW | {"paid": {"a": 1}}, "age takes a column as the others are, got a number"),
        (ROW | {"since": True}, "since takes a time, got true or false"),
        ([41, 1], "paid is missing; it takes a number"),
        ([*ROW.values(), 1], "since is the last field, but there are 6 values for 5 fields"),
        ([ROW, ROW | {"paid": "much"}], "paid (row 2) takes a number, got text"),
        ([ROW, 7], "age (row 2) is missing: the row is a number"),
        ({"columns": ["age"], "data": [[1]]}, "flag (row 1) is missing; it takes a whole number"),
        ({name: [value] for name, value in (ROW | {"age": "old"}).items()}, "age (row 1) takes"),
        ("text", "age is missing: the body is no row"),
        (7, "age is missing: the body is no row"),
        (None, "age is missing: the body is no row"),
    ],
)
def test_what_does_not_fit_is_named(body: Any, told: str) -> None:
    assert CHECK is not None
    assert str(CHECK.errors(json.loads(json.dumps(body)))[0]).startswith(told)


def test_errors_are_not_without_end() -> None:
    assert CHECK is not None
    assert len(CHECK.errors([{}] * 1000)) == 20


@pytest.mark.parametrize(
    ("manifest", "fields"),
    [
        (MANIFEST, ["big_integer", "small_integer", "float", "text", "timestamp"]),
        (ARRAY, ["float"] * 3),
        (ARRAY | {"input_signature": "ndarray: int64 (3,)"}, ["big_integer"] * 3),
        (ARRAY | {"input_signature": "tensor: input float32 (3,)"}, ["float"] * 3),
        (ARRAY | {"input_signature": "ndarray: <U3 (3,)"}, ["text"] * 3),
        (ARRAY | {"input_signature": "ndarray: object (3,)"}, ["text"] * 3),
        (ARRAY | {"input_signature": "ndarray: float32 (3, 4)"}, []),
        (ARRAY | {"input_signature": "tensor: ids int64 (3,), mask int64 (3,)"}, []),
        (ARRAY | {"input_signature": "unknown"}, []),
        ({}, []),
    ],
)
def test_the_fields_of_each_form_of_a_signature(manifest: dict[str, Any], fields: list[str]) -> None:
    assert list(fields_of(manifest).values()) == fields
    assert (InputCheck.of(manifest) is None) == (not fields)


@pytest.mark.row("F297")
@pytest.mark.parametrize(
    ("manifest", "is_json", "example", "mode"),
    [
        (MANIFEST, True, json.dumps(ROW), ENFORCE),
        (ARRAY, True, "[[1, 2, 3]]", ENFORCE),
        (MANIFEST, True, "", EXPLAIN),
        (MANIFEST, True, '{"customer": 7}', OFF),
        (MANIFEST, True, "{", OFF),
        (MANIFEST, False, json.dumps(ROW), OFF),
        ({}, True, json.dumps(ROW), OFF),
    ],
)
def test_the_validation_input_tells_whether_the_signature_is_enforced(
    manifest: dict[str, Any], is_json: bool, example: str, mode: str
) -> None:
    found, reason = mode_of(manifest, is_json, example)
    assert found == mode
    assert reason.startswith("Input is ")
