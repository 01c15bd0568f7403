"""Runs and their artifacts through the API."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert

from a360_hub_service.entities import Artifact, Run, new_id, utcnow
from tests.integration.test_projects import problem
from tests.support.certificates import certificate
from tests.support.lab import CONTENT, Lab, describe, ok
from tests.support.service import ServiceProcess


@pytest.fixture(scope="module")
def lab(service: ServiceProcess) -> Iterator[Lab]:
    with Lab(service) as made:
        yield made


@pytest.fixture
def experiment(lab: Lab) -> dict[str, Any]:
    return lab.experiment(lab.model(f"m{new_id()[-8:]}"))


def finish(lab: Lab, run: dict[str, Any], **body: Any) -> Any:
    return lab.scientist.post(f"/runs/{run['id']}/finish", json={"status": "finished", **body})


@pytest.mark.row("M015", "M054", "M137")
def test_a_run_begins_with_a_folder_in_the_default_data_repo(lab: Lab, experiment: dict[str, Any]) -> None:
    answer = lab.scientist.post(f"/experiments/{experiment['id']}/runs")
    assert answer.status_code == 201
    run = answer.json()
    model = ok(lab.scientist.get(f"/models/{experiment['model_id']}"))
    assert run["data_repo_id"] == lab.project["default_data_repo_id"]
    assert run["artifact_prefix"] == (
        f"Projects/{lab.project['slug']}/{model['model_name']}/1-0/forest/{run['id']}"
    )
    assert (run["status"], run["artifacts"], run["ended_at"]) == ("running", [], None)
    assert ok(lab.engineer.get(f"/runs/{run['id']}")) == run


@pytest.mark.row("M055", "M056", "M057", "M138")
def test_what_is_logged_is_merged_while_the_run_runs(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment, hyperparameters={"depth": 6}, metrics={"score": 0.5})
    path = f"/runs/{run['id']}"
    ok(lab.scientist.patch(path, json={"metrics": {"score": 0.75, "label": "good"}, "dataset": "X.parquet"}))
    ok(lab.scientist.patch(path, json={"hyperparameters": {"deep": {"list": [1, None, "a"]}}}))
    closed = ok(finish(lab, run, metadata={"run_time": 1.5}))
    assert closed["hyperparameters"] == {"depth": 6, "deep": {"list": [1, None, "a"]}}
    assert closed["metrics"] == {"score": 0.75, "label": "good"}
    assert (closed["metadata"], closed["dataset"]) == ({"run_time": 1.5}, "X.parquet")
    assert ok(lab.scientist.get(path)) == closed


@pytest.mark.row("M061", "M064", "M065", "M066", "M067", "M068")
def test_a_run_is_finished_once_with_all_its_artifacts(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    kinds = {
        "trained_model": "model",
        "trained_model_native": "native_model",
        "preprocessor": "preprocessor",
        "baseline": "baseline",
        "data_exploration_notebook": "notebook",
    }
    artifacts = [
        lab.artifact(run, name, kind=kind, content=name.encode() * 9) for name, kind in kinds.items()
    ]
    body = {"artifacts": artifacts, "metrics": {"score": 1, "loss": None}}
    closed = ok(finish(lab, run, **body))
    assert closed["status"] == "finished"
    assert closed["ended_at"] >= closed["started_at"]
    named = [{key: item[key] for key in artifacts[0]} for item in closed["artifacts"]]
    assert named == artifacts
    again = ok(finish(lab, run, **body))
    assert again == closed
    (listed,) = ok(lab.engineer.get(f"/experiments/{experiment['id']}/runs"))["items"]
    assert listed == closed


def test_a_certificate_is_stored_with_the_run(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    artifacts = [lab.artifact(run), lab.artifact(run, "preprocessor", kind="preprocessor")]
    given = certificate(artifacts)
    closed = ok(finish(lab, run, artifacts=artifacts, certificate=given))
    assert closed["certificate"] == {"passed": True, **given}
    assert ok(finish(lab, run, artifacts=artifacts, certificate=given)) == closed
    problem(finish(lab, run, artifacts=artifacts), 409)
    (listed,) = ok(lab.engineer.get(f"/experiments/{experiment['id']}/runs"))["items"]
    assert listed["certificate"] == closed["certificate"]
    without = lab.run(experiment)
    assert ok(finish(lab, without, artifacts=[lab.artifact(without)]))["certificate"] is None


def _changed(given: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**given, "checks": [{**given["checks"][0], **changes}]}


def test_a_certificate_is_about_what_the_run_stores(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    artifacts = [lab.artifact(run)]
    given = certificate(artifacts)
    difference = {"row": "training row 3", "column": "the label", "native": "1", "onnx": "0"}
    for wrong, field in (
        (_changed(given, sha256="0" * 64), "certificate"),
        (_changed(given, sha256=None), "certificate"),
        (_changed(given, part="preprocessor"), "certificate"),
        ({**given, "checks": given["checks"] * 2}, "certificate"),
        ({**given, "checks": []}, "certificate.checks"),
        ({**given, "passed": True}, "certificate.passed"),
        ({**given, "opset": 0}, "certificate.opset"),
        ({**given, "versions": {"skl2onnx": 1}}, "certificate.versions.skl2onnx"),
        (_changed(given, rows=0), "certificate.checks.0.rows"),
        (_changed(given, passed="yes"), "certificate.checks.0.passed"),
        (_changed(given, label_agreement=1.5), "certificate.checks.0.label_agreement"),
        (_changed(given, max_difference=-1), "certificate.checks.0.max_difference"),
        (_changed(given, difference=difference | {"why": "?"}), "certificate.checks.0.difference.why"),
    ):
        document = problem(finish(lab, run, artifacts=artifacts, certificate=wrong), 422)
        assert [error["field"] for error in document["errors"]] == [field], wrong
    failed = {"status": "failed", "error": "boom", "artifacts": [], "certificate": given}
    assert problem(finish(lab, run, **failed), 422)["errors"][0]["field"] == "certificate"
    ok(finish(lab, run, artifacts=artifacts, certificate=_changed(given, difference=difference)))


def test_a_finished_run_never_changes(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    artifacts = [lab.artifact(run)]
    closed = ok(finish(lab, run, artifacts=artifacts, metrics={"score": 1}))
    for different in (
        {"artifacts": artifacts, "metrics": {"score": 2}},
        {"artifacts": artifacts, "metrics": {"score": True}},
        {"artifacts": artifacts, "metrics": {"new": 1}},
        {"artifacts": []},
        {"artifacts": [artifacts[0] | {"sha256": "0" * 64}]},
        {"artifacts": artifacts, "dataset": "other"},
        {"status": "failed", "error": "late"},
    ):
        problem(finish(lab, run, **different), 409)
    problem(lab.scientist.patch(f"/runs/{run['id']}", json={"metrics": {"score": 2}}), 409)
    assert ok(lab.scientist.get(f"/runs/{run['id']}")) == closed
    key = closed["artifacts"][0]["file_key"]
    problem(lab.scientist.put(f"/data-repos/{run['data_repo_id']}/files/{key}", content=b"other"), 409)


def test_a_failed_run_keeps_what_it_knew_and_has_no_artifacts(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment, hyperparameters={"depth": 6})
    body = {"status": "failed", "error": "ValueError: NaN\n" * 50, "metrics": {"epoch": 3}}
    artifact = lab.artifact(run)
    document = problem(finish(lab, run, **body, artifacts=[artifact]), 422)
    assert [error["field"] for error in document["errors"]] == ["artifacts"]
    closed = ok(finish(lab, run, **body))
    assert (closed["status"], closed["artifacts"], closed["error"]) == (
        "failed",
        [],
        body["error"].strip(),
    )
    assert (closed["hyperparameters"], closed["metrics"]) == ({"depth": 6}, {"epoch": 3})
    assert ok(finish(lab, run, **body)) == closed
    problem(finish(lab, run, artifacts=[artifact]), 409)


def test_a_run_is_not_finished_while_a_file_is_not_as_announced(lab: Lab, experiment: dict[str, Any]) -> None:
    run, other = lab.run(experiment), lab.run(experiment)
    good, foreign = lab.artifact(run), lab.artifact(other)
    prefix = run["artifact_prefix"]
    wrong = [
        (describe("missing", "model", f"{prefix}/missing", CONTENT), "there is no file"),
        (good | {"name": "longer", "size": 8}, "has 7 bytes, announced were 8"),
        (foreign | {"name": "foreign"}, "not in the run's folder"),
        (describe("up", "model", f"{prefix}/../{other['id']}/trained_model", CONTENT), "“..”"),
        (describe("near", "model", f"{prefix}x/trained_model", CONTENT), "not in the run's folder"),
        (describe("outside", "model", "/etc/passwd", CONTENT), "not in the run's folder"),
        (describe("folder", "model", f"{prefix}/", CONTENT), "empty part"),
    ]
    for artifact, reason in wrong:
        document = problem(finish(lab, run, artifacts=[artifact]), 422)
        assert reason in document["detail"], artifact
    both = problem(finish(lab, run, artifacts=[good, wrong[0][0], wrong[2][0]]), 422)
    assert [error["field"] for error in both["errors"]] == ["artifacts.1", "artifacts.2"]
    assert ok(lab.scientist.get(f"/runs/{run['id']}"))["status"] == "running"
    ok(finish(lab, run, artifacts=[good]))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"status": "running"}, "status"),
        ({"status": "finished", "error": "but"}, "error"),
        ({"status": "finished", "metrics": ["a"]}, "metrics"),
        ({"status": "finished", "color": "red"}, "color"),
        ({"status": "finished", "metrics": {str(number): 0 for number in range(1001)}}, "metrics"),
        ({"status": "failed", "dataset": "d" * 4097}, "dataset"),
    ],
)
def test_a_bad_end_is_refused(
    lab: Lab, experiment: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    run = lab.run(experiment)
    document = problem(lab.scientist.post(f"/runs/{run['id']}/finish", json=change), 422)
    assert [error["field"] for error in document["errors"]] == [field]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", '{"deep": [NaN]}'])
def test_not_a_number_is_null_and_its_words_are_refused(
    lab: Lab, experiment: dict[str, Any], word: str
) -> None:
    run = lab.run(experiment)
    answer = lab.scientist.patch(f"/runs/{run['id']}", content=f'{{"metrics": {{"loss": {word}}}}}')
    assert "send null" in problem(answer, 422)["detail"]
    assert ok(lab.scientist.patch(f"/runs/{run['id']}", json={"metrics": {"loss": None}}))["metrics"] == {
        "loss": None
    }


def test_a_nul_character_is_refused_but_never_hides_a_failure(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    problem(lab.scientist.patch(f"/runs/{run['id']}", json={"dataset": "a\0b"}), 422)
    nested = {"metrics": {"a": "x\0y", "b\0": 1}, "hyperparameters": {"c": ["\0"]}}
    stored = ok(lab.scientist.patch(f"/runs/{run['id']}", json=nested))
    assert {name: stored[name] for name in nested} == nested
    closed = ok(finish(lab, run, status="failed", error="bad byte \0 at 3"))
    assert closed["error"] == "bad byte \ufffd at 3"
    answer = lab.scientist.delete(f"/projects/{lab.project['id']}/collaborators/a%00b")
    assert answer.status_code in (404, 422)
    problem(lab.scientist.get("/models", params={"cursor": "YQBi"}), 422)


def test_twice_the_same_artifact_is_refused(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    artifact = lab.artifact(run)
    for twin in (artifact | {"name": "twin"}, artifact | {"file_key": f"{run['artifact_prefix']}/twin"}):
        problem(finish(lab, run, artifacts=[artifact, twin]), 422)


@pytest.mark.row("M074", "F029")
def test_an_artifact_is_streamed_as_what_no_browser_runs(lab: Lab, experiment: dict[str, Any]) -> None:
    run = lab.run(experiment)
    content = b"<script>alert(1)</script>" * 100_000
    artifact = lab.artifact(run, "model_training_notebook", kind="notebook", content=content)
    (stored,) = ok(finish(lab, run, artifacts=[artifact]))["artifacts"]
    path = f"/artifacts/{stored['id']}/content"
    answer = lab.engineer.get(path)
    assert answer.content == content
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    part = lab.engineer.get(path, headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"<script>")
    problem(lab.outsider.get(path), 404)
    problem(lab.engineer.get(f"/artifacts/{'0' * 32}/content"), 404)
    file = lab.service.home / "volumes"
    (path_on_disk,) = file.glob(f"*/{stored['file_key']}")
    path_on_disk.write_bytes(b"tampered")
    problem(lab.engineer.get(path), 409)
    path_on_disk.unlink()
    problem(lab.engineer.get(path), 404)


@pytest.mark.row("M070", "M071")
def test_ten_thousand_runs_are_listed_quickly(lab: Lab, experiment: dict[str, Any]) -> None:
    count, limit = 10_000, 1000
    ids = [new_id() for _ in range(count)]
    _insert_runs(lab, experiment, ids)
    began, seen, cursor = time.perf_counter(), [], None
    while True:
        query = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = ok(lab.scientist.get(f"/experiments/{experiment['id']}/runs", params=query))
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    took = time.perf_counter() - began
    assert [run["id"] for run in seen] == ids
    assert all(len(run["artifacts"]) == 2 for run in seen)
    assert len(json.dumps(seen)) > 10_000_000
    assert took < 30, f"{took:.1f} s for {count} runs"


def _insert_runs(lab: Lab, experiment: dict[str, Any], ids: list[str]) -> None:
    runs = [
        {
            "id": run_id,
            "experiment_id": experiment["id"],
            "status": "finished",
            "hyperparameters": {f"hyperparameter {number}": number for number in range(10)},
            "metrics": {f"metric {number}": number / 3 for number in range(10)},
            "run_metadata": {"run_time": 1.5},
            "data_repo_id": lab.project["default_data_repo_id"],
            "artifact_prefix": f"Projects/p/m/1-0/e/{run_id}",
            "created_by": "scientist",
            "started_at": utcnow(),
            "ended_at": utcnow(),
        }
        for run_id in ids
    ]
    artifacts = [
        {
            "id": new_id(),
            "run_id": run_id,
            "name": name,
            "kind": "model",
            "file_key": f"Projects/p/m/1-0/e/{run_id}/{name}",
            "size": 1,
            "sha256": "0" * 64,
            "created_at": utcnow(),
        }
        for run_id in ids
        for name in ("trained_model", "trained_model_native")
    ]
    database = lab.service.database()
    with database.session() as session:
        session.execute(insert(Run), runs)
        session.execute(insert(Artifact), artifacts)
    database.close()


def test_a_list_of_runs_takes_few_queries(lab: Lab, experiment: dict[str, Any]) -> None:
    from sqlalchemy import event

    from a360_hub_service.entities import Experiment
    from a360_hub_service.services import runs

    _insert_runs(lab, experiment, [new_id() for _ in range(400)])
    database = lab.service.database()
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    with database.session(write=False) as session:
        found, _ = runs.list_runs(
            session, session.get_one(Experiment, experiment["id"]), limit=400, cursor=None
        )
        assert sum(len(run.artifacts) for run in found) == 800
    database.close()
    assert len([text for text in statements if text.startswith("SELECT")]) <= 3
