"""The kit when the service refuses, is away, or is cut in the middle of a close."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from a360mdk import client as client_module
from a360mdk import exceptions
from a360mdk.client import Client
from a360mdk.exceptions import GraphQLError, ModelError, RunError
from tests.kit.conftest import Workspace, make_workspace
from tests.support.service import ServiceProcess, free_port

Answer = tuple[int, dict[str, str], bytes]
ROWS = np.random.default_rng(0).normal(size=(60, 3))
TARGET = (ROWS[:, 0] > 0).astype(int)


@contextmanager
def gateway(answers: Callable[[str, str, bytes], Answer | None]) -> Iterator[str]:
    """A server in front: answers by itself, or drops the connection for None."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers(self.command, self.path, body)
            if answer is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, *given: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def as_json(status: int, document: Any) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


@pytest.mark.row(*(f"M{number}" for number in range(162, 174)))
def test_exceptions() -> None:
    names = [name for name in vars(exceptions) if name.endswith("Error")]
    assert len(names) == 12
    for name in names:
        kind = getattr(exceptions, name)
        assert kind.__bases__ == (Exception,)
        error = kind("What.", "Why.", "Do this.", code="c", status=409)
        assert str(error) == "What.\nWhy.\nDo this."
        assert (error.hint, error.code, error.status) == ("Do this.", "c", 409)
        assert str(kind("What.")) == "What."


def test_problem_documents_become_exceptions() -> None:
    problem = {
        "title": "Invalid",
        "status": 422,
        "detail": "Two fields are wrong.",
        "code": "invalid",
        "hint": "Correct them.",
        "errors": [{"field": "version", "message": "too long"}],
    }
    answer = (422, {"Content-Type": "application/problem+json"}, json.dumps(problem).encode())
    with gateway(lambda *given: answer) as url, pytest.raises(ModelError) as caught:
        Client(url, "secret-token").get("/x", ModelError)
    assert str(caught.value) == "Invalid\nTwo fields are wrong.\nversion: too long\nCorrect them."
    once = {**problem, "detail": "version: too long"}
    answer = (422, {"Content-Type": "application/problem+json"}, json.dumps(once).encode())
    with gateway(lambda *given: answer) as url, pytest.raises(ModelError) as caught:
        Client(url, "secret-token").get("/x", ModelError)
    assert str(caught.value) == "Invalid\nversion: too long\nCorrect them."
    assert (caught.value.status, caught.value.code) == (422, "invalid")
    assert "secret-token" not in repr(caught.value)


NOT_THE_API = [
    ((200, {}, b"<html>"), GraphQLError),
    ((302, {"Location": "/hub/login"}, b""), ModelError),
    ((401, {}, b"no"), ModelError),
]


@pytest.mark.row("M170")
@pytest.mark.parametrize(("answer", "error"), NOT_THE_API)
def test_answers_that_are_not_the_api(answer: Answer, error: type[Exception]) -> None:
    with (
        gateway(lambda *given: answer) as url,
        pytest.raises(error, match=r"A360_API_URL|stop the workspace"),
    ):
        Client(url, "t").get("/x", ModelError)


def test_only_what_may_be_repeated_is_repeated(monkeypatch: Any) -> None:
    monkeypatch.setattr(client_module.time, "sleep", lambda seconds: None)
    calls: list[str] = []

    def drop_two(method: str, path: str, body: bytes) -> Answer | None:
        calls.append(method)
        return None if len(calls) < 3 else as_json(200, {"n": len(calls)})

    with gateway(drop_two) as url:
        assert Client(url, "t").get("/x", ModelError) == {"n": 3}
        calls.clear()
        with pytest.raises(ModelError, match="did not answer"):
            Client(url, "t").post("/x", ModelError)
        assert calls == ["POST"]
        calls.clear()
        assert Client(url, "t").post("/x", ModelError, repeatable=True) == {"n": 3}
    with gateway(lambda *given: (503, {}, b"")) as url, pytest.raises(ModelError, match="503"):
        Client(url, "t").get("/x", ModelError)


def test_an_answer_that_breaks_off_is_a_lost_one(monkeypatch: Any) -> None:
    monkeypatch.setattr(client_module.time, "sleep", lambda seconds: None)
    answers = [(200, {"Content-Length": "100"}, b'{"half":'), as_json(200, {"whole": True})]
    with gateway(lambda *given: answers.pop(0)) as url:
        assert Client(url, "t").get("/x", ModelError) == {"whole": True}


@pytest.mark.parametrize("address", ["hub.example.org/services/a360", "http://", "ftp://hub.example.org"])
def test_what_is_not_an_address_says_so(address: str) -> None:
    with pytest.raises(ModelError, match="this is not an address"):
        Client(address, "t").get("/x", ModelError)


def test_what_json_has_no_word_for_is_not_sent() -> None:
    calls: list[str] = []

    def count(method: str, path: str, body: bytes) -> Answer:
        calls.append(path)
        return as_json(200, {})

    with gateway(count) as url:
        for value in (float("nan"), float("inf")):
            with pytest.raises(ModelError, match=r"was not asked.*\n.*JSON compliant[^\n]*\n.*None"):
                Client(url, "t").patch("/x", ModelError, {"baseline": {"a": {"mean": value}}})
    assert calls == []


def test_pages_are_walked() -> None:
    def pages(method: str, path: str, body: bytes) -> Answer:
        first = "cursor=" not in path
        return as_json(200, {"items": [1, 2] if first else [3], "next_cursor": "c&1" if first else None})

    with gateway(pages) as url:
        assert list(Client(url, "t").items("/x", ModelError)) == [1, 2, 3]


@pytest.fixture
def own(
    fresh_service: ServiceProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    """A workspace on a service that the test may kill."""
    made = make_workspace(fresh_service, tmp_path / "user", monkeypatch)
    yield made
    made.close()


@contextmanager
def calling(workspace: Workspace, url: str) -> Iterator[None]:
    """Let the kit call another address for a while."""
    workspace.ai.client.base_url = url
    yield
    workspace.ai.client.base_url = workspace.service.api_url


def forwarded(workspace: Workspace, method: str, path: str, body: bytes) -> Answer:
    """Ask the real service."""
    headers = {"Authorization": "token test-scientist", "Content-Type": "application/json"}
    answer = httpx.request(
        method, workspace.service.api_url + path, content=body, headers=headers, timeout=30
    )
    return answer.status_code, {"Content-Type": answer.headers["Content-Type"]}, answer.content


def an_experiment(workspace: Workspace) -> Any:
    model = workspace.ai.get_or_create_model("m")
    return model.get_or_create_experiment("e", "sklearn", ROWS, TARGET)


def test_a_service_that_dies_before_the_close_leaves_nothing(own: Workspace) -> None:
    folder = own.repo_folder
    experiment = an_experiment(own)
    run = experiment.run_experiment()

    def cell() -> None:
        with run:
            run.log_model(LogisticRegression().fit(ROWS, TARGET))
            own.service.kill()

    with pytest.raises(RunError, match=r"not logged.*\n.*no connection"):
        cell()
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    own.service.start()
    stored = own.client.get(f"/runs/{run.id}").json()
    assert (stored["status"], stored["artifacts"]) == ("running", [])
    assert experiment.list_runs().empty


def test_an_answer_lost_in_the_close_is_asked_for_again(own: Workspace, monkeypatch: Any) -> None:
    lost: list[str] = []

    def forward(method: str, path: str, body: bytes) -> Answer | None:
        answer = forwarded(own, method, path, body)
        if path.endswith("/finish") and not lost:
            lost.append(path)
            return None  # done, but nobody hears of it
        return answer

    with gateway(forward) as url, calling(own, url):
        experiment = an_experiment(own)
        with experiment.run_experiment() as run:
            run.log_model(LogisticRegression().fit(ROWS, TARGET))
    assert lost
    assert own.client.get(f"/runs/{run.id}").json()["status"] == "finished"
    assert len(own.files()) == 2


def test_when_it_is_not_known_whether_it_was_registered_the_files_stay(
    own: Workspace, monkeypatch: Any
) -> None:
    monkeypatch.setattr(client_module.time, "sleep", lambda seconds: None)

    def forward(method: str, path: str, body: bytes) -> Answer | None:
        if path.endswith("/finish") and cut:
            return None
        answer = forwarded(own, method, path, body)
        if path.endswith("/finish"):
            cut.append(path)
            return None
        return answer

    cut: list[str] = []
    with gateway(forward) as url, calling(own, url):
        experiment = an_experiment(own)
        with (
            pytest.raises(RunError, match="answer of the A360 service was lost"),
            experiment.run_experiment() as run,
        ):
            run.log_model(LogisticRegression().fit(ROWS, TARGET))
    assert own.client.get(f"/runs/{run.id}").json()["status"] == "finished"
    assert len(own.files()) == 2  # they belong to a finished run


def test_a_failing_cell_keeps_its_error_when_the_service_is_away(own: Workspace) -> None:
    experiment = an_experiment(own)
    with pytest.raises(ZeroDivisionError) as caught, experiment.run_experiment() as run:  # noqa: PT012 - a whole cell
        own.service.kill()
        run.log_metrics({"x": 1 / 0})
    assert any("could not mark the run" in note for note in caught.value.__notes__)


def test_no_service_at_all(monkeypatch: Any) -> None:
    with pytest.raises(ModelError, match="no connection"):
        Client(f"http://127.0.0.1:{free_port()}", "t").get("/x", ModelError)
