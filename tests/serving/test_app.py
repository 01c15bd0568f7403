"""The answers of a served model, with the application itself and functions in place of a script."""

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask.testing import FlaskClient

from a360runtime.serving.app import create_app
from a360runtime.serving.bundle import Bundle
from a360runtime.serving.keys import KeyRing
from tests.support.endpoints import KEY, key_record

SLUG = "churn-forest-1-0"


def write_keys(path: Path, *records: Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(
        json.dumps([vars(record) | {"expires_at": record.expires_at or None} for record in records])
    )
    os.replace(new, path)


def client_for(tmp_path: Path, call: Any, **manifest: Any) -> FlaskClient:
    keys = tmp_path / "keys.json"
    if not keys.exists():
        write_keys(keys, key_record())
    bundle = Bundle({"slug": SLUG} | manifest, [None, None, None], call)
    return create_app(bundle, KeyRing(str(keys)), max_body=1000).test_client()


def post(client: FlaskClient, body: str | bytes = "{}", key: str = KEY, path: str = "/") -> Any:
    return client.post(path, data=body, headers={"apikey": key, "Content-Type": "application/json"})


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
def test_answers_are_json_with_the_prediction_last(tmp_path: Path, value: Any, text: str) -> None:
    answer = post(client_for(tmp_path, lambda artifacts, payload: value))
    assert answer.status_code == 200
    assert answer.text == f'{{"prediction": {text}}}'
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.row("F330")
@pytest.mark.parametrize("value", [1.0, 0, -3.5, "no", np.float32(2)])
def test_callers_who_take_what_follows_the_last_colon_get_the_value(tmp_path: Path, value: Any) -> None:
    text = post(client_for(tmp_path, lambda artifacts, payload: value)).text
    assert json.loads(text.split(":")[-1].split("}")[0]) == value


def test_the_script_gets_the_body_as_it_came(tmp_path: Path) -> None:
    seen = []
    body = '{"b": 1,  "a": "ä"}'
    post(client_for(tmp_path, lambda artifacts, payload: seen.append(payload)), body.encode())
    assert seen == [body]


@pytest.mark.parametrize("path", ["/", f"/{SLUG}/", f"/{SLUG}"])
def test_the_endpoint_answers_by_its_name_and_at_the_root(tmp_path: Path, path: str) -> None:
    assert post(client_for(tmp_path, lambda artifacts, payload: 1), path=path).status_code == 200


def test_other_paths_and_methods_are_refused_as_problems(tmp_path: Path) -> None:
    client = client_for(tmp_path, lambda artifacts, payload: 1)
    for answer, status in ((post(client, path="/other/path/"), 404), (client.get("/"), 405)):
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json is None or answer.json["status"] == status


@pytest.mark.row("F314", "F355")
@pytest.mark.parametrize("key", ["", "wrong", "a360_test-ke", "ключ".encode().decode("latin-1")])
def test_a_wrong_key_is_refused_before_the_script_runs(tmp_path: Path, key: str) -> None:
    ran = []
    answer = post(client_for(tmp_path, lambda artifacts, payload: ran.append(1)), key=key)
    assert answer.status_code == 401
    assert not ran


def test_no_key_at_all_and_no_keys_file_open_nothing(tmp_path: Path) -> None:
    client = client_for(tmp_path, lambda artifacts, payload: 1)
    assert client.post("/", data="{}").status_code == 401
    (tmp_path / "keys.json").unlink()
    assert post(client).status_code == 401


def test_keys_are_rotated_with_an_overlap_while_the_server_runs(tmp_path: Path) -> None:
    client = client_for(tmp_path, lambda artifacts, payload: 1)
    keys = tmp_path / "keys.json"
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    write_keys(keys, key_record(KEY, soon), key_record("a360_new"))
    assert post(client).status_code == post(client, key="a360_new").status_code == 200
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    write_keys(keys, key_record(KEY, past), key_record("a360_new"))
    assert post(client).status_code == 401
    assert post(client, key="a360_new").status_code == 200


def test_a_broken_keys_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = client_for(tmp_path, lambda artifacts, payload: 1)
    assert post(client).status_code == 200
    (tmp_path / "keys.json").write_text("[{")
    assert post(client).status_code == 200
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
def test_a_bad_body_is_refused_with_a_reason(tmp_path: Path, body: bytes, reason: str) -> None:
    answer = post(client_for(tmp_path, lambda artifacts, payload: 1), body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert reason in json.loads(answer.text)["detail"]


def test_a_body_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    bundle = Bundle({"slug": SLUG}, [], lambda artifacts, payload: 1)
    write_keys(tmp_path / "keys.json", key_record())
    client = create_app(bundle, KeyRing(str(tmp_path / "keys.json"))).test_client()
    assert post(client, "[" * 200_000).status_code == 400


def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    answer = post(client_for(tmp_path, lambda artifacts, payload: 1), json.dumps("x" * 1000))
    assert answer.status_code == 413


def test_other_input_formats_need_no_json(tmp_path: Path) -> None:
    client = client_for(tmp_path, lambda artifacts, payload: payload.upper(), input_format="Text")
    assert post(client, "abc").json == {"prediction": "ABC"}


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
    tmp_path: Path, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(client_for(tmp_path, script))
    problem = json.loads(answer.text)
    assert answer.status_code == 500
    assert f"incident={problem['id']}" in caplog.text
    assert "tenure" not in answer.text


def test_each_call_leaves_one_line_without_its_payload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "a360.serving")
    client = client_for(tmp_path, lambda artifacts, payload: 1)
    post(client, '{"name": "Alice"}')
    client.get("/healthz")
    lines = [record.getMessage() for record in caplog.records if record.name == "a360.serving"]
    assert len(lines) == 1
    assert "status=200" in lines[0]
    assert "seconds=" in lines[0]
    assert "Alice" not in caplog.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(tmp_path: Path, path: str) -> None:
    assert client_for(tmp_path, lambda artifacts, payload: 1).get(path).status_code == 200
