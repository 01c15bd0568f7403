"""Review through the API: who may ask whom, and what follows."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.test_models import history
from tests.integration.test_projects import problem
from tests.support.lab import EXPERIMENT, Lab, ok
from tests.support.service import PEOPLE, ServiceProcess


@pytest.fixture(scope="module")
def lab(service: ServiceProcess) -> Iterator[Lab]:
    with Lab(service) as made:
        yield made


@pytest.mark.row("F242", "F251", "F272", "F273", "F274", "F276")
def test_a_model_is_submitted_to_a_colleague(lab: Lab) -> None:
    model = lab.submitted_model("asked")
    assert (model["status"], model["submitted_by"], model["reviewer"]) == (
        "In Review",
        "scientist",
        "reviewer",
    )
    last = history(lab, model)[-1]
    assert (last["actor"], last["command"], last["from_status"], last["to_status"]) == (
        "scientist",
        "submit",
        "Draft",
        "In Review",
    )


@pytest.mark.row("F244", "F255", "F278", "F279", "F280")
def test_the_reviewer_approves_with_or_without_a_comment(lab: Lab) -> None:
    for name, body in (("silent", {}), ("praised", {"comment": "Well done"})):
        model = lab.submitted_model(name)
        approved = ok(lab.reviewer.post(f"/models/{model['id']}/approve", json=body))
        assert (approved["status"], approved["approved_by"]) == ("Ready to Package", "reviewer")
        assert history(lab, model)[-1]["comment"] == body.get("comment", "")
    model = lab.submitted_model("no-body")
    assert ok(lab.reviewer.post(f"/models/{model['id']}/approve"))["status"] == "Ready to Package"


@pytest.mark.row("F243", "F253", "F254", "F282", "F283")
def test_a_denial_needs_a_reason_and_leads_back(lab: Lab) -> None:
    model = lab.submitted_model("denied")
    path = f"/models/{model['id']}"
    for body in ({}, {"comment": ""}, {"comment": " \n "}):
        document = problem(lab.reviewer.post(f"{path}/deny", json=body), 422)
        assert document["errors"][0]["field"] == "comment"
    denied = ok(lab.reviewer.post(f"{path}/deny", json={"comment": "Leaks the target"}))
    assert denied["status"] == "Needs Revisions"
    assert history(lab, model)[-1]["comment"] == "Leaks the target"
    experiment = lab.experiment(model, experiment_name="without the leak")
    ok(lab.choose(model, lab.finished_run(experiment)))
    again = ok(lab.scientist.post(f"{path}/submit", json={"reviewer": "reviewer"}))
    assert again["status"] == "In Review"


@pytest.mark.row("C12", "F043")
def test_nobody_else_decides_and_nobody_their_own_model(lab: Lab) -> None:
    model = lab.submitted_model("guarded")
    path = f"/models/{model['id']}"
    for body in ({"comment": "x"},):
        for verb in ("approve", "deny"):
            mine = problem(lab.scientist.post(f"{path}/{verb}", json=body), 403)
            assert "You submitted this model" in mine["detail"]
            problem(lab.engineer.post(f"{path}/{verb}", json=body), 403)
            problem(lab.outsider.post(f"{path}/{verb}", json=body), 404)
            problem(lab.admin.post(f"{path}/{verb}", json=body), 404)
    assert ok(lab.scientist.get(path))["status"] == "In Review"
    ok(lab.scientist.put(f"/projects/{lab.project['id']}/collaborators/outsider"))
    try:
        other = problem(lab.outsider.post(f"{path}/approve", json={}), 403)
        assert "given to reviewer" in other["detail"]
    finally:
        ok(lab.scientist.delete(f"/projects/{lab.project['id']}/collaborators/outsider"))


@pytest.mark.row("F273", "C12")
@pytest.mark.parametrize(
    ("reviewer", "reason"),
    [
        ("scientist", "nobody reviews their own model"),
        ("outsider", "outsider is not on this project"),
        ("engineer", "engineer has no role that reviews models"),
        ("who", "who is not on this project"),
        ("", "at least 1 character"),
        ("../admin", "is not on this project"),
    ],
)
def test_only_a_collaborator_who_reviews_can_be_asked(lab: Lab, reviewer: str, reason: str) -> None:
    model = lab.chosen_model("unasked")
    document = problem(lab.scientist.post(f"/models/{model['id']}/submit", json={"reviewer": reviewer}), 422)
    assert [error["field"] for error in document["errors"]] == ["reviewer"]
    assert reason in document["detail"]
    assert ok(lab.scientist.get(f"/models/{model['id']}"))["status"] == "Draft"


def test_without_a_final_run_there_is_nothing_to_review(lab: Lab) -> None:
    model = lab.model("empty")
    document = problem(
        lab.scientist.post(f"/models/{model['id']}/submit", json={"reviewer": "reviewer"}), 409
    )
    assert "no final run" in document["detail"]
    assert "set_final_run" in document["hint"]


def test_while_in_review_and_after_nothing_can_be_changed(lab: Lab) -> None:
    model = lab.chosen_model("frozen")
    path, experiment_id, run_id = f"/models/{model['id']}", model["best_experiment_id"], model["best_run_id"]
    running = lab.run({"id": experiment_id})
    changes: list[Callable[[], httpx.Response]] = [
        lambda: lab.scientist.post(f"/experiments/{experiment_id}/runs", json={}),
        lambda: lab.scientist.post(f"{path}/experiments", json=EXPERIMENT | {"experiment_name": "new"}),
        lambda: lab.scientist.patch(f"/experiments/{experiment_id}", json={"model_training_file": "x"}),
        lambda: lab.scientist.patch(path, json={"model_type": "other"}),
        lambda: lab.scientist.put(
            f"{path}/final-run", json={"experiment_id": experiment_id, "run_id": run_id}
        ),
    ]
    ok(lab.scientist.post(f"{path}/submit", json={"reviewer": "reviewer"}))
    for change in changes:
        document = problem(change(), 409)
        assert "“In Review”" in document["detail"]
        assert "reviewer" in document["hint"]
    again = lab.scientist.post(f"{path}/experiments", json=EXPERIMENT)
    assert (again.status_code, again.json()["id"]) == (200, experiment_id)
    # What began before may come to its end, but it is not what is reviewed.
    ok(lab.scientist.patch(f"/runs/{running['id']}", json={"metrics": {"score": 1}}))
    ok(lab.scientist.post(f"/runs/{running['id']}/finish", json={"status": "failed", "error": "late"}))
    ok(lab.reviewer.post(f"{path}/approve", json={}))
    for change in changes:
        assert "revise" in problem(change(), 409)["hint"]
    assert ok(lab.scientist.get(path))["best_run_id"] == run_id


def test_revising_an_approved_model_voids_its_approval(lab: Lab) -> None:
    model = lab.approved_model("revised")
    path = f"/models/{model['id']}"
    problem(lab.engineer.post(f"{path}/revise", json={}), 403)
    draft = ok(lab.scientist.post(f"{path}/revise", json={"comment": "New data"}))
    assert (draft["status"], draft["approved_by"], draft["reviewer"]) == ("Draft", None, None)
    assert draft["best_run_id"] == model["best_run_id"]
    problem(lab.reviewer.post(f"{path}/approve", json={}), 409)
    ok(lab.scientist.post(f"{path}/submit", json={"reviewer": "reviewer"}))
    problem(lab.scientist.post(f"{path}/approve", json={}), 403)


@pytest.mark.row("M131", "M132")
def test_a_terminated_model_stays_as_it_is(lab: Lab) -> None:
    model = lab.approved_model("given-up")
    path = f"/models/{model['id']}"
    gone = ok(lab.scientist.post(f"{path}/terminate", json={"comment": "No longer needed"}))
    assert gone["status"] == "Terminated"
    for verb, body in (("submit", {"reviewer": "reviewer"}), ("revise", {}), ("terminate", {})):
        assert problem(lab.scientist.post(f"{path}/{verb}", json=body), 409)["code"] == "wrong-state"
    found = lab.scientist.post(lab.models_path, json={"model_name": "given-up"})
    assert (found.status_code, found.json()["status"]) == (200, "Terminated")


def test_a_command_in_the_wrong_state_says_what_is_possible(lab: Lab) -> None:
    model = lab.chosen_model("early")
    for verb, client in (("approve", lab.reviewer), ("deny", lab.reviewer), ("revise", lab.scientist)):
        document = problem(client.post(f"/models/{model['id']}/{verb}", json={"comment": "c"}), 409)
        assert "it can take: submit, terminate" in document["detail"]


def test_of_two_decisions_at_once_one_counts(lab: Lab) -> None:
    for number in range(5):
        model = lab.submitted_model(f"race-{number}")
        gate, statuses = threading.Barrier(4), []

        def decide(verb: str, path: str, gate: threading.Barrier, statuses: list[int]) -> None:
            with lab.service.client("reviewer") as client:
                gate.wait()
                statuses.append(client.post(f"{path}/{verb}", json={"comment": "c"}).status_code)

        threads = [
            threading.Thread(target=decide, args=(verb, f"/models/{model['id']}", gate, statuses))
            for verb in ("approve", "deny", "approve", "deny")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200, 409, 409, 409]
        decisions = [e for e in history(lab, model) if e["command"] in ("approve", "deny")]
        assert len(decisions) == 1


@pytest.mark.row("C12")
def test_an_operator_may_let_one_person_do_it_all_and_the_history_says_so(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path / "home", config="c.A360HubService.self_review_allowed = True").start()
    try:
        with Lab(service) as lab:
            model = lab.chosen_model("alone")
            several = lab.scientist.post(f"/models/{model['id']}/submit", json={"reviewer": "scientist"})
            assert "nobody reviews their own" in problem(several, 422)["detail"]
            for item in ok(lab.scientist.get(f"/projects/{lab.project['id']}/collaborators"))["items"]:
                if item["user_name"] != "scientist":
                    ok(
                        lab.scientist.delete(
                            f"/projects/{lab.project['id']}/collaborators/{item['user_name']}"
                        )
                    )
            ok(lab.scientist.post(f"/models/{model['id']}/submit", json={"reviewer": "scientist"}))
            approved = ok(lab.scientist.post(f"/models/{model['id']}/approve", json={}))
            assert approved["status"] == "Ready to Package"
            commands = [event["command"] for event in history(lab, model)]
            assert commands[-2:] == ["approve", "self_review"]
    finally:
        service.stop()


def test_a_reviewer_who_lost_the_role_decides_nothing(fresh_service: ServiceProcess) -> None:
    with Lab(fresh_service) as lab:
        model = lab.submitted_model("orphaned")
        fresh_service.set_people({**PEOPLE, "reviewer": ["ML Engineers"]})
        problem(lab.reviewer.post(f"/models/{model['id']}/approve", json={}), 403)
        fresh_service.set_people(PEOPLE)
        ok(lab.scientist.delete(f"/projects/{lab.project['id']}/collaborators/reviewer"))
        problem(lab.reviewer.post(f"/models/{model['id']}/approve", json={}), 404)
