"""Package, publish, call, withdraw and publish again, through the API of a real service."""

import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from a360_hub_service.backends.engine import engine_health
from a360_hub_service.backends.images.base_image import obstacle
from a360_hub_service.entities import ModelEvent, Package
from tests.support.delivery import (
    PREDICTION,
    SIZES,
    Delivery,
    call,
    delivery_service,
    ok,
)
from tests.support.postgres import postgres
from tests.support.registry import PASSWORD, USER, registry_server
from tests.support.service import ServiceProcess, wait_for

MOODY = """
import json
import os

if os.environ.get("MOOD") == "bad":
    raise RuntimeError("this script is in a bad mood")


def predict(artifact_list, payload):
    return [os.environ.get("MOOD"), os.getpid()]
"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    home = tmp_path_factory.mktemp("service")
    if request.param == "sqlite":
        with delivery_service(home) as service:
            yield service
    else:
        with postgres() as server, delivery_service(home, database_url=server.new_database()) as service:
            yield service


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with delivery_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def processes_naming(text: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", text], capture_output=True, text=True, check=False)
    return found.stdout.split()


def refuses(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 404
    except httpx.TransportError:
        return True


@pytest.mark.row(
    *("F250", "F256", "F259", "F286", "F287", "F288", "F306", "F307", "F309", "F310", "F311", "F312"),
    *("F314", "F316"),
)
@pytest.mark.row("F322", "F323", "F325", "F328", "F329", "F330", "F331", "F358", "F359")
def test_from_approved_to_called_withdrawn_and_published_again(
    running: ServiceProcess, tmp_path: Path
) -> None:
    delivery = Delivery(running, tmp_path).approve()
    assert delivery.package()["status"] == "succeeded"
    assert delivery.status == "Ready to Publish"
    job, answer = press_publish_at_once(delivery)
    assert job["status"] == "succeeded", delivery.log(job["id"])
    assert delivery.status == "Published"

    seen = delivery.endpoint()
    assert (seen["status"], seen["replicas"], seen["ready_replicas"]) == ("running", 2, 2)
    # Project and name are filled in: the form has fields for neither.
    assert re.fullmatch(rf"http://.*/p-{delivery.mark}-linear-1-0/", seen["url"])
    assert (seen["project_id"], seen["model_name"]) == (delivery.model["project_id"], "linear")
    assert call(seen["url"], answer["api_key"]).json() == {"prediction": PREDICTION}
    assert call(seen["url"], "a360_wrong").status_code == 401
    example = seen["call_example"]
    for part in (seen["url"], "Content-Type: application/json", "apikey: REPLACE-WITH-YOUR-API-KEY", "{}"):
        assert part in example
    filled = example.replace("REPLACE-WITH-YOUR-API-KEY", answer["api_key"]).replace("{}", "[[1, 2]]")
    said = subprocess.run(["bash", "-c", filled], capture_output=True, text=True, check=True).stdout
    assert float(said.rsplit(":", 1)[1].strip("} \n")) == PREDICTION

    assert delivery.withdraw()["status"] == "succeeded"
    assert delivery.status == "Ready to Publish"
    wait_for(lambda: refuses(seen["url"]), message="the endpoint still answers")
    assert not processes_naming(f"packages/{seen['package_id']}")
    assert delivery.endpoint()["status"] == "withdrawn"

    job, again = delivery.publish()
    assert job["status"] == "succeeded", delivery.log(job["id"])
    assert again["api_key"] != answer["api_key"]
    assert call(seen["url"], again["api_key"]).json() == {"prediction": PREDICTION}
    assert call(seen["url"], answer["api_key"]).status_code == 401
    assert delivery.withdraw()["status"] == "succeeded"


def press_publish_at_once(delivery: Delivery) -> tuple[dict[str, Any], dict[str, Any]]:
    """Several people publish at the same moment; one of them does."""

    def press(_: int) -> httpx.Response:
        with delivery.service.client("engineer") as client:
            return client.post(f"/models/{delivery.model_id}/publish", json=SIZES | {"replicas": 2})

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(press, range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    refused = [answer.json()["detail"] for answer in answers if answer.status_code == 409]
    # Who comes last may find it done.
    assert all("is being published right now" in detail or "Published" in detail for detail in refused), (
        refused
    )
    (taken,) = [answer.json() for answer in answers if answer.status_code == 202]
    return delivery.wait(taken["job"]["id"]), taken


@pytest.mark.long
@pytest.mark.row("F287", "F309", "F286")
@pytest.mark.docker
def test_the_same_as_an_image_in_containers(tmp_path: Path) -> None:
    name = f"a360-test-{uuid.uuid4().hex[:8]}"
    config = f"c.DockerBuilder.repository = '{name}'\n"
    with delivery_service(tmp_path / "home", config) as service:
        with service.client("engineer") as client:
            builders = {each["name"]: each for each in ok(client.get("/builders"))["items"]}
        if not builders["docker"]["available"]:
            pytest.skip(f"no Docker engine: {builders['docker']['reason']}")
        delivery = Delivery(service, tmp_path / "code").approve()
        job = delivery.package(builder="docker")
        assert job["status"] == "succeeded", delivery.log(job["id"])
        try:
            job, answer = delivery.publish(replicas=2)
            assert job["status"] == "succeeded", delivery.log(job["id"])
            seen = delivery.endpoint()
            assert (seen["target"], seen["ready_replicas"]) == ("docker", 2)
            assert call(seen["url"], answer["api_key"]).json() == {"prediction": PREDICTION}
        finally:
            assert delivery.withdraw()["status"] == "succeeded"
            # By name: the same image may have names that others gave it.
            shown = ["--filter", f"reference={name}/*", "--format", "{{.Repository}}:{{.Tag}}"]
            listed = ["docker", "images", *shown]
            images = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
            subprocess.run(["docker", "rmi", *images], capture_output=True, check=False)
        assert refuses(seen["url"])


@pytest.mark.long
@pytest.mark.row("F287", "F309", "F286")
@pytest.mark.docker
@pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "-")
def test_the_same_as_an_image_of_the_registry(tmp_path: Path) -> None:
    if not (engine := engine_health()).available:
        pytest.skip(f"no Docker engine: {engine.reason}")
    with registry_server(tmp_path / "registry") as registry:
        config = (
            "c.A360HubService.default_builder = ''\n"
            f"c.Registry.url = {registry.url!r}\nc.Registry.prefix = 'team/models'\n"
            f"c.Registry.username = {USER!r}\nc.Registry.password = {PASSWORD!r}\n"
        )
        with delivery_service(tmp_path / "home", config) as service:
            delivery = Delivery(service, tmp_path / "code").approve()
            job = delivery.package()
            log = delivery.log(job["id"])
            assert job["status"] == "succeeded", log
            assert f"Pushing to {registry.address}/team/models/" in log
            assert PASSWORD not in log
            try:
                job, answer = delivery.publish()
                assert job["status"] == "succeeded", delivery.log(job["id"])
                seen = delivery.endpoint()
                assert seen["target"] == "docker"
                assert call(seen["url"], answer["api_key"]).json() == {"prediction": PREDICTION}
            finally:
                assert delivery.withdraw()["status"] == "succeeded"
            assert refuses(seen["url"])
            assert PASSWORD not in service.logged()


@pytest.mark.row("F260", "F261", "F321", "F324")
def test_what_does_not_start_leaves_nothing_and_can_be_published_again(
    plain: ServiceProcess, tmp_path: Path
) -> None:
    delivery = Delivery(plain, tmp_path, {"predict.py": MOODY, "requirements.txt": ""}).approve()
    assert delivery.package()["status"] == "succeeded"
    job, answer = delivery.publish(environment={"MOOD": "bad"})
    assert job["status"] == "failed"
    assert "bad mood" in job["error"]
    assert job["hint"]
    assert "bad mood" in delivery.log(job["id"])
    assert delivery.status == "Publish Failed"
    slug = answer["endpoint"]["slug"]
    assert not processes_naming(f"packages/{answer['endpoint']['package_id']}")
    assert not (plain.home / "endpoints" / slug).exists()
    with plain.client("engineer") as client:
        assert delivery.model_id not in [each["model_id"] for each in ok(client.get("/endpoints"))["items"]]

    # What the hints of such jobs say: package again.
    assert delivery.package()["status"] == "succeeded"
    assert delivery.status == "Ready to Publish"
    job, answer = delivery.publish(environment={"MOOD": "good"})
    assert job["status"] == "succeeded", delivery.log(job["id"])
    seen = delivery.endpoint()
    assert seen["environment_names"] == ["MOOD"]
    assert call(seen["url"], answer["api_key"]).json()["prediction"][0] == "good"
    with plain.client("engineer") as client:
        assert delivery.model_id in [each["model_id"] for each in ok(client.get("/endpoints"))["items"]]
    assert delivery.withdraw()["status"] == "succeeded"


@pytest.mark.row("F313", "F316", "F317", "F318", "F319", "F320", "F321")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": 21}, "replicas"),
        ({"cpu_request": 2, "cpu_limit": 1}, "cpu_request"),
        ({"memory_request": 2, "memory_limit": 1}, "memory_request"),
        ({"cpu_limit": 0}, "cpu_limit"),
        ({"memory_limit": -1}, "memory_limit"),
        ({"environment": {"lower": "x"}}, "environment"),
        ({"environment": {"1ST": "x"}}, "environment"),
        ({"environment": {"A360_KEYS_FILE": "/dev/null"}}, "environment"),
        ({"environment": {"NUL": "a\0b"}}, "environment"),
        ({"target": "moon"}, "target"),
        ({"target": "docker"}, "target"),
        ({"colour": "red"}, "colour"),
        ({"cpu_limit": None}, "cpu_limit"),
    ],
)
def test_what_a_publish_form_must_say(packaged: Delivery, change: dict[str, Any], field: str) -> None:
    with packaged.service.client("engineer") as client:
        answer = client.post(f"/models/{packaged.model_id}/publish", json=SIZES | change)
    assert answer.status_code == 422, answer.text
    assert any(each["field"].startswith(field) for each in answer.json()["errors"]), answer.text
    assert packaged.status == "Ready to Publish"


@pytest.fixture(scope="module")
def packaged(plain: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    delivery = Delivery(plain, tmp_path_factory.mktemp("code")).approve()
    assert delivery.package()["status"] == "succeeded"
    return delivery


def test_who_may_and_when(packaged: Delivery) -> None:
    with packaged.service.client("outsider") as client:
        for path in ("publish", "withdraw"):
            assert client.post(f"/models/{packaged.model_id}/{path}", json=SIZES).status_code == 404
    with packaged.service.client("engineer") as client:
        answer = client.post(f"/models/{packaged.model_id}/withdraw")
        assert (answer.status_code, answer.json()["code"]) == (409, "wrong-state")
        assert client.get(f"/models/{packaged.model_id}/endpoint").status_code == 404


@pytest.mark.row("F246", "F250")
def test_published_models_are_withdrawn_before_they_are_terminated(
    plain: ServiceProcess, tmp_path: Path
) -> None:
    delivery = Delivery(plain, tmp_path).approve()
    assert delivery.package()["status"] == "succeeded"
    assert delivery.publish()[0]["status"] == "succeeded"
    with plain.client("scientist") as client:
        assert client.post(f"/models/{delivery.model_id}/terminate", json={}).status_code == 409
        assert client.post(f"/models/{delivery.model_id}/package", json=delivery.form()).status_code == 409
        assert delivery.withdraw()["status"] == "succeeded"
        assert client.post(f"/models/{delivery.model_id}/terminate", json={}).status_code == 200
        assert client.post(f"/models/{delivery.model_id}/publish", json=SIZES).status_code == 409


def test_a_withdrawal_that_fails_can_be_asked_for_again(tmp_path: Path) -> None:
    config = "c.A360HubService.targets = ['tests.support.failing.StubbornTarget']\n"
    with delivery_service(tmp_path / "home", config) as service:
        delivery = Delivery(service, tmp_path / "code").approve()
        assert delivery.package()["status"] == "succeeded"
        answer = delivery.publish()[1]
        flag = service.home / "stubborn"
        flag.touch()
        job = delivery.withdraw()
        assert (job["status"], job["error"]) == ("failed", "The replicas hold on to the floor.")
        assert job["hint"] == "Tickle them."
        assert delivery.status == "Published"
        seen = delivery.endpoint()
        assert seen["status"] == "running"
        assert call(seen["url"], answer["api_key"]).status_code == 200
        flag.unlink()
        assert delivery.withdraw()["status"] == "succeeded"
        assert delivery.status == "Ready to Publish"
        assert refuses(seen["url"])


def kill_all_but(service: ServiceProcess) -> None:
    """Kill every process of a platform but its service: replicas, supervisors and the gateway."""
    assert service.process
    for pid in set(processes_naming(str(service.home))) - {str(service.process.pid)}:
        subprocess.run(["kill", "-9", pid], check=False, capture_output=True)


def test_endpoints_outlive_the_service_and_are_found_again(tmp_path: Path) -> None:
    config = "c.A360HubService.tend_seconds = 0.5"
    with delivery_service(tmp_path / "home", config) as service:
        delivery = Delivery(service, tmp_path / "code").approve()
        assert delivery.package()["status"] == "succeeded"
        answer = delivery.publish(replicas=2)[1]
        seen = delivery.endpoint()
        service.kill()
        assert call(seen["url"], answer["api_key"]).json() == {"prediction": PREDICTION}
        service.start()
        assert delivery.endpoint()["status"] == "running"

        def is_back() -> bool:
            try:
                return call(seen["url"], answer["api_key"]).status_code == 200
            except httpx.TransportError:
                return False

        kill_all_but(service)
        wait_for(is_back, seconds=60, message="the endpoint was not put back by the running service")

        service.kill()
        kill_all_but(service)
        assert refuses(seen["url"])
        service.start()
        wait_for(is_back, seconds=60, message="the endpoint did not come back with the service")
        wait_for(lambda: delivery.endpoint()["ready_replicas"] == 2, seconds=60)
        assert delivery.withdraw()["status"] == "succeeded"
        assert refuses(seen["url"])


@pytest.mark.slow
def test_a_service_killed_while_it_publishes_goes_on(tmp_path: Path) -> None:
    slow = MOODY.replace("import os\n", "import os\nimport time\n\ntime.sleep(2)\n", 1)
    with delivery_service(tmp_path / "home") as service:
        delivery = Delivery(
            service, tmp_path / "code", {"predict.py": slow, "requirements.txt": ""}
        ).approve()
        assert delivery.package()["status"] == "succeeded"
        with service.client("engineer") as client:
            answer = ok(client.post(f"/models/{delivery.model_id}/publish", json=SIZES))
        job = answer["job"]["id"]
        wait_for(lambda: "Starting 1 replica" in delivery.log(job))
        time.sleep(0.3)
        service.kill()
        service.start()
        assert delivery.wait(job)["status"] == "succeeded", delivery.log(job)
        assert call(delivery.endpoint()["url"], answer["api_key"]).status_code == 200
        assert delivery.log(job).count("status : succeeded") == 1
        database = service.database()
        with database.session(write=False) as session:
            events = [event.command for event in session.query(ModelEvent).order_by(ModelEvent.id)]
            assert events.count("publish_succeeded") == 1
            assert session.query(Package).count() == 1
        database.close()
        # One replica, however often it was begun.
        assert delivery.endpoint()["ready_replicas"] == 1
        assert delivery.withdraw()["status"] == "succeeded"
