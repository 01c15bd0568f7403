"""Brokers in the API: their credentials, packages for them, and models published at them."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from a360_hub_service.backends.targets import target_class
from a360_hub_service.errors import Invalid
from a360_hub_service.services.context import Settings
from a360_hub_service.services.publishing import choose_target
from tests.support.delivery import PREDICTION, SIZES, Delivery, delivery_service, ok
from tests.support.endpoints import free_port
from tests.support.mosquitto import PASSWORD, USER, Mosquitto, mosquitto, write_certificates
from tests.support.mqtt_client import ANSWER, ASK, Requester
from tests.support.service import ServiceProcess, wait_for

TOPICS = {"wrapper": "mqtt", "listen_topic": ASK, "respond_topic": ANSWER}
SCRIPT = """
import json


def predict(artifact_list, payload):
    return float(artifact_list[0].predict([json.loads(payload)["row"]])[0][0])
"""
NOT_THIS = "not-this-s3cret"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    config = "c.ClearbladeTarget.broker_timeout = 2\n"
    with delivery_service(tmp_path_factory.mktemp("service"), config) as service:
        yield service


@pytest.fixture(scope="module")
def approved(plain: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """A model whose final run is approved."""
    files = {"predict.py": SCRIPT, "requirements.txt": "numpy\n"}
    return Delivery(plain, tmp_path_factory.mktemp("approved"), files).approve()


def form(broker: Mosquitto, name: str, **changes: Any) -> dict[str, Any]:
    inputs = {"broker_url": broker.url, "username": USER, "password": PASSWORD, "ca_certificate": broker.ca}
    inputs = {k: v for k, v in (inputs | changes.pop("inputs", {})).items() if v is not None}
    shared = {"name": name, "description": "Machines of plant 4", "groups": ["ML Engineers"]}
    return shared | {"category": "api_token", "service": "clearblade", "inputs": inputs} | changes


def trial(service: ServiceProcess, body: dict[str, Any]) -> dict[str, Any]:
    """Add a credential, test it, and take it away again."""
    with service.client("admin") as admin:
        made = admin.post("/credentials", json=body)
        assert made.status_code == 201, made.text
        assert NOT_THIS not in made.text
        path = f"/credentials/{made.json()['id']}"
        try:
            return dict(ok(admin.post(f"{path}/test")))
        finally:
            ok(admin.delete(path))


@pytest.mark.row("F087", "F094", "F313")
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_credential_of_a_broker_is_tested_by_a_login(
    plain: ServiceProcess, broker: Mosquitto, version: str
) -> None:
    found = trial(plain, form(broker, "Good", inputs={"mqtt_version": version}))
    assert found["ok"], found
    engine = f"unix://{free_port()}.sock".replace("unix://", "unix:///tmp/no-")
    found = trial(plain, form(broker, "No engine", inputs={"mqtt_version": version, "engine_url": engine}))
    assert not found["ok"]
    assert f"the engine at {engine} does not answer" in found["message"]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": NOT_THIS}, "refuses the user or the password"),
        ({"broker_url": "mqtts://no-such-host.invalid:8883"}, "There is no host no-such-host.invalid"),
        ({"broker_url": "mqtts://127.0.0.1:{free}"}, "Nothing listens at 127.0.0.1:{free}"),
        ({"ca_certificate": "{other}"}, "is not trusted"),
        ({"ca_certificate": "no PEM"}, "is no certificate in PEM format"),
        ({"broker_url": "mqtts://localhost:{port}"}, "Hostname mismatch"),
        ({"broker_url": "mqtt://127.0.0.1:{port}", "ca_certificate": None}, "may speak TLS"),
        (
            {"username": None, "password": None, "system_key": "a1b2", "user_token": NOT_THIS},
            "refuses the user or the password",
        ),
    ],
)
def test_what_is_wrong_with_a_broker_is_said_in_plain_words(
    plain: ServiceProcess,
    broker: Mosquitto,
    tmp_path: Path,
    changes: dict[str, Any],
    words: str,
    version: str,
) -> None:
    known = {"free": free_port(), "port": broker.port, "other": ""}
    if changes.get("ca_certificate") == "{other}":
        known["other"] = write_certificates(tmp_path)
    filled = {name: value and value.format(**known) for name, value in changes.items()}
    found = trial(plain, form(broker, "Wrong", inputs=filled | {"mqtt_version": version}))
    assert not found["ok"]
    assert words.format(**known) in found["message"]
    for secret in (PASSWORD, NOT_THIS):
        assert secret not in found["message"]
        assert secret not in plain.logged()


@pytest.mark.row("F087")
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"broker_url": "https://broker.example.org"}, "inputs.broker_url"),
        ({"broker_url": "mqtts://user:word@broker.example.org"}, "inputs.broker_url"),
        ({"broker_url": "mqtts://broker.example.org/path"}, "inputs.broker_url"),
        ({"broker_url": "mqtt://127.0.0.1:1883"}, "inputs.ca_certificate"),
        ({"password": None}, "inputs.password"),
        ({"username": None, "password": None}, "inputs.user_token"),
        ({"system_key": "a", "user_token": "b"}, "inputs.user_token"),
        ({"username": None, "password": None, "user_token": "b"}, "inputs.system_key"),
        ({"mqtt_version": "4"}, "inputs.mqtt_version"),
        ({"answer_qos": 0}, "inputs.answer_qos"),
        ({"engine_url": "tcp://edge.example.org:2375"}, "inputs.engine_url"),
    ],
)
def test_inputs_of_a_broker_that_do_not_fit_are_named(
    plain: ServiceProcess, broker: Mosquitto, changes: dict[str, Any], field: str
) -> None:
    with plain.client("admin") as admin:
        answer = admin.post("/credentials", json=form(broker, "Wrong", inputs=changes))
    assert answer.status_code == 422, answer.text
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert PASSWORD not in answer.text


def test_a_token_takes_the_place_of_a_password(plain: ServiceProcess, broker: Mosquitto) -> None:
    with plain.client("admin") as admin:
        path = f"/credentials/{ok(admin.post('/credentials', json=form(broker, 'Two ways')))['id']}"
        # ClearBlade's way: the token is the user, the system key the password.
        ok(admin.patch(path, json={"inputs": {"user_token": USER, "system_key": PASSWORD}}))
        seen = ok(admin.get(path))
        assert seen["settings"]["username"] is None
        assert PASSWORD not in str(seen)
        assert ok(admin.post(f"{path}/test"))["ok"]
        ok(admin.patch(path, json={"inputs": {"username": USER, "password": NOT_THIS}}))
        assert "refuses the user" in ok(admin.post(f"{path}/test"))["message"]
        ok(admin.delete(path))


def test_a_broker_is_seen_by_its_groups_only(plain: ServiceProcess, broker: Mosquitto) -> None:
    with plain.client("admin") as admin, plain.client("engineer") as mine, plain.client("scientist") as other:
        made = ok(admin.post("/credentials", json=form(broker, "Plant")))
        seen = ok(mine.get("/brokers"))["items"]
        assert seen == [
            {key: made[key] for key in ("id", "name", "description")} | {"broker_url": broker.url}
        ]
        assert ok(other.get("/brokers"))["items"] == []
        ok(admin.delete(f"/credentials/{made['id']}"))


@pytest.mark.row("F291", "F299", "F300")
@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"listen_topic": None}, "listen_topic", "is needed by the wrapper mqtt"),
        ({"respond_topic": " "}, "respond_topic", "is needed by the wrapper mqtt"),
        ({"wrapper": "flask"}, "listen_topic", "has no meaning with the wrapper flask"),
        ({"listen_topic": "plant/a+/x"}, "listen_topic", "a + that is not a level of its own"),
        ({"listen_topic": "plant/#/x"}, "listen_topic", "a # that is not the last level"),
        ({"listen_topic": "$SYS/x"}, "listen_topic", "begins with $"),
        ({"listen_topic": "a\u0001b"}, "listen_topic", "a character that no topic may hold"),
        ({"listen_topic": "x" * 501}, "listen_topic", "500"),
        ({"respond_topic": "plant/+"}, "respond_topic", "holds a wildcard"),
        ({"respond_topic": ASK}, "respond_topic", "answers would be answered without end"),
        ({"listen_topic": "plant/#"}, "respond_topic", "answers would be answered without end"),
    ],
)
def test_topics_that_cannot_be_are_named(
    approved: Delivery, changes: dict[str, Any], field: str, words: str
) -> None:
    with approved.service.client("engineer") as client:
        body = approved.form(**TOPICS | changes)
        answer = client.post(f"/models/{approved.model_id}/package", json=body)
    assert answer.status_code == 422, answer.text
    found = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert words in found[field], found


@pytest.mark.row("F313")
@pytest.mark.parametrize(
    ("asked", "builder", "wrapper", "found"),
    [
        ("", "bundle", "flask", "process"),
        ("", "bundle", "mqtt", "clearblade"),
        ("", "oci", "mqtt", "clearblade"),
        ("", "docker", "asgi", "docker"),
        ("clearblade", "docker", "flask", "does not run packages with the wrapper “flask”"),
        ("docker", "docker", "mqtt", "does not run packages with the wrapper “mqtt”"),
    ],
)
def test_a_package_goes_where_its_wrapper_can_be_asked(
    tmp_path: Path, asked: str, builder: str, wrapper: str, found: str
) -> None:
    names = ("process", "docker", "clearblade")
    targets = {name: target_class(name)(home=str(tmp_path)) for name in names}
    context: Any = SimpleNamespace(targets=targets, settings=Settings(home=tmp_path))
    if found in names:
        assert choose_target(context, asked, builder, wrapper).name == found
        return
    with pytest.raises(Invalid) as caught:
        choose_target(context, asked, builder, wrapper)
    assert [(each.field, each.message) for each in caught.value.errors] == [("target", found)]
    assert "package again with another wrapper" in caught.value.hint


def publish(delivery: Delivery, **more: Any) -> httpx.Response:
    with delivery.service.client("engineer") as client:
        return client.post(f"/models/{delivery.model_id}/publish", json=SIZES | more)


@pytest.mark.long
@pytest.mark.row("F291", "F299", "F300", "F313", "F314", "F322", "F325")
def test_a_model_is_packaged_published_at_a_broker_asked_and_withdrawn(
    plain: ServiceProcess, broker: Mosquitto, approved: Delivery
) -> None:
    delivery = approved
    job = delivery.package(**TOPICS, validation_input='{"row": [1, 2]}')
    assert job["status"] == "succeeded", delivery.log(job["id"])
    with plain.client("admin") as admin:
        credential = ok(admin.post("/credentials", json=form(broker, "Plant 4")))["id"]
        wrong = form(broker, "Plant 5", inputs={"password": NOT_THIS})
        other = ok(admin.post("/credentials", json=wrong | {"groups": ["Data Scientists"]}))["id"]
    for changes, field, words in (
        ({"credential": "plant 4"}, "target", "does not run packages with the wrapper “mqtt”"),
        ({}, "credential", "is needed"),
        ({"credential": other}, "credential", "is no broker that you may use"),
        ({"credential": "Plant 4", "replicas": 2}, "replicas", "must be 1"),
    ):
        target = "process" if field == "target" else "clearblade"
        answer = publish(delivery, **changes, target=target)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"] == field
        assert words in answer.json()["errors"][0]["message"]
    # The target follows from the package.
    job, answer = delivery.publish(credential="plant 4")
    assert job["status"] == "succeeded", delivery.log(job["id"])
    assert answer["api_key"] is None
    seen = delivery.endpoint()
    assert (seen["target"], seen["status"], seen["url"], seen["keys"]) == (
        "clearblade",
        "running",
        broker.url,
        [],
    )
    assert f"-t '{ASK}' -e '{ANSWER}'" in seen["call_example"]
    with plain.client("engineer") as client:
        refused = client.post(f"/endpoints/{seen['id']}/keys", json={})
        assert refused.status_code == 409
        assert "has no keys" in refused.text
    with plain.client("admin") as admin:
        assert admin.delete(f"/credentials/{credential}").status_code == 409

    requester = Requester(broker, version="3.1.1")
    try:
        requester.ask("one")
        assert requester.answer("one") == {"correlation_id": "one", "prediction": PREDICTION}
        # It works on while the service is away, and is found again.
        plain.kill()
        requester.ask("two")
        assert requester.answer("two")["prediction"] == PREDICTION
        plain.start()
        wait_for(lambda: delivery.endpoint()["status"] == "running", message="it is not found again")
        assert delivery.withdraw()["status"] == "succeeded"
    finally:
        requester.close()
    assert delivery.endpoint()["status"] == "withdrawn"
    assert not any(Path(plain.home, "endpoints").glob("*/"))
    for secret in (PASSWORD, broker.ca.splitlines()[1], NOT_THIS):
        assert secret not in delivery.log(job["id"])
        assert secret not in plain.logged()
        assert secret not in str(seen)

    with plain.client("admin") as admin:
        ok(admin.patch(f"/credentials/{credential}", json={"inputs": {"password": NOT_THIS}}))
    job, _ = delivery.publish(credential=credential, target="clearblade")
    assert job["status"] == "failed"
    assert "refuses the user or the password" in job["error"]
    assert "Correct the credential of the broker" in job["hint"]
    assert delivery.status == "Publish Failed"
    assert not any(Path(plain.home, "endpoints").glob("*/"))
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not re.search(rf"{plain.home}\S*run.py", listed)
    assert os.fspath(plain.home) + "/endpoints" not in listed
