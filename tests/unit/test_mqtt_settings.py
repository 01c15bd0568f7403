"""Settings, topics, journal and health file of the MQTT wrapper, one by one."""

import json
import time
from pathlib import Path

import pytest

from a360runtime.serving.mqtt.health import FRESH_SECONDS, read_health, write_health
from a360runtime.serving.mqtt.journal import Busy, Journal
from a360runtime.serving.mqtt.keeper import FIRST_SECONDS, LONGEST_SECONDS, pause
from a360runtime.serving.mqtt.settings import SettingsError, read_settings
from a360runtime.serving.mqtt.topics import matches, why_no_filter, why_no_topic

MANIFEST = {"slug": "churn", "listen_topic": "plant/ask", "respond_topic": "plant/answer"}
URL = {"A360_MQTT_URL": "mqtts://broker.example.org"}


@pytest.mark.row("F291")
def test_the_usual_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("word\n")
    login = {"A360_MQTT_USERNAME": "me", "A360_MQTT_PASSWORD_FILE": str(tmp_path / "password")}
    found = read_settings(MANIFEST, URL | login)
    assert (found.broker.host, found.broker.port, found.broker.tls) == ("broker.example.org", 8883, True)
    assert (found.broker.username, found.broker.password) == ("me", "word")
    assert (found.client_id, found.broker.version, found.broker.answer_qos) == ("a360-churn", "3.1.1", 2)
    assert "word" not in repr(found)


@pytest.mark.row("F291")
def test_clearblade_takes_a_token_for_the_user_and_the_system_key_for_the_password() -> None:
    own = {"A360_MQTT_USER_TOKEN": "token", "A360_MQTT_SYSTEM_KEY": "key"}
    found = read_settings(MANIFEST, {"A360_MQTT_URL": "mqtt://platform:1883"} | own).broker
    assert (found.username, found.password) == ("token", "key")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"A360_MQTT_URL": ""}, "A360_MQTT_URL is not set"),
        ({"A360_MQTT_URL": "tcp://broker"}, "A360_MQTT_URL begins neither with mqtt:// nor with mqtts://"),
        ({"A360_MQTT_URL": "mqtt://a:b@broker"}, "A360_MQTT_URL holds a user or password"),
        ({"A360_MQTT_URL": "mqtt://"}, "A360_MQTT_URL is not of the form"),
        ({"A360_MQTT_URL": "mqtt://broker:port"}, "A360_MQTT_URL is not of the form"),
        ({"A360_MQTT_VERSION": "4"}, "A360_MQTT_VERSION is '4'"),
        ({"A360_MQTT_ANSWER_QOS": "3"}, "A360_MQTT_ANSWER_QOS is 3"),
        ({"A360_MQTT_PASSWORD_FILE": "/no/such"}, "A360_MQTT_PASSWORD_FILE names /no/such, which cannot"),
        ({"A360_MQTT_PASSWORD": "word"}, "A360_MQTT_PASSWORD is set without A360_MQTT_USERNAME"),
        ({"A360_MQTT_USER_TOKEN": "t"}, "A360_MQTT_USER_TOKEN and A360_MQTT_SYSTEM_KEY belong together"),
        ({"A360_MAX_BODY": "much"}, "A360_MAX_BODY is 'much'"),
        ({"A360_DRAIN_SECONDS": "0"}, "A360_DRAIN_SECONDS is '0'"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        read_settings(MANIFEST, URL | changes)


@pytest.mark.row("F299", "F300")
def test_topics() -> None:
    assert not any(map(why_no_filter, ("a", "a/b", "+", "#", "a/+/b", "a/#", "Grüße/1", "/")))
    assert all(map(why_no_filter, ("", " ", "a+", "a/b#", "#/a", "$SYS/x", "a\0", "a\ud800", "x" * 501)))
    assert not any(map(why_no_topic, ("a", "a/b", "Grüße/1")))
    assert all(map(why_no_topic, ("", "a/+", "#", "$share/a/b", "a\n", "x" * 501)))
    assert [matches("a/+/c", each) for each in ("a/b/c", "a//c", "a/b", "a/b/c/d")] == [
        True,
        True,
        False,
        False,
    ]
    assert [matches("a/#", each) for each in ("a", "a/b", "a/b/c", "b")] == [True, True, True, False]
    assert [matches("#", each) for each in ("a", "$SYS/a")] == [True, False]
    with pytest.raises(SettingsError, match="answers would be answered without end"):
        read_settings(MANIFEST | {"listen_topic": "plant/+"}, URL)


def test_a_state_folder_is_one_processes(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    with pytest.raises(Busy):
        Journal(tmp_path, lock_seconds=0.1)
    first.close()
    Journal(tmp_path, lock_seconds=0.1).close()


def test_health_gets_old(tmp_path: Path) -> None:
    assert read_health(tmp_path) == (False, {"message": "The wrapper has not started yet."})
    write_health(tmp_path, {"state": "listening", "message": "Listens."})
    assert read_health(tmp_path)[0]
    file = tmp_path / "health.json"
    old = json.loads(file.read_text()) | {"at": time.time() - FRESH_SECONDS - 1}
    file.write_text(json.dumps(old))
    well, document = read_health(tmp_path)
    assert not well
    assert "has not been heard of for 61 seconds" in document["message"]
    file.write_text("[]")
    assert read_health(tmp_path)[0] is False


def test_pauses_grow_and_differ() -> None:
    for attempt, longest in ((0, FIRST_SECONDS), (3, FIRST_SECONDS * 8), (99, LONGEST_SECONDS)):
        found = {pause(attempt) for _ in range(50)}
        assert len(found) > 10
        assert longest / 2 <= min(found) <= max(found) <= longest
