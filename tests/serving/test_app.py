"""The answers of a served model, the same from every REST wrapper, with functions in place of a script."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from a360runtime.serving import endpoint as endpoints
from a360runtime.serving import keys as key_ring
from tests.support.endpoints import KEY, key_record
from tests.support.wrappers import SLUG, WRAPPERS, client_for, write_keys


@pytest.fixture(autouse=True)
def look_at_the_keys_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests change the file within milliseconds."""
    monkeypatch.setattr(key_ring, "MISS_SECONDS", 0.0)


@pytest.fixture(params=WRAPPERS)
def wrapper(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.row("F295", "F296", "F330")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ("yes", '"yes"'),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (np.array(2.5), "2.5"),
        ([1, 2], "[1, 2]"),
        (np.array([[0.25, 0.75]]), "[[0.25, 0.75]]"),
        ({"label": 1, 2: np.float64(0.5)}, '{"label": 1, "2": 0.5}'),
        (float("nan"), "null"),
        ([float("inf"), np.nan, 1.0], "[null, null, 1.0]"),
        (pd.Series([1, 2]), "[1, 2]"),
        (pd.DataFrame({"a": [1], "b": ["x"]}), '[{"a": 1, "b": "x"}]'),
        ("Grüße", '"Grüße"'),
    ],
)
def test_answers_are_json_with_the_prediction_last(
    wrapper: str, tmp_path: Path, value: Any, text: str
) -> None:
    answer = client_for(wrapper, tmp_path, lambda artifacts, payload: value).post()
    assert answer.status_code == 200
    assert answer.text == f'{{"prediction": {text}}}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.row("F330")
@pytest.mark.parametrize("value", [1.0, 0, -3.5, "no", np.float32(2)])
def test_callers_who_take_what_follows_the_last_colon_get_the_value(
    wrapper: str, tmp_path: Path, value: Any
) -> None:
    text = client_for(wrapper, tmp_path, lambda artifacts, payload: value).post().text
    assert json.loads(text.split(":")[-1].split("}")[0]) == value


def test_the_script_gets_the_body_as_it_came(wrapper: str, tmp_path: Path) -> None:
    seen = []
    body = '{"b": 1,  "a": "ä"}'
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: seen.append(payload))
    client.post(body)
    client.request("POST", "/", body.encode(), KEY, parts=3, announced=False)
    assert seen == [body, body]


@pytest.mark.parametrize("path", ["/", f"/{SLUG}/", f"/{SLUG}"])
def test_the_endpoint_answers_by_its_name_and_at_the_root(wrapper: str, tmp_path: Path, path: str) -> None:
    assert client_for(wrapper, tmp_path, lambda artifacts, payload: 1).post(path=path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/other/path/", 404),
        ("GET", "/other/path/", 404),
        ("GET", f"/{SLUG}/metrics", 404),
        ("GET", "/", 405),
        ("PUT", f"/{SLUG}/", 405),
        ("POST", "/healthz", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_other_paths_and_methods_are_refused_as_problems(
    wrapper: str, tmp_path: Path, method: str, path: str, status: int
) -> None:
    answer = client_for(wrapper, tmp_path, lambda artifacts, payload: 1).request(method, path, b"{}", KEY)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.row("F314", "F355")
@pytest.mark.parametrize("key", ["", "wrong", "a360_test-ke", "ключ".encode().decode("latin-1"), None])
def test_a_wrong_key_is_refused_before_the_script_runs(wrapper: str, tmp_path: Path, key: str | None) -> None:
    ran = []
    answer = client_for(wrapper, tmp_path, lambda artifacts, payload: ran.append(1)).post(key=key)
    assert answer.status_code == 401
    assert not ran


def test_no_keys_file_opens_nothing(wrapper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1)
    (tmp_path / "keys.json").unlink()
    monkeypatch.setattr(key_ring, "LOOK_SECONDS", 0.0)
    assert client.post().status_code == 401


def test_keys_are_rotated_with_an_overlap_while_the_server_runs(
    wrapper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1)
    keys = tmp_path / "keys.json"
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    assert client.post().status_code == 200
    write_keys(keys, key_record(KEY, soon), key_record("a360_new"))
    assert client.post().status_code == client.post(key="a360_new").status_code == 200
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    write_keys(keys, key_record(KEY, past), key_record("a360_new"))
    monkeypatch.setattr(key_ring, "LOOK_SECONDS", 0.0)  # a key is let go after a moment; let it be over
    assert client.post().status_code == 401
    assert client.post(key="a360_new").status_code == 200


def test_a_broken_keys_file_changes_nothing(
    wrapper: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1)
    assert client.post().status_code == 200
    (tmp_path / "keys.json").write_text("[{")
    assert client.post(key="wrong").status_code == 401
    assert client.post().status_code == 200
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"{", "line 1, column 2"),
        (b"{} {}", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_bad_body_is_refused_with_a_reason(wrapper: str, tmp_path: Path, body: bytes, reason: str) -> None:
    answer = client_for(wrapper, tmp_path, lambda artifacts, payload: 1).post(body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert reason in answer.json()["detail"]


def test_a_body_nested_too_deeply_is_refused(wrapper: str, tmp_path: Path) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1)
    assert client.post("[" * 200_000).status_code == 400


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_refused(wrapper: str, tmp_path: Path, announced: bool) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1, max_body=1000)
    body = json.dumps("x" * 1000).encode()
    answer = client.request("POST", "/", body, KEY, parts=4, announced=announced)
    assert (answer.status_code, answer.json()["detail"]) == (413, "The body is larger than 1000 bytes.")


def test_other_input_formats_need_no_json(wrapper: str, tmp_path: Path) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: payload.upper(), input_format="Text")
    assert client.post("abc").json() == {"prediction": "ABC"}


def raise_value_error(artifacts: list[Any], payload: str) -> None:
    raise ValueError("column tenure is missing")


def leave(artifacts: list[Any], payload: str) -> None:
    raise SystemExit(3)


def loop(artifacts: list[Any], payload: str) -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("script", [raise_value_error, leave, loop, lambda artifacts, payload: object()])
def test_a_failing_script_is_a_500_whose_id_is_in_the_log(
    wrapper: str, tmp_path: Path, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client_for(wrapper, tmp_path, script).post()
    problem = answer.json()
    assert answer.status_code == 500
    assert f"incident={problem['id']}" in caplog.text
    assert "tenure" not in answer.text


def test_each_call_leaves_one_line_without_its_payload(
    wrapper: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1)
    client.post('{"name": "Alice"}')
    client.get("/healthz")
    (line,) = client.access_lines()
    assert re.fullmatch(
        r"access time=20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z status=200 seconds=0\.\d{6}", line
    )
    assert "Alice" not in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(wrapper: str, tmp_path: Path, path: str) -> None:
    assert client_for(wrapper, tmp_path, lambda artifacts, payload: 1).get(path).status_code == 200


def test_a_replica_that_stops_says_so_and_closes_connections(wrapper: str, tmp_path: Path) -> None:
    client = client_for(wrapper, tmp_path, lambda artifacts, payload: 1)
    assert "connection" not in client.post().headers
    client.endpoint.stop.set()
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200
    answer = client.post()
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert client.endpoint.stop.calls_seen() == 1


@pytest.mark.row("F348")
def test_metrics_count_calls_and_hold_no_payload(wrapper: str, tmp_path: Path) -> None:
    artifacts = [None, None, {"age": {"mean": 40.0, "std": 10.0}}]
    client = client_for(wrapper, tmp_path, lambda *_: 1, artifacts=artifacts, model_name='the "best"')
    for body in ('{"age": 41.5}', '{"age": 77.5}', "{"):
        client.post(body)
    client.post(key="wrong")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert [found["a360_requests_total", status] for status in ("200", "400", "401")] == [2, 1, 1]
    assert found["a360_request_seconds_bucket", "+Inf"] == found["a360_request_seconds_count",] == 4
    assert 0 < found["a360_request_seconds_sum",] < 4
    assert found["a360_requests_in_flight",] == 0
    assert found["a360_outliers_total", "age"] == 1
    assert found["a360_values_total",] == 2
    assert [key[3] for key in found if key[0] == "a360_build_info"] == ['the "best"']
    used = [value for key, value in found.items() if key[0] == "a360_key_last_used_timestamp_seconds"]
    assert used == [pytest.approx(time.time(), abs=60)]
    assert KEY not in answer.text
    assert "77.5" not in answer.text


SIGNATURE: dict[str, Any] = {
    "input_signature": "age big_integer, plan text, paid float",
    "feature_names": ["age", "plan", "paid"],
}


@pytest.mark.parametrize("path", ["/openapi.json", f"/{SLUG}/openapi.json"])
def test_the_description_names_the_models_fields_to_those_who_may_call(
    wrapper: str, tmp_path: Path, path: str
) -> None:
    client = client_for(wrapper, tmp_path, lambda *_: 1, input_check="enforce", **SIGNATURE)
    assert client.get(path).status_code == 401
    document = client.get(path, KEY).json()
    validate(document)
    row = document["components"]["schemas"]["Input"]["anyOf"][0]
    assert list(row["properties"]) == row["required"] == SIGNATURE["feature_names"]
    assert row["properties"]["age"]["type"] == "integer"
    assert list(document["paths"]) == [f"/{SLUG}/"]
    for manifest in ({}, {"input_format": "Text"}, {**SIGNATURE, "input_check": "explain"}):
        validate(client_for(wrapper, tmp_path, lambda *_: 1, **manifest).get(path, KEY).json())


def pay(artifacts: list[Any], payload: str) -> float:
    return float(json.loads(payload)["paid"]) * 2


def test_input_is_checked_before_the_script_sees_it(wrapper: str, tmp_path: Path) -> None:
    ran = []
    client = client_for(wrapper, tmp_path, lambda *_: ran.append(1), input_check="enforce", **SIGNATURE)
    answer = client.post('{"age": "old", "paid": 2.5}')
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "The input does not fit the model's signature: age takes a whole number, got text; and 1 more."
    )
    assert answer.json()["errors"] == [
        {"field": "age", "message": "takes a whole number, got text"},
        {"field": "plan", "message": "is missing; it takes text"},
    ]
    assert not ran
    assert client.post('{"age": 41, "plan": "a", "paid": 2.5, "id": 7}').status_code == 200


def test_without_an_example_input_is_checked_when_the_script_fails(wrapper: str, tmp_path: Path) -> None:
    client = client_for(wrapper, tmp_path, pay, **SIGNATURE)
    assert client.post('{"age": 41, "plan": "a", "paid": 2.5}').json() == {"prediction": 5.0}
    answer = client.post('{"age": 41, "plan": "a", "paid": "much"}')
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "paid")
    # What the script can do with is its own business.
    assert client.post('{"age": "old", "paid": 1}').json() == {"prediction": 2.0}


def test_a_script_that_takes_something_else_is_not_held_to_the_signature(
    wrapper: str, tmp_path: Path
) -> None:
    client = client_for(wrapper, tmp_path, pay, **SIGNATURE)
    assert client.post('{"customer": 7, "paid": 1}').status_code == 200
    assert client.post('{"customer": 7}').status_code == 500


def test_calls_beyond_those_that_hang_are_refused(
    wrapper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "PATIENCE_SECONDS", 0.0)
    client = client_for(wrapper, tmp_path, lambda *_: 1)
    for _ in range(endpoints.MOST_CALLS):
        assert client.endpoint.enter()
    answer = client.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    client.endpoint.leave()
    assert client.post().status_code == 200
