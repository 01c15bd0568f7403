"""Following a job when the connection does not hold."""

import json
from typing import Any

import pytest

from a360mdk import jobs
from a360mdk.client import Client
from a360mdk.exceptions import ModelError
from tests.kit.test_client import Answer, as_json, gateway

PATH = "/jobs/j1/events?after="


def stream(*events: dict[str, Any], rest: bytes = b"") -> Answer:
    """An answer of Server-Sent Events, and maybe the beginning of what never came."""
    text = "".join(
        f"id: {event['seq']}\nevent: log\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        for event in events
    )
    return 200, {"Content-Type": "text/event-stream"}, text.encode() + rest


def event(seq: int, message: str = "step") -> dict[str, Any]:
    return {"seq": seq, "at": "2026-01-01T00:00:00Z", "kind": "log", "message": message, "step": "build"}


END = b'event: end\ndata: {"status": "succeeded"}\n\n'


def test_a_lost_connection_is_taken_up_behind_the_last_event() -> None:
    asked = []

    def answers(method: str, path: str, body: bytes) -> Answer | None:
        asked.append(path.removeprefix(PATH))
        return {
            1: stream(
                event(1), event(2, "line\u2028separator, größer"), rest=b'event: log\ndata: {"seq": 3, "a'
            ),
            2: None,
            3: stream(event(3), rest=END),
        }[len(asked)]

    with gateway(answers) as url:
        found = list(jobs.follow(Client(url, "token"), "j1"))
    assert [each["seq"] for each in found] == [1, 2, 3]
    assert found[1]["message"] == "line\u2028separator, größer"
    assert asked == ["0", "2", "2"]


def test_silence_and_refusals_are_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    with (
        gateway(lambda *_: None) as url,
        pytest.raises(ModelError, match="did not answer") as silent,
    ):
        list(jobs.follow(Client(url, "token"), "j1"))
    assert "The job itself goes on" in silent.value.hint
    problem = as_json(404, {"title": "Not found", "detail": "There is no such job."})
    with gateway(lambda *_: problem) as url, pytest.raises(ModelError, match="no such job"):
        list(jobs.follow(Client(url, "token"), "j1"))
