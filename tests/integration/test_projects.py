"""Projects and collaborators through the API."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from a360_hub_service.services.projects import KPIS
from tests.support.service import ServiceProcess, project_form

WHAT = ("process", "component", "function")
REPO = {"name": "r", "volume_name": "fine-name"}


def create(service: ServiceProcess, user: str, name: str, **more: Any) -> dict[str, Any]:
    slug = name.lower().replace(" ", "-")
    with service.client(user) as client:
        answer = client.post("/projects", json=project_form(name, f"{slug}-volume", **more))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return dict(document)


@pytest.mark.row("F170", "F171", "F172", "F173", "F174", "F175", "F176", "F177", "F178", "F185")
def test_a_project_is_made_with_its_default_data_repo(service: ServiceProcess) -> None:
    project = create(
        service,
        "scientist",
        "Whole Form",
        goal="Fewer leave",
        kpis=["Cost savings"],
        business_process="Retention",
        business_component="CRM",
        business_function="Marketing",
    )
    assert project["slug"] == "whole-form"
    assert project["owner"] == "scientist"
    with service.client("scientist") as client:
        kept = client.get(f"/projects/{project['id']}").json()
        repos = client.get(f"/projects/{project['id']}/data-repos").json()["items"]
    assert [(repo["id"], repo["is_default"]) for repo in repos] == [(project["default_data_repo_id"], True)]
    assert kept == project
    assert (kept["name"], kept["customer_name"], kept["kpis"]) == ("Whole Form", "Acme", ["Cost savings"])
    described = [kept[name] for name in ("goal", *(f"business_{what}" for what in WHAT))]
    assert described == ["Fewer leave", "Retention", "CRM", "Marketing"]


@pytest.mark.row("F171", "F172", "F173", "F174", "F175", "F176", "F177", "F178", "F180")
def test_name_customer_and_data_repo_are_required_and_all_else_is_not(service: ServiceProcess) -> None:
    form = project_form("Barely Said", "barely-said")
    with service.client("scientist") as client:
        for name in ("name", "customer_name", "data_repo"):
            less = {key: value for key, value in form.items() if key != name}
            answer = problem(client.post("/projects", json=less), 422)
            assert [error["field"] for error in answer["errors"]] == [name]
        every = {**form, "kpis": list(KPIS)}
        made = client.post("/projects", json=every).json()
    assert made["kpis"] == list(KPIS)
    assert [made[name] for name in ("goal", *(f"business_{what}" for what in WHAT))] == [""] * 4


@pytest.mark.row("F166", "F169")
def test_only_members_see_a_project_and_others_are_told_there_is_none(service: ServiceProcess) -> None:
    project = create(service, "scientist", "Members Only")
    with service.client("scientist") as client:
        assert project["id"] in [item["id"] for item in client.get("/projects?limit=1000").json()["items"]]
    with service.client("outsider") as client:
        assert project["id"] not in [
            item["id"] for item in client.get("/projects?limit=1000").json()["items"]
        ]
        hidden = problem(client.get(f"/projects/{project['id']}"), 404)
        missing = problem(client.get(f"/projects/{'0' * 32}"), 404)
        assert hidden == missing
        problem(client.delete(f"/projects/{project['id']}"), 404)


@pytest.mark.row("F167")
def test_a_newcomer_has_no_projects(service: ServiceProcess) -> None:
    name = f"newcomer-{uuid.uuid4().hex[:8]}"
    service.set_people({**service.people(), name: ["Data Scientists"]})
    create(service, "scientist", f"Not {name}")
    with service.client(name) as client:
        assert client.get("/projects").json() == {"items": [], "next_cursor": None}
        page = client.get(f"{service.url}/").text
    assert "There are no projects yet" in page


@pytest.mark.row("F187")
def test_a_project_can_be_edited_and_its_slug_stays(service: ServiceProcess) -> None:
    project = create(service, "scientist", "Before Edit")
    with service.client("scientist") as client:
        edited = client.patch(f"/projects/{project['id']}", json={"name": "After Edit", "goal": "x"}).json()
        assert (edited["name"], edited["goal"], edited["slug"]) == ("After Edit", "x", "before-edit")
        assert edited["customer_name"] == "Acme"
        problem(client.patch(f"/projects/{project['id']}", json={"slug": "other"}), 422)
        assert client.get(f"/projects/{project['id']}").json() == edited
    with service.client("engineer") as client:
        problem(client.patch(f"/projects/{project['id']}", json={"goal": "mine"}), 404)


@pytest.mark.row("F188")
def test_a_deleted_project_is_gone(service: ServiceProcess) -> None:
    project = create(service, "scientist", "To Delete")
    with service.client("scientist") as client:
        assert client.put(f"/projects/{project['id']}/collaborators/engineer").status_code == 200
        with service.client("engineer") as engineer:
            problem(engineer.delete(f"/projects/{project['id']}"), 403)
        file = f"/data-repos/{project['default_data_repo_id']}/files/kept.csv"
        assert client.put(file, content=b"a").status_code == 201
        assert client.delete(f"/projects/{project['id']}").status_code == 204
        problem(client.get(f"/projects/{project['id']}"), 404)
        problem(client.get(file), 404)
        assert project["id"] not in [
            item["id"] for item in client.get("/projects?limit=1000").json()["items"]
        ]
    assert (service.home / "volumes" / "to-delete-volume" / "kept.csv").read_bytes() == b"a"


@pytest.mark.row("F189", "F190", "F192", "F193", "F194", "F196", "F197", "F198")
def test_collaborators_come_and_go(service: ServiceProcess) -> None:
    project = create(service, "scientist", "Shared Work")
    path = f"/projects/{project['id']}/collaborators"
    with service.client("scientist") as client, service.client("engineer") as engineer:
        found = client.get("/users", params={"search": "eng", "group": "ML Engineers"}).json()["items"]
        assert [user["name"] for user in found] == ["engineer"]
        problem(engineer.get(f"/projects/{project['id']}"), 404)
        assert client.put(f"{path}/engineer").status_code == 200
        assert client.put(f"{path}/engineer").status_code == 200
        assert engineer.get(f"/projects/{project['id']}").status_code == 200
        assert [item["user_name"] for item in client.get(path).json()["items"]] == ["engineer", "scientist"]
        assert client.delete(f"{path}/engineer").status_code == 204
        problem(engineer.get(f"/projects/{project['id']}"), 404)


@pytest.mark.row("F189", "F200")
def test_collaborators_need_a_role_and_somebody_must_stay(service: ServiceProcess) -> None:
    project = create(service, "scientist", "Lonely")
    path = f"/projects/{project['id']}/collaborators"
    with service.client("scientist") as client:
        assert "role" in problem(client.put(f"{path}/admin"), 422)["detail"]
        problem(client.put(f"{path}/who-is-that"), 422)
        assert "Add another" in problem(client.delete(f"{path}/scientist"), 409)["hint"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"kpis": ["World peace"]}, "kpis"),
        ({"surprise": 1}, "surprise"),
        ({"customer_name": None}, "customer_name"),
        ({"data_repo": {"name": "r" * 65, "volume_name": "fine-name"}}, "data_repo.name"),
        ({"data_repo": {"name": "r", "volume_name": "Not Fine"}}, "volume_name"),
        ({"data_repo": {**REPO, "volume_option": "maybe"}}, "data_repo.volume_option"),
        ({"data_repo": {**REPO, "volume_account": "0" * 32}}, "volume_account"),
    ],
)
@pytest.mark.row("F179", "F181", "F183")
def test_bad_forms_name_the_field_and_leave_nothing(
    service: ServiceProcess, change: dict[str, Any], field: str
) -> None:
    with service.client("outsider") as client:
        before = client.get("/projects").json()["items"]
        document = problem(
            client.post("/projects", json={**project_form("Bad", "bad-volume"), **change}), 422
        )
        assert field in [error["field"] for error in document["errors"]]
        assert client.get("/projects").json()["items"] == before


def test_a_name_is_used_once_whatever_its_case(service: ServiceProcess) -> None:
    create(service, "scientist", "Taken Name")
    with service.client("outsider") as client:
        document = problem(client.post("/projects", json=project_form("taken NAME", "taken-two")), 409)
        assert document["errors"][0]["field"] == "name"


def test_case_is_compared_in_every_alphabet_and_may_change(service: ServiceProcess) -> None:
    project = create(service, "scientist", "Ölförderung", data_repo={**REPO, "volume_name": "oil-volume"})
    with service.client("outsider") as client:
        form = project_form("ÖLFÖRDERUNG", "oil-volume-two")
        document = problem(client.post("/projects", json=form), 409)
        assert document["errors"][0]["field"] == "name"
    with service.client("scientist") as client:
        for path, name in (
            (f"/projects/{project['id']}", "ÖLförderung"),
            (f"/data-repos/{project['default_data_repo_id']}", "R"),
        ):
            answer = client.patch(path, json={"name": name})
            assert answer.status_code == 200, answer.text
            assert answer.json()["name"] == name


@pytest.mark.row("F200")
def test_two_who_remove_each_other_do_not_both(service: ServiceProcess) -> None:
    with service.client("scientist") as scientist, service.client("reviewer") as reviewer:
        for number in range(5):
            project = create(service, "scientist", f"Duel {number}")
            path = f"/projects/{project['id']}/collaborators"
            assert scientist.put(f"{path}/reviewer").status_code == 200
            with ThreadPoolExecutor(2) as pool:
                pairs = ((scientist, "reviewer"), (reviewer, "scientist"))
                answers = list(pool.map(lambda pair, p=path: pair[0].delete(f"{p}/{pair[1]}"), pairs))
            assert sorted(answer.status_code for answer in answers)[0] == 204
            assert sorted(answer.status_code for answer in answers)[1] in (404, 409)


def test_many_first_requests_of_somebody_new_all_succeed(service: ServiceProcess) -> None:
    known = service.people()
    newcomers = [f"new-{number}" for number in range(3)]
    service.set_people({**known, **{name: ["Data Scientists"] for name in newcomers}})

    def ask(name: str) -> int:
        gate.wait()
        with service.client(name) as client:
            return client.get("/me").status_code

    gate = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        for name in newcomers:
            assert set(pool.map(ask, [name] * 8)) == {200}
    service.set_people(known)


def test_to_add_somebody_many_times_at_once_is_to_add_them(service: ServiceProcess) -> None:
    project = create(service, "scientist", "Crowded Door")
    with service.client("scientist") as client, ThreadPoolExecutor(6) as pool:
        path = f"/projects/{project['id']}/collaborators/engineer"
        assert {answer.status_code for answer in pool.map(client.put, [path] * 6)} == {200}


def test_lists_come_in_pages(service: ServiceProcess) -> None:
    made = {create(service, "reviewer", f"Paged {number}")["id"] for number in range(5)}
    seen: list[str] = []
    with service.client("reviewer") as client:
        cursor: str | None = None
        while True:
            query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            answer = client.get("/projects", params=query).json()
            assert len(answer["items"]) <= 2
            seen += [item["id"] for item in answer["items"]]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        problem(client.get("/projects", params={"cursor": "%%%"}), 422)
        problem(client.get("/projects", params={"limit": 0}), 422)
    assert len(seen) == len(set(seen))
    assert made <= set(seen)
