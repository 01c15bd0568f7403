"""Models and experiments through the API."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.test_projects import problem
from tests.support.lab import EXPERIMENT, Lab, ok
from tests.support.service import ServiceProcess


@pytest.fixture(scope="module")
def lab(service: ServiceProcess) -> Iterator[Lab]:
    with Lab(service) as made:
        yield made


@pytest.mark.row("F039", "M035", "M036", "M037", "M129", "M130")
def test_a_model_is_made_once_and_found_again(lab: Lab) -> None:
    answer = lab.scientist.post(lab.models_path, json={"model_name": "once", "model_type": "regression"})
    assert answer.status_code == 201
    model = answer.json()
    assert (model["version"], model["status"], model["model_type"]) == ("1.0", "Draft", "regression")
    assert model["detail_url"].endswith(f"/services/a360/models/{model['id']}")
    again = lab.reviewer.post(lab.models_path, json={"model_name": "once"})
    assert (again.status_code, again.json()["id"], again.json()["warnings"]) == (200, model["id"], [])
    other = lab.scientist.post(lab.models_path, json={"model_name": "once", "version": "2.0"})
    assert other.status_code == 201
    assert other.json()["id"] != model["id"]


def test_of_many_who_create_at_once_one_does_and_all_get_the_same(lab: Lab) -> None:
    def create(path: str, form: dict[str, Any], user: str) -> tuple[int, str]:
        with lab.service.client(user) as client:
            gate.wait()
            answer = client.post(path, json=form)
        return answer.status_code, ok(answer)["id"]

    users = ["scientist", "reviewer"] * 3
    model = lab.model("crowded")
    for path, form in (
        (lab.models_path, {"model_name": "raced"}),
        (f"/models/{model['id']}/experiments", EXPERIMENT),
    ):
        gate = threading.Barrier(len(users))
        with ThreadPoolExecutor(len(users)) as pool:
            answers = list(pool.map(lambda user, p=path, f=form: create(p, f, user), users))
        assert sorted(status for status, _ in answers) == [200] * (len(users) - 1) + [201]
        assert len({identifier for _, identifier in answers}) == 1


@pytest.mark.row("C10", "M038", "M039")
def test_long_names_warn_and_names_are_unique_in_their_project_only(
    lab: Lab, service: ServiceProcess
) -> None:
    assert lab.model("exactly-15-long")["warnings"] == []
    (warning,) = lab.model("one-more-than-15")["warnings"]
    assert "one-more-than-1" in warning
    with Lab(service) as other:
        assert other.model("exactly-15-long")["id"] != lab.model("exactly-15-long")["id"]


def test_a_different_type_does_not_change_a_model_that_exists(lab: Lab) -> None:
    lab.model("typed", model_type="regression")
    model = lab.model("typed", model_type="clustering")
    assert model["model_type"] == "regression"
    assert "regression" in model["warnings"][0]


@pytest.mark.row("M036", "M171", "C10")
@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"model_name": "m", "version": "1234567890123"}, "version"),
        ({"model_name": "m", "version": ""}, "version"),
        ({"model_name": "m", "version": "1\n0"}, "version"),
        ({"model_name": ""}, "model_name"),
        ({"model_name": "   "}, "model_name"),
        ({"model_name": "a\tb"}, "model_name"),
        ({"model_name": "a\u0000b"}, "model_name"),
        ({"model_name": "n" * 129}, "model_name"),
        ({}, "model_name"),
        ({"model_name": "m", "status": "Published"}, "status"),
        ({"model_name": "m", "model_type": "t" * 65}, "model_type"),
        ({"model_name": 7}, "model_name"),
    ],
)
def test_a_bad_model_is_refused_field_by_field(lab: Lab, form: dict[str, Any], field: str) -> None:
    document = problem(lab.scientist.post(lab.models_path, json=form), 422)
    assert [error["field"] for error in document["errors"]] == [field]


@pytest.mark.row("F240")
def test_lists_show_the_models_of_ones_projects(lab: Lab) -> None:
    model = lab.model("listed")
    for client, path in ((lab.engineer, "/models"), (lab.engineer, lab.models_path)):
        found = ok(client.get(path, params={"limit": 1000}))["items"]
        assert model["id"] in [item["id"] for item in found]
    assert ok(lab.outsider.get("/models"))["items"] == []
    problem(lab.outsider.get(lab.models_path), 404)


def test_lists_come_in_pages(lab: Lab) -> None:
    for number in range(5):
        lab.model(f"paged-{number}")
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = ok(lab.scientist.get(lab.models_path, params=query))
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    assert seen == [i["id"] for i in ok(lab.scientist.get(lab.models_path, params={"limit": 1000}))["items"]]
    problem(lab.scientist.get(lab.models_path, params={"cursor": "%%%"}), 422)
    problem(lab.scientist.get(lab.models_path, params={"limit": 1001}), 422)


@pytest.mark.row("F040", "M136")
def test_only_the_type_of_a_model_can_be_edited(lab: Lab) -> None:
    model = lab.model("edited")
    path = f"/models/{model['id']}"
    assert ok(lab.scientist.patch(path, json={"model_type": "regression"}))["model_type"] == "regression"
    assert ok(lab.scientist.patch(path, json={}))["model_type"] == "regression"
    for field in ("status", "model_name", "version", "best_run_id", "reviewer"):
        problem(lab.scientist.patch(path, json={field: "Published"}), 422)
    problem(lab.engineer.patch(path, json={"model_type": "other"}), 403)
    problem(lab.scientist.delete(path), 405)
    edits = [event for event in history(lab, model) if event["command"] == "edit"]
    assert [event["comment"] for event in edits] == ["model_type: “” → “regression”"]


@pytest.mark.row("M044", "M045", "M050", "M115", "M116", "M117", "M118", "M123")
def test_an_experiment_is_made_once_and_found_again(lab: Lab) -> None:
    model = lab.model("with-experiments")
    path = f"/models/{model['id']}/experiments"
    form = EXPERIMENT | {
        "baseline": {"age": {"mean": 44.5, "std": 3}, "income": {"mean": 1e-9, "std": None}},
        "target_baseline": {"Churn": {"mean": 0.5, "std": 0.5}},
        "enable_drift_monitoring": True,
        "model_training_file": "/home/jovyan/training.ipynb",
    }
    answer = lab.scientist.post(path, json=form)
    assert answer.status_code == 201
    experiment = answer.json()
    assert {name: experiment[name] for name in form} == form
    assert list(experiment["baseline"]) == ["age", "income"]
    again = lab.scientist.post(path, json=EXPERIMENT | {"input_signature": "ndarray: float64 (26,)"})
    assert (again.status_code, again.json()["id"]) == (200, experiment["id"])
    assert again.json()["input_signature"] == EXPERIMENT["input_signature"]
    assert "input_signature" in again.json()["warnings"][0]
    assert ok(lab.engineer.get(path))["items"] == [experiment]
    assert ok(lab.engineer.get(f"/experiments/{experiment['id']}")) == experiment


@pytest.mark.row("C06", "M122")
def test_drift_monitoring_is_off_unless_asked_for(lab: Lab) -> None:
    assert lab.experiment(lab.model("undecided"))["enable_drift_monitoring"] is False


@pytest.mark.row("M128", "M087", "M124")
def test_only_the_mutable_fields_of_an_experiment_change(lab: Lab) -> None:
    experiment = lab.experiment(lab.model("mutable"))
    path = f"/experiments/{experiment['id']}"
    changes = {
        "baseline": {"age": {"median": 44}},
        "target_baseline": {"Churn": {"mean": 0}},
        "enable_drift_monitoring": True,
        "monitoring_expected_value": "median",
        "data_exploration_file": "eda.ipynb",
        "data_preparation_file": "prepare.ipynb",
        "model_training_file": "train.ipynb",
    }
    changed = ok(lab.scientist.patch(path, json=changes))
    assert {name: changed[name] for name in changes} == changes
    assert changed["updated_at"] > experiment["updated_at"]
    for field in ("experiment_name", "model_flavor", "input_signature", "feature_names", "best_run_id"):
        problem(lab.scientist.patch(path, json={field: experiment[field] or "x"}), 422)
    assert ok(lab.scientist.get(path)) == changed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_flavor": "cobol"}, "model_flavor"),
        ({"input_signature": ""}, "input_signature"),
        ({"feature_names": ["a", "a"]}, "feature_names"),
        ({"baseline": {"shoe_size": {"mean": 44}}}, "baseline"),
        ({"enable_drift_monitoring": True}, "enable_drift_monitoring"),
        ({"monitoring_expected_value": "mode"}, "monitoring_expected_value"),
        ({"train_shape": [-1]}, "train_shape.0"),
    ],
)
def test_a_bad_experiment_is_refused_and_not_made(lab: Lab, change: dict[str, Any], field: str) -> None:
    model = lab.model("unlucky")
    path = f"/models/{model['id']}/experiments"
    document = problem(lab.scientist.post(path, json=EXPERIMENT | change), 422)
    assert [error["field"] for error in document["errors"]] == [field]
    assert ok(lab.scientist.get(path))["items"] == []


def test_numbers_that_json_does_not_have_are_refused(lab: Lab) -> None:
    model = lab.model("no-nan")
    text = '{"experiment_name": "e", "model_flavor": "sklearn", "input_signature": "a float", '
    text += '"output_signature": "b float", "baseline": {"a": {"mean": NaN}}}'
    answer = lab.scientist.post(f"/models/{model['id']}/experiments", content=text)
    assert "send null" in problem(answer, 422)["detail"]


@pytest.mark.row("M072", "M115", "M133", "F252")
def test_the_final_run_marks_experiment_and_model(lab: Lab) -> None:
    model = lab.model("final")
    experiment = lab.experiment(model)
    first, second = lab.finished_run(experiment), lab.finished_run(experiment)
    for run in (first, second, second):
        chosen = ok(lab.choose(model, run))
        assert (chosen["best_experiment_id"], chosen["best_run_id"]) == (experiment["id"], run["id"])
        assert ok(lab.scientist.get(f"/experiments/{experiment['id']}"))["best_run_id"] == run["id"]
    chosen_runs = [event["comment"] for event in history(lab, model) if event["command"] == "final_run"]
    assert chosen_runs == [f"forest: {first['id']}", f"forest: {second['id']}"]


def test_only_a_finished_run_with_a_model_of_this_experiment_can_be_final(lab: Lab) -> None:
    model, other = lab.model("picky"), lab.model("other")
    experiment, foreign = lab.experiment(model), lab.experiment(other)
    sibling = lab.experiment(model, experiment_name="sibling")
    running = lab.run(experiment)
    failed = lab.run(experiment)
    ok(lab.scientist.post(f"/runs/{failed['id']}/finish", json={"status": "failed", "error": "boom"}))
    empty = lab.run(experiment)
    ok(lab.scientist.post(f"/runs/{empty['id']}/finish", json={"status": "finished"}))
    good = lab.finished_run(experiment)
    wrong = [
        (running, experiment, "running"),
        (failed, experiment, "failed"),
        (empty, experiment, "saved no model"),
        (good, sibling, "no run of the experiment “sibling”"),
        (lab.finished_run(foreign), foreign, "no experiment of this model"),
        ({"id": "0" * 32}, experiment, "no run"),
        (good, {"id": "0" * 32}, "no experiment"),
    ]
    for run, of, reason in wrong:
        body = {"experiment_id": of["id"], "run_id": run["id"]}
        document = problem(lab.scientist.put(f"/models/{model['id']}/final-run", json=body), 422)
        assert reason in document["detail"]
    assert ok(lab.scientist.get(f"/models/{model['id']}"))["best_run_id"] is None
    ok(lab.choose(model, good))


def test_names_of_any_script_become_paths_that_every_storage_takes(lab: Lab) -> None:
    model = lab.model("Модель/旅 %2F..", version="β/../1")
    run = lab.run(lab.experiment(model, experiment_name="../../etc"))
    parts = run["artifact_prefix"].split("/")
    assert parts[:2] == ["Projects", lab.project["slug"]]
    assert parts[5:] == [run["id"]]
    assert all(part and part.strip(".") == part for part in parts)
    assert run["artifact_prefix"].isascii()


def history(lab: Lab, model: dict[str, Any]) -> list[dict[str, Any]]:
    return list(ok(lab.scientist.get(f"/models/{model['id']}/history", params={"limit": 1000}))["items"])
