"""Clusters as credentials: pasted, checked, given to groups, named on the form to publish."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.kubeconfigs import eks_template, token_template
from tests.support.service import ServiceProcess, free_port

SECRET = "s3cret-of-the-serving-account"


@pytest.fixture
def admin(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("admin") as client:
        yield client


def form(kubeconfig: str, **changes: Any) -> dict[str, Any]:
    inputs = {"kubeconfig": kubeconfig} | changes.pop("inputs", {})
    shared = {
        "name": f"cluster-{uuid.uuid4().hex[:12]}",
        "description": "Serving",
        "groups": ["ML Engineers"],
    }
    return shared | {"category": "deployment_target", "service": "kubernetes", "inputs": inputs} | changes


def create(admin: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = admin.post("/credentials", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def targets(service: ServiceProcess, who: str) -> dict[str, Any]:
    with service.client(who) as client:
        return {each["name"]: each for each in client.get("/targets").raise_for_status().json()["items"]}


@pytest.mark.row(*("F080", "F111", "F112", "F113", "F114", "F115", "F116", "F117", "F118", "F119", "C15"))
@pytest.mark.row("F120", "F122", "F123", "F124", "F125", "F126")
def test_a_cluster_is_pasted_tested_changed_and_removed(service: ServiceProcess, admin: httpx.Client) -> None:
    port = free_port()
    text = eks_template("v1alpha1", server=f"https://10.255.255.1:{port}", secret=SECRET)
    made = create(admin, form(text))
    path = f"/credentials/{made['id']}"
    settings = made["settings"]
    assert (settings["server"], settings["cluster"]) == (f"https://10.255.255.1:{port}", "c")
    assert settings["expose"] == "gateway"
    assert "v1alpha1, which clusters no longer know; it is now v1" in settings["notes"][0]
    listed = admin.get("/credentials", params={"category": "deployment_target", "sort": "group"}).json()[
        "items"
    ]
    assert made["id"] in [each["id"] for each in listed]

    # Only members of its groups may choose it, and it says what its last test found.
    assert targets(service, "engineer")[made["name"]]["reason"] == "It was not used yet."
    assert made["name"] not in targets(service, "scientist")

    # A token changes who asks; the note belonged to the text before.
    changed = {"inputs": {"kubeconfig": token_template(f"https://127.0.0.2.example.invalid:{port}", SECRET)}}
    answer = admin.patch(path, json=changed)
    assert answer.status_code == 200, answer.text
    assert answer.json()["settings"]["notes"] == []
    tested = admin.post(f"{path}/test").json()
    assert not tested["ok"]
    assert "does not answer" in tested["message"]
    shown = targets(service, "engineer")[made["name"]]
    assert (shown["available"], shown["reason"]) == (False, tested["message"])
    for seen in (admin.get(path).text, admin.get("/credentials").text, service.logged()):
        assert SECRET not in seen
    assert admin.delete(path).status_code == 204
    assert made["name"] not in targets(service, "engineer")


@pytest.mark.row("F119", "F124")
@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (form("a: ["), "inputs.kubeconfig", "is not YAML"),
        (form("x"), "inputs.kubeconfig", "is not a YAML mapping"),
        (form(""), "inputs.kubeconfig", "at least 1 character"),
        (form("x" * 70_000), "inputs.kubeconfig", "at most 65536"),
        (form(token_template("https://c", "<token>")), "inputs.kubeconfig", "users[0].user.token: is still"),
        (form(token_template("https://127.0.0.1", "t")), "inputs.kubeconfig", "platform's own machine"),
        (form(eks_template(command="sh")), "inputs.kubeconfig", "users[0].user.exec.command: is 'sh'"),
        (form(token_template("https://c", "t"), inputs={"expose": "ingress"}), "inputs.host", "is required"),
        (
            form(token_template("https://c", "t"), inputs={"expose": "http_route", "host": "a.example.org"}),
            "inputs.gateway_ref",
            "is required",
        ),
        (form(token_template("https://c", "t"), inputs={"server": "x"}), "inputs.server", "not permitted"),
        (form(token_template("https://c", "t"), name="docker"), "name", "a target of its own"),
    ],
)
def test_what_is_refused_is_named_and_leaves_nothing(
    admin: httpx.Client, body: dict[str, Any], field: str, words: str
) -> None:
    answer = admin.post("/credentials", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert field in [error["field"] for error in problem["errors"]], problem
    assert words in json.dumps(problem, ensure_ascii=False), problem
    names = [each["name"] for each in admin.get("/credentials").json()["items"]]
    assert body["name"] not in names
