"""Names, forms and answers that the tests of data repos share."""

import uuid
from typing import Any

import httpx

MEGABYTE = 1024**2


def new_name(what: str = "data") -> str:
    return f"{what}-{uuid.uuid4().hex[:12]}"


def repo_form(**more: Any) -> dict[str, Any]:
    name = new_name("repo")
    return {"name": name, "volume_account": "local", "volume_option": "new", "volume_name": name, **more}


def repos(client: httpx.Client, project: dict[str, Any]) -> list[dict[str, Any]]:
    return list(client.get(f"/projects/{project['id']}/data-repos").json()["items"])


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return dict(answer.json())
