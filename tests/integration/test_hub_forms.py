"""What the workspace form takes and refuses; no Hub is needed for that."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.service import ServiceProcess, project_form


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("scientist") as made:
        yield made


@pytest.fixture
def path(client: httpx.Client) -> str:
    """The workspaces of a new project."""
    name = uuid.uuid4().hex[:12]
    made = client.post("/projects", json=project_form(f"Forms {name}", f"forms-{name}"))
    assert made.status_code == 201, made.text
    return f"/projects/{made.json()['id']}/workspaces"


def form(**changes: Any) -> dict[str, Any]:
    return {"name": "Mine", "image": "a360-local-sklearn", "cpu": 1, "memory": "1Gi", **changes}


@pytest.mark.row("F225", "F226", "F227", "F228", "F229", "F230")
@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"memory": "1GB"}, "memory", "type a number followed by Gi"),
        ({"memory": "1024"}, "memory", "type a number followed by Gi"),
        ({"memory": "0Gi"}, "memory", "out of range"),
        ({"cpu": 0}, "cpu", "greater than 0"),
        ({"cpu": "one"}, "cpu", "valid number"),
        ({"image": "theano"}, "image", "choose one of: a360-local-sklearn"),
        ({"gpus": 1}, "gpus", "no GPUs here"),
        ({"gpus": -1}, "gpus", "greater than or equal to 0"),
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "x" * 65}, "name", "at most 64 characters"),
        ({"name": "bad\u0007name"}, "name", "control characters"),
        ({"color": "red"}, "color", "not permitted"),
    ],
)
def test_wrong_fields_are_named(
    client: httpx.Client, path: str, changes: dict[str, Any], field: str, says: str
) -> None:
    answer = client.post(path, json=form(**changes))
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert [error["field"] for error in problem["errors"]] == [field]
    assert says in problem["errors"][0]["message"]
    assert client.get(path).json()["items"] == []


@pytest.mark.parametrize("missing", ["name", "image", "cpu", "memory"])
@pytest.mark.row("F225", "F227", "F228", "F229")
def test_required_fields_are_required(client: httpx.Client, path: str, missing: str) -> None:
    body = form()
    del body[missing]
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == missing


@pytest.mark.row("F224", "F233")
def test_made_workspaces_are_listed_and_names_are_taken_once(client: httpx.Client, path: str) -> None:
    made = client.post(path, json=form(name="Überblick & Analyse der Kundendaten 2026", image="sklearn"))
    assert made.status_code == 201, made.text
    workspace = made.json()
    assert workspace["image"] == "a360-local-sklearn"
    assert len(workspace["server_name"]) <= 30
    assert workspace["server_name"].isascii()
    assert (workspace["status"], workspace["gpus"], workspace["owner"]) == ("stopped", 0, "scientist")
    twice = client.post(path, json=form(name="überblick & analyse der kundendaten 2026"))
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (409, "name")
    other = client.post(path, json=form()).json()
    assert [item["id"] for item in client.get(path).json()["items"]] == [other["id"], workspace["id"]]
    mine = client.get("/workspaces", params={"limit": 1}).json()
    assert mine["items"][0]["id"] == other["id"]
    assert mine["next_cursor"]


@pytest.mark.row("F236")
def test_stopped_workspaces_change_image_and_compute_only(client: httpx.Client, path: str) -> None:
    made = client.post(path, json=form()).json()
    where = f"/workspaces/{made['id']}"
    changed = client.patch(where, json={"memory": "1.5Gi"}).json()
    assert (changed["memory"], changed["cpu"], changed["image"]) == ("1.5Gi", 1.0, "a360-local-sklearn")
    for body in ({"memory": "2"}, {"image": "theano"}, {"gpus": 3}, {"name": "other"}):
        assert client.patch(where, json=body).status_code == 422
    assert client.get(where).json()["memory"] == "1.5Gi"


def test_a_hub_that_is_away_is_said_when_starting(client: httpx.Client, path: str) -> None:
    made = client.post(path, json=form()).json()
    answer = client.post(f"/workspaces/{made['id']}/start")
    assert answer.status_code == 503
    assert answer.json()["hint"]
    assert client.get(f"/workspaces/{made['id']}").json()["status"] == "stopped"


@pytest.mark.row("F227", "F228")
def test_images_and_profiles_to_choose_from(client: httpx.Client) -> None:
    images = client.get("/images").json()["items"]
    assert images[0]["name"] == "a360-local-sklearn"
    flavors = {"sklearn", "xgboost", "pytorch", "tensorflow", "huggingface"}
    assert {image["flavor"] for image in images} == flavors
    profiles = client.get("/profiles").json()["items"]
    assert (profiles[0]["cpu"], profiles[0]["memory"], profiles[0]["idle_hours"]) == (1, "1Gi", 1)


@pytest.mark.row("F037", "F047")
def test_who_may_have_workspaces(service: ServiceProcess, client: httpx.Client, path: str) -> None:
    made = client.post(path, json=form()).json()
    project = path.split("/")[2]
    assert client.put(f"/projects/{project}/collaborators/engineer").status_code == 200
    for person, status in (("outsider", 404), ("admin", 404), ("engineer", 403)):
        with service.client(person) as other:
            assert other.get(path).status_code == status
            assert other.post(path, json=form()).status_code == status
            assert other.get(f"/workspaces/{made['id']}").status_code == status
    with service.client("admin") as admin:
        assert admin.get("/workspaces").status_code == 403
