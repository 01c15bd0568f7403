"""The MQTT wrapper against a real broker with TLS and passwords (F291, F299, F300)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from a360runtime.serving.mqtt.health import read_health
from tests.support.endpoints import eventually, free_port
from tests.support.mosquitto import (
    HIS_PASSWORD,
    PASSWORD,
    REQUESTER,
    USER,
    Mosquitto,
    mosquitto,
    program,
    write_certificates,
)
from tests.support.mqtt_client import ANSWER, ASK, Requester, Wrapper
from tests.support.samples import ROOT, samples

pytestmark = pytest.mark.row("F291")
VERSIONS = pytest.mark.parametrize("version", ["3.1.1", "5"])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@contextmanager
def asked(
    folder: Path, broker: Mosquitto, version: str = "5", topic: str = ANSWER, **environment: str
) -> Iterator[tuple[Wrapper, Requester]]:
    """A wrapper that listens, and somebody who asks it; its session ends with the block."""
    wrapper = Wrapper(folder, broker, A360_MQTT_VERSION=version, **environment)
    wrapper.start()
    requester = Requester(broker, version=version, topic=topic)
    try:
        yield wrapper, requester
        (wrapper.state / "forget-session").touch()
        assert wrapper.stop() == 0
    finally:
        requester.close()
        wrapper.kill()
    assert PASSWORD not in wrapper.log


@pytest.mark.row("F299", "F300")
@VERSIONS
def test_requests_are_answered_once_and_in_their_order(
    broker: Mosquitto, tmp_path: Path, version: str
) -> None:
    with asked(tmp_path, broker, version) as (wrapper, requester):
        for index in range(300):
            requester.ask(f"r{index}", {"row": [index, 0.0]})
        requester.answer("r299")
        assert list(requester.documents) == [f"r{index}" for index in range(300)]
        assert all(requester.documents[f"r{index}"]["prediction"] == 2.0 * index for index in range(300))
        assert set(requester.answers.values()) == {1}
        assert wrapper.healthcheck()[0] == 0
    own = {"correlation_id"} if version == "3.1.1" else set()
    assert set(requester.documents["r0"]) == {"prediction"} | own
    assert wrapper.log.count("status=200") == 300


@pytest.mark.row("F295", "F296")
@VERSIONS
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "The body is empty"),
        (b"{no json", 400, "The body is not JSON"),
        (b'{"row": [NaN, 1]}', 400, "The body holds NaN"),
        (b"\xff\xfe", 400, "not UTF-8"),
        (b"[" * 900, 400, "The body is not JSON"),
        (b'"' + b"x" * 2000 + b'"', 413, "larger than 1000 bytes"),
        (b'{"fail": 1}', 500, "its log tells more under this id"),
        (b'{"row": "text"}', 500, "its log tells more under this id"),
    ],
    ids=range(8),
)
def test_bad_input_is_answered_with_what_is_wrong(
    shared: dict[str, tuple[Wrapper, Requester]], version: str, body: bytes, status: int, words: str
) -> None:
    wrapper, requester = shared[version]
    name = f"bad {body[:20]!r}" if version == "5" else None
    requester.documents.pop(name, None)
    requester.ask(str(name), body)
    document = requester.answer(name)
    assert (document["status"], document["type"]) == (status, "about:blank")
    assert words in document["detail"]
    assert "secret of the script" not in str(document)
    if status == 500:
        assert f"incident={document['id']}" in wrapper.log


@pytest.fixture(scope="module")
def shared(
    broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[Wrapper, Requester]]]:
    """A wrapper of each version that takes bodies of up to 1000 bytes, with topics of its own."""
    folder = tmp_path_factory.mktemp("shared")
    made: dict[str, tuple[Wrapper, Requester]] = {}
    try:
        for version in ("3.1.1", "5"):
            wrapper = Wrapper(folder / version, broker, A360_MQTT_VERSION=version, A360_MAX_BODY="1000")
            wrapper.change(listen_topic=f"shared/{version}/ask", respond_topic=f"shared/{version}/answer")
            wrapper.start()
            made[version] = (wrapper, Requester(broker, version=version, topic=f"shared/{version}/answer"))
            made[version][1].asks = f"shared/{version}/ask"
        yield made
    finally:
        for wrapper, requester in made.values():
            requester.close()
            wrapper.kill()


def test_input_that_does_not_fit_the_signature_is_answered_by_field(
    broker: Mosquitto, tmp_path: Path
) -> None:
    wrapper = Wrapper(tmp_path, broker)
    own = {"listen_topic": "signed/ask", "respond_topic": "signed/answer"}
    wrapper.change(feature_names=["a", "b"], input_signature="a float, b float", input_check="enforce", **own)
    wrapper.start()
    requester = Requester(broker, version="3.1.1", topic="signed/answer")
    requester.asks = "signed/ask"
    try:
        requester.ask("good", {"a": 1.0, "b": 2.0})
        assert requester.answer("good")["prediction"] == 8.0
        requester.ask("bad", {"a": "much"})
        document = requester.answer("bad")
        assert (document["status"], document["correlation_id"]) == (400, "bad")
        assert [error["field"] for error in document["errors"]] == ["a", "b"]
        assert "does not fit the model's signature: a " in document["detail"]
    finally:
        requester.close()
        wrapper.stop()


def test_a_request_says_where_its_answer_goes(broker: Mosquitto, tmp_path: Path) -> None:
    with asked(tmp_path, broker, topic="plant/inbox/+") as (wrapper, requester):
        usual = Requester(broker)
        try:
            requester.ask("mine", respond="plant/inbox/7")
            assert requester.answer("mine") == {"prediction": 8.0}
            # Where it listens itself it does not answer: it would answer its answers.
            requester.ask("loop", respond=ASK)
            assert usual.answer("loop") == {"prediction": 8.0}
            requester.ask("broker's", respond="$SYS/x")
            assert usual.answer("broker's") == {"prediction": 8.0}
            assert (sum(usual.answers.values()), sum(requester.answers.values())) == (2, 1)
        finally:
            usual.close()
    assert "answers would be answered without end; its answer goes to plant/answer" in wrapper.log


@VERSIONS
def test_a_request_sent_twice_is_answered_once(broker: Mosquitto, tmp_path: Path, version: str) -> None:
    with asked(tmp_path, broker, version) as (wrapper, requester):
        for name in ("again", "again", "again", "other"):
            requester.ask(name)
        requester.answer("other")
        wrapper.stop()
        assert requester.answers == {"again": 1, "other": 1}
        assert wrapper.counts["duplicates"] == 2
        assert wrapper.log.count("not answered (duplicates)") == 2
        wrapper.start()
        requester.ask("again")
        requester.ask("last")
        requester.answer("last")
        assert requester.answers["again"] == 1


def test_equal_requests_without_a_mark_are_all_answered(broker: Mosquitto, tmp_path: Path) -> None:
    with asked(tmp_path, broker, "3.1.1") as (_, requester):
        for _ in range(50):
            requester.ask("", b'{"row": [1.0, 2.0]}')
        eventually(lambda: requester.answers[None] == 50)


def test_what_was_retained_is_no_request(broker: Mosquitto, tmp_path: Path) -> None:
    # MQTT 5 can ask the broker to keep such messages to itself.
    before = Requester(broker, version="3.1.1")
    before.ask("old", retain=True)
    with asked(tmp_path, broker, "3.1.1") as (_, requester):
        requester.ask("new")
        requester.answer("new")
        assert "old" not in requester.answers
        before.ask("", b"", retain=True)  # takes it away, and is itself a request that is none
    before.close()


def test_requests_wait_for_a_wrapper_that_is_away(broker: Mosquitto, tmp_path: Path) -> None:
    with asked(tmp_path, broker, "5") as (wrapper, requester):
        assert wrapper.stop() == 0
        assert wrapper.healthcheck()[0] == 1
        requester.ask("meanwhile")
        wrapper.start()
        assert requester.answer("meanwhile")["prediction"] == 8.0
        wrapper.stop()
        (wrapper.state / "journal.sqlite").unlink()
        wrapper.start()
        eventually(lambda: "was answered is lost: answers may come twice" in wrapper.log)
        requester.ask("after")
        assert requester.answer("after")["prediction"] == 8.0


def test_a_stop_brings_answers_out_first(broker: Mosquitto, tmp_path: Path) -> None:
    mark = tmp_path / "at-work"
    with asked(tmp_path, broker) as (wrapper, requester):
        requester.ask("slow", {"sleep": 0.3, "mark": str(mark)})
        requester.ask("next")
        eventually(mark.exists)
        assert wrapper.stop() == 0
        wrapper.start()
        assert requester.answer("next")["prediction"] == 8.0
        assert requester.answers == {"slow": 1, "next": 1}


@VERSIONS
def test_a_broker_that_lost_its_sessions_is_reported(tmp_path: Path, version: str) -> None:
    with (
        mosquitto(tmp_path / "broker") as broker,
        asked(tmp_path / "wrapper", broker, version) as (wrapper, requester),
    ):
        requester.ask("before")
        requester.answer("before")
        broker.kill()
        broker.start()
        eventually(lambda: "The broker lost the session" in wrapper.log)
        eventually(wrapper.listens)
        requester.ask("after")
        assert requester.answer("after")["prediction"] == 8.0
        assert wrapper.counts["lost_sessions"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"A360_MQTT_PASSWORD": "wrong"}, "refuses the user or the password"),
        ({"A360_MQTT_CA": "{other}"}, "is not trusted"),
        ({"A360_MQTT_URL": "mqtts://127.0.0.1:{free}"}, "Nothing listens at 127.0.0.1:{free}"),
    ],
)
def test_a_wrapper_without_its_broker_says_why_and_tries_again(
    broker: Mosquitto, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    known = {"free": free_port(), "other": write_certificates(tmp_path)}
    wrapper = Wrapper(tmp_path / "wrapper", broker)
    wrapper.environment |= {name: value.format(**known) for name, value in changes.items()}
    if "A360_MQTT_PASSWORD" in changes:
        del wrapper.environment["A360_MQTT_PASSWORD_FILE"]
    wrapper.start(wait=False)
    try:
        expected = words.format(**known)
        eventually(lambda: expected in str(read_health(wrapper.state)[1].get("message")))
        assert wrapper.healthcheck()[0] == 1
        assert not wrapper.listens()
    finally:
        wrapper.stop()
    assert expected in wrapper.log


@VERSIONS
def test_rights_that_are_missing_are_reported(tmp_path: Path, version: str) -> None:
    with mosquitto(tmp_path / "broker", no_rights=True) as broker:
        wrapper = Wrapper(tmp_path / "wrapper", broker, A360_MQTT_VERSION=version)
        wrapper.start(wait=False)
        try:
            refused = f"The broker does not let this user listen on {ASK}"
            eventually(lambda: refused in str(read_health(wrapper.state)[1].get("message")))
        finally:
            wrapper.kill()


def test_answers_the_broker_refuses_are_reported(tmp_path: Path) -> None:
    acl = f"user {REQUESTER}\ntopic readwrite #\nuser {USER}\ntopic read {ASK}\ntopic write {ANSWER}\n"
    with (
        mosquitto(tmp_path / "broker", acl=acl) as broker,
        asked(tmp_path / "wrapper", broker) as (
            wrapper,
            requester,
        ),
    ):
        requester.ask("elsewhere", respond="not/allowed")
        requester.ask("here")
        assert requester.answer("here") == {"prediction": 8.0}
        eventually(lambda: "undeliverable: the broker refuses the answer" in wrapper.log)


def test_a_wrapper_that_cannot_start_says_why_and_ends(broker: Mosquitto, tmp_path: Path) -> None:
    wrapper = Wrapper(tmp_path, broker, A360_MQTT_VERSION="4")
    wrapper.start(wait=False)
    assert wrapper.ended() == 2
    assert wrapper.log == "A360_MQTT_VERSION is '4'; it is one of 3.1.1, 5.\n"
    assert wrapper.healthcheck() == (1, {"message": wrapper.log.strip()})


@pytest.mark.row("F328")
def test_the_call_of_the_documentation(broker: Mosquitto, tmp_path: Path) -> None:
    program("mosquitto_rr")
    document = ROOT / "docs" / "endpoints.md"
    (call,), (said,) = samples(document, "bash", "mqtt"), samples(document, "json", "mqtt")
    text = call.text.replace("broker.example.org", broker.host).replace("8883", str(broker.port))
    (tmp_path / "ca.pem").write_text(broker.ca)
    login = {"PATH": os.environ["PATH"], "BROKER_USER": REQUESTER, "BROKER_PASSWORD": HIS_PASSWORD}
    with asked(tmp_path / "wrapper", broker, "3.1.1"):
        command = ["bash", "-ec", text]
        done = subprocess.run(command, cwd=tmp_path, env=login, capture_output=True, text=True, timeout=30)
    assert json.loads(done.stdout) | {"prediction": 1} == json.loads(said.text), done.stderr


def test_a_package_for_mqtt_needs_nothing_of_http(broker: Mosquitto, tmp_path: Path) -> None:
    wrapper = Wrapper(tmp_path, broker)
    program = "import sys, a360runtime.serving.mqtt.main as m; "
    program += "print(sorted({'flask', 'granian', 'werkzeug', 'pandas'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
    lines = Path("a360runtime/mqtt-requirements.txt").read_text().split()
    assert not [line for line in lines if line.startswith(("flask", "granian"))]
    assert wrapper.manifest["wrapper"] == "mqtt"


def test_a_body_is_the_scripts_without_the_mark() -> None:
    from a360runtime.serving.bundle import Bundle
    from a360runtime.serving.mqtt.answering import Answerer

    seen: list[Any] = []
    answerer = Answerer(
        Bundle({"feature_names": ["a"]}, [None, None, None], lambda _, text: seen.append(text)), 99
    )
    answerer.answer(answerer.read(b'{"a": 1, "correlation_id": "x"}'))
    answerer.answer(answerer.read(b'{"a":  1}'))
    answerer.answer(answerer.read(b'{"a": 1, "correlation_id": [1]}'))
    assert seen == ['{"a": 1}', '{"a":  1}', '{"a": 1, "correlation_id": [1]}']
    # A model may have a feature of that name.
    taken = Bundle(
        {"feature_names": ["correlation_id"]}, [None, None, None], lambda _, text: seen.append(text)
    )
    own = Answerer(taken, 99)
    assert own.read(b'{"correlation_id": 1}').correlation is None
