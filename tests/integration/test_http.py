"""What every route has in common: who asks, limits, headers, problems."""

import fcntl
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.test_projects import problem
from tests.support.service import ServiceProcess, project_form, wait_for


def test_without_a_token_nothing_opens(service: ServiceProcess) -> None:
    answer = httpx.get(f"{service.api_url}/projects")
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    problem(httpx.get(f"{service.api_url}/projects", headers={"Authorization": "Bearer wrong"}), 401)


def test_health_needs_nobody(service: ServiceProcess) -> None:
    assert httpx.get(f"{service.url}/health").json()["status"] == "ok"


@pytest.mark.row("F027", "F047")
def test_an_admin_without_another_role_sees_no_projects(service: ServiceProcess) -> None:
    with service.client("admin") as client:
        assert client.get("/me").json()["roles"] == ["client_admin"]
        problem(client.get("/projects"), 403)


@pytest.mark.row("F022", "F025")
def test_roles_follow_groups_at_once(fresh_service: ServiceProcess) -> None:
    with fresh_service.client("nobody") as client:
        problem(client.get("/projects"), 403)
        fresh_service.set_people({"nobody": ["Data Scientists", "ML Engineers"]})
        assert client.get("/me").json()["roles"] == ["data_scientist", "ml_engineer"]
        assert client.get("/projects").status_code == 200


def test_what_is_not_there_and_what_cannot_be_done(service: ServiceProcess) -> None:
    with service.client("scientist") as client:
        problem(client.get("/nothing/here"), 404)
        answer = client.put("/projects")
        problem(answer, 405)
        assert answer.headers["Allow"] == "GET, POST"


def test_bad_json_and_large_bodies(service: ServiceProcess) -> None:
    with service.client("scientist") as client:
        problem(client.post("/projects", content=b"{not json"), 400)
        problem(client.post("/projects", content=b"x" * (1024 * 1024 + 1)), 413)
        problem(client.post("/projects", content=iter([b"x" * 700_000] * 2)), 413)
        problem(client.post("/projects", content=b"[]"), 422)
        assert client.get("/me").status_code == 200


def test_headers_of_every_answer(service: ServiceProcess) -> None:
    with service.client("scientist") as client:
        for path in ("/me", "/nothing", "/projects"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"


def test_the_start_page_shows_projects_and_escapes_what_people_type(service: ServiceProcess) -> None:
    with service.client("scientist") as client:
        client.post("/projects", json=project_form("<script>alert(1)</script>", "script-volume"))
        page = client.get(f"{service.url}/")
    assert page.status_code == 200
    assert "text/html" in page.headers["Content-Type"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert not re.search(r"<script", page.text)


def test_the_document_of_the_api_is_served(service: ServiceProcess) -> None:
    document = httpx.get(f"{service.api_url}/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert "/projects/{project_id}" in document["paths"]


@pytest.mark.row("F169")
def test_pages_of_what_is_not_there_say_so_in_words(service: ServiceProcess) -> None:
    with service.client("scientist") as client:
        page = client.get(f"{service.url}/models/{'0' * 32}")
    assert page.status_code == 404
    assert "There is no such model." in page.text
    assert "Back to your projects" in page.text


def test_a_page_asked_for_too_early_says_so_in_words(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path / "home")
    lock = tmp_path / "home" / "service" / "jobs.lock"

    def early() -> httpx.Response:
        return httpx.get(f"{service.url}/", headers={"Authorization": "Bearer test-scientist"})

    with lock.open("w") as other, ThreadPoolExecutor(1) as pool:
        # The service waits for the one before it to end.
        fcntl.flock(other, fcntl.LOCK_EX)
        starting = pool.submit(service.start)
        try:
            page = wait_for(early)
            assert page.status_code == 503
            assert "text/html" in page.headers["Content-Type"]
            assert "The service is starting." in page.text
        finally:
            fcntl.flock(other, fcntl.LOCK_UN)
            starting.result(30).stop()
