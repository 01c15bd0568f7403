"""Data repos: made, edited, made default, forgotten."""

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from a360_hub_service.entities import Artifact, Credential, DataRepo, Experiment, Model, Run
from tests.support.data import new_name, problem, repo_form, repos
from tests.support.service import ServiceProcess, project_form


@pytest.mark.row("F077", "F178", "F180", "F185", "C02")
def test_a_project_comes_with_its_default_repo_and_credential(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any]
) -> None:
    (repo,) = repos(client, project)
    assert repo["id"] == project["default_data_repo_id"]
    assert repo["is_default"]
    assert (repo["storage_provider"], repo["volume_account"], repo["volume_region"]) == (
        "local",
        "local",
        None,
    )
    with service.client("admin") as admin:
        credential = admin.get(f"/credentials/{repo['id']}").json()
    assert (credential["category"], credential["service"]) == ("data_repo", "local")
    assert credential["settings"]["volume_name"] == repo["volume_name"]


@pytest.mark.row("F181", "F207")
def test_this_machine_is_a_volume_account(client: httpx.Client) -> None:
    accounts = client.get("/volume-accounts").json()["items"]
    assert accounts[0]["id"] == "local"
    assert accounts[0]["name"] == "This machine"


@pytest.mark.row("F186", "F201", "F202", "F203", "F205", "F206", "F208", "F211")
def test_further_repos_are_not_default_until_they_are_made_so(
    client: httpx.Client, project: dict[str, Any]
) -> None:
    answer = client.post(f"/projects/{project['id']}/data-repos", json=repo_form(description="More"))
    assert answer.status_code == 201, answer.text
    more = answer.json()
    assert not more["is_default"]
    assert [repo["is_default"] for repo in repos(client, project)] == [False, True]
    assert client.post(f"/data-repos/{more['id']}/default").json()["is_default"]
    assert [repo["is_default"] for repo in repos(client, project)] == [True, False]
    assert client.post(f"/data-repos/{more['id']}/default").status_code == 200
    assert client.get(f"/projects/{project['id']}").json()["default_data_repo_id"] == more["id"]


@pytest.mark.row("F179", "F204")
def test_a_name_has_at_most_64_characters(client: httpx.Client, project: dict[str, Any]) -> None:
    path = f"/projects/{project['id']}/data-repos"
    assert client.post(path, json=repo_form(name="n" * 64)).status_code == 201
    refused = problem(client.post(path, json=repo_form(name="n" * 65)), 422)
    assert refused["errors"][0]["field"] == "name"
    form = project_form(new_name("P"), new_name("v"))
    form["data_repo"]["name"] = "n" * 65
    assert problem(client.post("/projects", json=form), 422)["errors"][0]["field"] == "data_repo.name"
    repo = repos(client, project)[0]
    problem(client.patch(f"/data-repos/{repo['id']}", json={"name": "n" * 65}), 422)


@pytest.mark.row("F183", "F209", "C01")
@pytest.mark.parametrize(
    "name",
    ["My Volume", "UPPER", "under_score", "-dash", "dash-", "ab", "v" * 64, "../up", "dot.ted", "ü-volume"],
)
def test_volume_names_follow_the_rules_of_buckets(
    client: httpx.Client, project: dict[str, Any], name: str
) -> None:
    form = repo_form(volume_name=name)
    refused = problem(client.post(f"/projects/{project['id']}/data-repos", json=form), 422)
    assert refused["errors"][0]["field"] == "volume_name"


@pytest.mark.row("F182")
def test_one_volume_is_one_repo(client: httpx.Client, project: dict[str, Any]) -> None:
    path, form = f"/projects/{project['id']}/data-repos", repo_form()
    assert client.post(path, json=form).status_code == 201
    again = {**form, "name": new_name("other")}
    assert problem(client.post(path, json=again), 409)["errors"][0]["field"] == "volume_name"
    problem(client.post(path, json={**again, "volume_option": "existing"}), 409)
    same_name = repo_form(name=form["name"].upper())
    assert problem(client.post(path, json=same_name), 409)["errors"][0]["field"] == "name"


@pytest.mark.row("F182", "F208")
def test_an_existing_volume_has_to_exist(client: httpx.Client, project: dict[str, Any], folder: Path) -> None:
    path, form = f"/projects/{project['id']}/data-repos", repo_form(volume_option="existing")
    assert problem(client.post(path, json=form), 422)["errors"][0]["field"] == "volume_name"
    volume = folder.parent / form["volume_name"]
    volume.mkdir()
    (volume / "data.csv").write_text("a,b\n")
    repo = client.post(path, json=form).json()
    assert client.get(f"/data-repos/{repo['id']}/files/data.csv").text == "a,b\n"


def test_a_repo_that_cannot_be_made_leaves_no_volume(client: httpx.Client, folder: Path) -> None:
    form = project_form(new_name("P"), new_name("v"))
    assert client.post("/projects", json=form).status_code == 201
    volume = new_name("second")
    again = project_form(form["name"], volume)
    problem(client.post("/projects", json=again), 409)
    assert not (folder.parent / volume).exists()


def test_an_account_that_is_not_the_callers(client: httpx.Client, project: dict[str, Any]) -> None:
    for account in ("nowhere", uuid.uuid4().hex, project["default_data_repo_id"]):
        form = repo_form(volume_account=account)
        refused = problem(client.post(f"/projects/{project['id']}/data-repos", json=form), 422)
        assert refused["errors"][0]["field"] == "volume_account"


def test_repos_are_edited(service: ServiceProcess, client: httpx.Client, project: dict[str, Any]) -> None:
    path = f"/data-repos/{project['default_data_repo_id']}"
    name = new_name("renamed")
    edited = client.patch(path, json={"name": name, "description": "New"}).json()
    assert (edited["name"], edited["description"]) == (name, "New")
    assert client.get(path).json() == edited
    with service.client("admin") as admin:
        assert admin.get(f"/credentials/{edited['id']}").json()["name"].endswith(f"/{name}")
    problem(client.patch(path, json={"volume_name": "other"}), 422)


def test_repos_are_forgotten_and_their_volumes_stay(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any], folder: Path
) -> None:
    form = repo_form()
    repo = client.post(f"/projects/{project['id']}/data-repos", json=form).json()
    client.put(f"/data-repos/{repo['id']}/files/data", content=b"kept")
    assert client.delete(f"/data-repos/{repo['id']}").status_code == 204
    problem(client.get(f"/data-repos/{repo['id']}"), 404)
    assert (folder.parent / form["volume_name"] / "data").read_bytes() == b"kept"
    with service.client("admin") as admin:
        problem(admin.get(f"/credentials/{repo['id']}"), 404)
    default = project["default_data_repo_id"]
    assert "default" in problem(client.delete(f"/data-repos/{default}"), 409)["detail"]


def test_a_projects_credentials_go_with_it(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any]
) -> None:
    assert client.delete(f"/projects/{project['id']}").status_code == 204
    database = service.database()
    with database.session(write=False) as session:
        assert session.get(Credential, project["default_data_repo_id"]) is None
    database.close()


def add_artifact(service: ServiceProcess, repo_id: str, key: str) -> None:
    """A finished run with one artifact, as a notebook leaves it."""
    database = service.database()
    with database.session() as session:
        repo = session.get_one(DataRepo, repo_id)
        model = Model(project_id=repo.project_id, model_name=new_name("m"), created_by="scientist")
        session.add(model)
        session.flush()
        experiment = Experiment(
            model_id=model.id,
            experiment_name="e",
            model_flavor="sklearn",
            input_signature="",
            output_signature="",
            created_by="scientist",
        )
        session.add(experiment)
        session.flush()
        run = Run(
            experiment_id=experiment.id,
            status="finished",
            data_repo_id=repo.id,
            artifact_prefix="Projects",
            created_by="scientist",
        )
        session.add(run)
        session.flush()
        session.add(
            Artifact(run_id=run.id, name="trained_model", kind="model", file_key=key, size=1, sha256="0" * 64)
        )
    database.close()


def test_what_runs_refer_to_is_kept(
    service: ServiceProcess, client: httpx.Client, project: dict[str, Any]
) -> None:
    repo = client.post(f"/projects/{project['id']}/data-repos", json=repo_form()).json()
    path, key = f"/data-repos/{repo['id']}", "Projects/m_1/model.onnx"
    client.put(f"{path}/files/{key}", content=b"m")
    add_artifact(service, repo["id"], key)
    assert "run" in problem(client.delete(path), 409)["detail"]
    problem(client.delete(f"{path}/files/{key}"), 409)
    problem(client.delete(f"{path}/files/Projects", params={"recursive": True}), 409)
    problem(client.put(f"{path}/files/{key}", content=b"other"), 409)
    assert client.get(f"{path}/files/{key}").content == b"m"
    client.put(f"{path}/files/Projects/mx1/model.onnx", content=b"other")
    assert client.delete(f"{path}/files/Projects/mx1", params={"recursive": True}).status_code == 204


@pytest.mark.row("F028")
def test_others_see_nothing(service: ServiceProcess, project: dict[str, Any], files: str) -> None:
    repo = project["default_data_repo_id"]
    with service.client("outsider") as outsider, service.client("engineer") as engineer:
        for client in (outsider, engineer):
            for method, path in [
                ("GET", f"/data-repos/{repo}"),
                ("PATCH", f"/data-repos/{repo}"),
                ("DELETE", f"/data-repos/{repo}"),
                ("POST", f"/data-repos/{repo}/default"),
                ("GET", f"/data-repos/{repo}/access"),
                ("GET", files),
                ("GET", f"{files}/x"),
                ("PUT", f"{files}/x"),
                ("DELETE", f"{files}/x"),
                ("GET", f"/projects/{project['id']}/data-repos"),
            ]:
                assert client.request(method, path).status_code == 404, (method, path)
            assert client.head(f"{files}/x").status_code == 404
