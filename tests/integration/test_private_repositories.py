"""Private repositories through the API: whose credential opens them, and what is shown of it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.delivery import Delivery, delivery_service, ok
from tests.support.git_server import GitServer, git, git_server
from tests.support.github_server import APP_ID, GitHubServer, github_server, private_key_text
from tests.support.service import ServiceProcess

TOKEN = "a-token-of-the-server"
CONFIG = "c.GitSource.allow_http_urls = True\nc.GitSource.allowed_hosts = ['127.0.0.1']\n"
TEAM = ["ML Engineers"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    root = tmp_path_factory.mktemp("git")
    with git_server(root) as running:
        running.guarded = ("/acme", "/private")
        yield running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with delivery_service(tmp_path_factory.mktemp("service"), CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def delivery(service: ServiceProcess, server: GitServer) -> Delivery:
    made = Delivery(service, server.root).approve()
    (server.root / "acme").mkdir()
    (server.root / "model.git").rename(server.root / "acme" / "churn.git")
    made.repository = f"{server.url}/acme/churn.git"
    return made


@pytest.fixture
def admin(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("admin") as client:
        yield client
        for row in ok(client.get("/credentials", params={"category": "api_token"}))["items"]:
            ok(client.delete(f"/credentials/{row['id']}"))


def token_form(server: GitServer, **changes: Any) -> dict[str, Any]:
    inputs = {
        "base_url": server.url,
        "username": "reader",
        "token": TOKEN,
        "test_repository": f"{server.url}/acme/churn.git",
    }
    shared = {"name": "Git of the company", "description": "Scripts", "groups": TEAM, "service": "git_token"}
    return shared | {"inputs": inputs | changes.pop("inputs", {})} | changes


def fetched(delivery: Delivery, **form: Any) -> tuple[dict[str, Any], str]:
    """Package with a script that is not there: the job ends after the repository was fetched, or was not."""
    job = delivery.package(script_name="none.py", **form)
    return job, delivery.log(job["id"])


@pytest.mark.row("F082", "F087", "F092", "F094", "F106", "F292")
def test_a_token_opens_a_repository_for_its_groups(
    admin: httpx.Client, server: GitServer, service: ServiceProcess, delivery: Delivery
) -> None:
    job, _ = fetched(delivery)
    assert job["error"] == (
        f"The server 127.0.0.1 asks for a sign-in for {delivery.repository}, or has no such repository."
    )
    made = admin.post("/credentials", json=token_form(server, inputs={"token": "wrong-word"})).json()
    path = f"/credentials/{made['id']}"
    assert made["settings"] == {
        "base_url": server.url,
        "username": "reader",
        "test_repository": f"{server.url}/acme/churn.git",
    }
    found = ok(admin.post(f"{path}/test"))
    assert (found["ok"], "does not accept the credential" in found["message"]) == (False, True)
    ok(admin.patch(path, json={"inputs": {"token": TOKEN}}))
    found = ok(admin.post(f"{path}/test"))
    assert found["message"] == f"The connection works. The token opens {server.url}/acme/churn.git."
    with service.client("engineer") as engineer, service.client("scientist") as scientist:
        (offered,) = ok(engineer.get("/repository-accounts"))["items"]
        assert offered == {
            "id": made["id"],
            "name": "Git of the company",
            "description": "Scripts",
            "kind": "git_token",
            "base_url": server.url,
        }
        assert ok(scientist.get("/repository-accounts"))["items"] == []

    job, log = fetched(delivery, branch="main")
    assert "has no file none.py" in job["error"]
    assert "Using the credential “Git of the company”." in log
    with service.client("engineer") as engineer:
        package = ok(engineer.get(f"/models/{delivery.model_id}/packages"))["items"][0]
    head = git(server.root / "acme" / "churn.git", "rev-parse", "main")
    assert (package["commit"], package["ref"]) == (head, "refs/heads/main")
    assert not {"registry", "repository_credential"} & set(package["form"])
    stored = [path.read_bytes() for path in (service.home / "service").rglob("*") if path.is_file()]
    texts = [log, service.logged(), admin.get("/credentials").text, admin.get(path).text, str(package)]
    for word in (TOKEN, "wrong-word"):
        assert not [text for text in texts if word in text]
        assert not [content for content in stored if word.encode() in content]


@pytest.mark.row("F092", "F106")
def test_which_credential_a_form_gets(admin: httpx.Client, server: GitServer, delivery: Delivery) -> None:
    delivery = Delivery(delivery.service, server.root / "second").approve()
    delivery.repository = f"{server.url}/acme/churn.git"
    ok(admin.post("/credentials", json=token_form(server, name="Others", groups=["Data Scientists"])))
    part = {"base_url": f"{server.url}/acme/churn"}
    ok(
        admin.post(
            "/credentials", json=token_form(server, name="A", inputs={"base_url": f"{server.url}/acme"})
        )
    )
    ok(
        admin.post(
            "/credentials", json=token_form(server, name="B", inputs={"base_url": f"{server.url}/acme/"})
        )
    )
    for form, said in (
        ({"repository_account": "Others"}, "is none that you may use"),
        (
            {"repository_account": "A", "repository": f"{server.url}/acmeother/x.git"},
            "is for repositories below",
        ),
        (
            {"repository_account": "A", "repository": f"{server.url}/acme/../x.git"},
            "is for repositories below",
        ),
        ({"repository_account": "A", "repository": "https://example.org/acme/x.git"}, "not a host that"),
        ({}, "several are for this repository: A, B"),
    ):
        with delivery.service.client("engineer") as client:
            answer = client.post(f"/models/{delivery.model_id}/package", json=delivery.form(**form))
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert said in error["message"]
    answer = admin.post("/credentials", json=token_form(server, name="C", inputs=part))
    assert answer.json()["errors"][0]["field"] == "inputs.test_repository"
    job, log = fetched(delivery, repository_account="B")
    assert "has no file none.py" in job["error"]
    assert "Using the credential “B”." in log
    assert "“A”" not in log


@pytest.mark.row("F149", "F150", "F151", "F156", "F157")
def test_a_github_app_opens_what_it_is_installed_on(
    admin: httpx.Client, server: GitServer, delivery: Delivery
) -> None:
    delivery = Delivery(delivery.service, server.root / "third").approve()
    with github_server() as github:
        server.allows = github.opens
        delivery.repository = f"{server.url}/acme/churn.git"
        form = app_form(server, github)
        wrong = admin.post("/credentials", json=form | {"inputs": form["inputs"] | {"private_key": "secret"}})
        assert wrong.json()["errors"][0]["field"] == "inputs.private_key"
        made = ok(admin.post("/credentials", json=form))
        assert "private_key" not in str(made)
        found = ok(admin.post(f"/credentials/{made['id']}/test"))
        assert "is not installed anywhere" in found["message"]
        job, log = fetched(delivery)
        assert "is not installed on this repository; asking without it." in log
        assert "asks for a sign-in" in job["error"]
        job, _ = fetched(delivery, repository_account=made["name"])
        assert (
            job["error"]
            == f"The GitHub App of the credential “GitHub” is not installed on {delivery.repository}."
        )
        github.installed.add("acme/churn")
        assert ok(admin.post(f"/credentials/{made['id']}/test"))["ok"]
        job, log = fetched(delivery)
        assert "has no file none.py" in job["error"]
        assert "Using the GitHub App of the credential “GitHub”." in log
        ok(admin.delete(f"/credentials/{made['id']}"))
        assert not [token for token in github.tokens if token in delivery.service.logged() + log]


def app_form(server: GitServer, github: GitHubServer) -> dict[str, Any]:
    inputs = {
        "base_url": server.url,
        "app_id": int(APP_ID),
        "private_key": private_key_text(github.key),
        "api_url": github.url,
    }
    return {"name": "GitHub", "description": "x", "groups": TEAM, "service": "github_app", "inputs": inputs}
