"""Credentials and the volume accounts they make."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from a360_hub_service.entities import Credential
from tests.support.s3 import S3Server, moto_server
from tests.support.service import ServiceProcess, free_port, project_form

ROLE = "arn:aws:iam::123456789012:role/notebooks"
SECRET = "a-secret-nobody-may-see"


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture
def admin(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("admin") as client:
        yield client


def new_name(what: str = "account") -> str:
    return f"{what}-{uuid.uuid4().hex[:12]}"


def form(moto: S3Server, **more: Any) -> dict[str, Any]:
    inputs = {**moto.inputs(account_id="123456789012"), **more.pop("inputs", {})}
    shared = {"name": new_name(), "description": "Buckets of the team", "groups": ["Data Scientists"]}
    return {**shared, "inputs": inputs, **more}


def create(admin: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = admin.post("/credentials", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def problem(answer: httpx.Response, status: int, field: str = "") -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = dict(answer.json())
    if field:
        assert field in [error["field"] for error in body["errors"]], body
    return body


def bucket_project(service: ServiceProcess, account_id: str) -> dict[str, Any]:
    """A project whose data repo is a bucket of the account."""
    body = project_form(new_name("Project"), new_name("bucket"))
    body["data_repo"]["volume_account"] = account_id
    with service.client("scientist") as client:
        answer = client.post("/projects", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.row("F023", "F078", "F082", "F084", "F085", "F086", "F087", "F097", "F098", "F099", "F100")
def test_an_account_is_added_and_its_keys_are_never_shown(
    service: ServiceProcess, admin: httpx.Client, moto: S3Server
) -> None:
    body = form(moto, inputs={"access_secret": SECRET, "access_key": "AKNEVER"})
    made = create(admin, body)
    assert (made["category"], made["service"], made["groups"]) == (
        "data_source",
        "aws_s3",
        ["Data Scientists"],
    )
    assert made["settings"] == {
        "account_id": "123456789012", "region": "us-east-1", "endpoint_url": moto.url, "role_arn": None,
    }  # fmt: skip
    assert made["last_connection"] is None
    path = f"/credentials/{made['id']}"
    for answer in (
        admin.get(path),
        admin.get("/credentials", params={"limit": 1000}),
        admin.patch(path, json={"description": "New"}),
        admin.post(f"{path}/test"),
        admin.post("/credentials", json=body),
        admin.post("/credentials", json={**body, "inputs": {**body["inputs"], "region": "?"}}),
    ):
        assert SECRET not in answer.text
        assert "AKNEVER" not in answer.text
    assert SECRET not in service.logged()
    database = service.database()
    with database.session(write=False) as session:
        row = session.get_one(Credential, made["id"])
        stored = json.dumps([row.settings, row.secret, row.last_connection])
    database.close()
    assert SECRET not in stored
    assert "AKNEVER" not in stored


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 129}, "name"),
        ({"description": ""}, "description"),
        ({"groups": []}, "groups"),
        ({"groups": ["Nobody knows"]}, "groups"),
        ({"service": "ftp"}, "service"),
        ({"category": "data_repo"}, "category"),
        ({"unknown": 1}, "unknown"),
        ({"inputs": {"access_key": "k", "access_secret": "s"}}, "inputs.region"),
        ({"inputs": {"region": "eu-west-1"}}, "inputs.access_key"),
    ],
)
def test_bad_forms_are_refused(
    admin: httpx.Client, moto: S3Server, change: dict[str, Any], field: str
) -> None:
    problem(admin.post("/credentials", json={**form(moto), **change}), 422, field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_id", "12"),
        ("region", "Not A Region"),
        ("endpoint_url", "ftp://storage"),
        ("endpoint_url", "http://user:password@storage"),
        ("endpoint_url", "http://my_storage"),
        ("endpoint_url", "http://storage:99999"),
        ("region", "7"),
        ("role_arn", "administrator"),
        ("access_secret", ""),
    ],
)
def test_bad_inputs_are_refused(admin: httpx.Client, moto: S3Server, field: str, value: str) -> None:
    problem(admin.post("/credentials", json=form(moto, inputs={field: value})), 422, f"inputs.{field}")


@pytest.mark.row("F084")
def test_names_are_unique(admin: httpx.Client, moto: S3Server) -> None:
    body = form(moto)
    made = create(admin, body)
    problem(admin.post("/credentials", json={**body, "name": body["name"].upper()}), 409, "name")
    other = create(admin, form(moto))
    problem(admin.patch(f"/credentials/{other['id']}", json={"name": body["name"]}), 409, "name")
    assert admin.patch(f"/credentials/{made['id']}", json={"name": body["name"].upper()}).status_code == 200


@pytest.mark.row("F026")
def test_only_administrators_manage_credentials(
    service: ServiceProcess, admin: httpx.Client, moto: S3Server
) -> None:
    made = create(admin, form(moto))
    for user in ("scientist", "engineer", "nobody"):
        with service.client(user) as client:
            for method, path in [
                ("GET", "/credentials"),
                ("POST", "/credentials"),
                ("GET", f"/credentials/{made['id']}"),
                ("GET", f"/credentials/{uuid.uuid4().hex}"),
                ("PATCH", f"/credentials/{made['id']}"),
                ("DELETE", f"/credentials/{made['id']}"),
                ("POST", f"/credentials/{made['id']}/test"),
            ]:
                assert client.request(method, path).status_code == 403, (user, method, path)


@pytest.mark.row("F075", "F089", "F090", "F091", "F092", "F093")
def test_credentials_are_listed_and_sorted(admin: httpx.Client, moto: S3Server) -> None:
    mark = uuid.uuid4().hex[:8]
    rows = {
        "b": create(admin, form(moto, name=f"{mark} b", groups=["Data Scientists", "Administrator"])),
        "a": create(admin, form(moto, name=f"{mark} A", groups=["ML Engineers"])),
    }
    assert admin.post(f"/credentials/{rows['b']['id']}/test").json()["ok"]

    def names(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = admin.get("/credentials", params={"limit": 2, **query}).json()
            found += [row["name"] for row in page["items"] if row["name"].startswith(mark)]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    assert names() == names(category="data_source", sort="name") == [f"{mark} A", f"{mark} b"]
    assert names(sort="group") == [f"{mark} b", f"{mark} A"]
    assert names(sort="last_connection") == [f"{mark} A", f"{mark} b"]
    assert names(category="data_repo") == []
    problem(admin.get("/credentials", params={"sort": "secret"}), 422)


@pytest.mark.row("F094")
def test_the_connection_is_tested(admin: httpx.Client, moto: S3Server) -> None:
    good = create(admin, form(moto))
    tested = admin.post(f"/credentials/{good['id']}/test").json()
    assert tested["ok"]
    assert admin.get(f"/credentials/{good['id']}").json()["last_connection"] == tested
    bad = create(admin, form(moto, inputs={"endpoint_url": f"http://127.0.0.1:{free_port()}"}))
    tested = admin.post(f"/credentials/{bad['id']}/test").json()
    assert not tested["ok"]
    assert "does not answer" in tested["message"]
    assert admin.get(f"/credentials/{bad['id']}").json()["last_connection"] == tested


@pytest.mark.row("F181", "F092")
def test_accounts_are_for_their_groups(service: ServiceProcess, admin: httpx.Client, moto: S3Server) -> None:
    theirs = create(admin, form(moto, groups=["ML Engineers"]))
    ours = create(admin, form(moto))
    with service.client("scientist") as client:
        seen = [item["id"] for item in client.get("/volume-accounts", params={"limit": 1000}).json()["items"]]
        assert ours["id"] in seen
        assert theirs["id"] not in seen
        body = project_form(new_name("Project"), new_name("bucket"))
        body["data_repo"]["volume_account"] = theirs["id"]
        problem(client.post("/projects", json=body), 422, "volume_account")


@pytest.mark.row("F077", "F076", "C02", "C03")
def test_a_repos_credential_follows_its_account(
    service: ServiceProcess, admin: httpx.Client, moto: S3Server
) -> None:
    account = create(admin, form(moto))
    project = bucket_project(service, account["id"])
    repo_id = project["default_data_repo_id"]
    derived = admin.get(f"/credentials/{repo_id}").json()
    assert (derived["category"], derived["service"]) == ("data_repo", "aws_s3")
    assert derived["name"] == f"{project['slug']}/{project['name']} data"
    listed = admin.get("/credentials", params={"category": "data_repo", "limit": 1000}).json()["items"]
    assert repo_id in [row["id"] for row in listed]
    assert admin.post(f"/credentials/{repo_id}/test").json()["ok"]
    for answer in (admin.patch(f"/credentials/{repo_id}", json={}), admin.delete(f"/credentials/{repo_id}")):
        problem(answer, 409)
    assert "data repo" in problem(admin.delete(f"/credentials/{account['id']}"), 409)["detail"]
    inputs = {"endpoint_url": "http://elsewhere"}
    problem(admin.patch(f"/credentials/{account['id']}", json={"inputs": inputs}), 409, "endpoint_url")
    changed = {"inputs": {"access_key": "rotated", "role_arn": ROLE}}
    assert admin.patch(f"/credentials/{account['id']}", json=changed).status_code == 200
    with service.client("scientist") as client:
        access = client.get(f"/data-repos/{repo_id}/access").json()
    assert access["session_token"], "an account with a role gives short-lived keys"
    assert access["expiration"]
    assert (
        admin.patch(f"/credentials/{account['id']}", json={"inputs": {"role_arn": None}}).status_code == 200
    )
    with service.client("scientist") as client:
        access = client.get(f"/data-repos/{repo_id}/access").json()
        assert (access["access_key"], access["secret_access_key"]) == ("rotated", moto.secret_key)
        assert access["session_token"] is None
        assert client.delete(f"/projects/{project['id']}").status_code == 204
    assert admin.get(f"/credentials/{repo_id}").status_code == 404
    assert admin.delete(f"/credentials/{account['id']}").status_code == 204
    problem(admin.get(f"/credentials/{account['id']}"), 404)


def test_a_bucket_is_one_repo_by_whatever_account(
    service: ServiceProcess, admin: httpx.Client, moto: S3Server
) -> None:
    project = bucket_project(service, create(admin, form(moto))["id"])
    other = create(admin, form(moto))
    with service.client("scientist") as client:
        repo = client.get(f"/data-repos/{project['default_data_repo_id']}").json()
        body = {
            "name": "again", "volume_account": other["id"], "volume_option": "existing",
            "volume_name": repo["volume_name"],
        }  # fmt: skip
        problem(client.post(f"/projects/{project['id']}/data-repos", json=body), 409, "volume_name")


@pytest.mark.row("F095", "F096")
def test_what_is_left_out_of_a_change_stays(
    service: ServiceProcess, admin: httpx.Client, moto: S3Server
) -> None:
    made = create(admin, form(moto, inputs={"role_arn": ROLE}))
    edited = admin.patch(f"/credentials/{made['id']}", json={"groups": ["ML Engineers"]}).json()
    assert edited["groups"] == ["ML Engineers"]
    assert edited["settings"] == made["settings"]
    assert edited["description"] == made["description"]
    assert admin.delete(f"/credentials/{made['id']}").status_code == 204
