"""A model published on a real cluster through the API, as people do it."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from a360_hub_service.backends.images.base_image import obstacle
from tests.support import cluster
from tests.support.cluster import kubectl, leftovers
from tests.support.delivery import PREDICTION, Delivery, call, delivery_service, ok
from tests.support.registry import PASSWORD, USER, RegistryServer
from tests.support.service import ServiceProcess, wait_for

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes"), pytest.mark.timeout(600)]

PLATFORM = f"a360-{uuid.uuid4().hex[:8]}"
SIZES: dict[str, Any] = {"cpu_request": 0.05, "cpu_limit": 0.5, "memory_request": 0.1, "memory_limit": 0.3}


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, registry_running: RegistryServer
) -> Iterator[ServiceProcess]:
    cluster.kubeconfig_of_tests()
    if reason := obstacle():
        pytest.skip(reason)
    config = (
        f"c.Registry.url = {registry_running.url!r}\nc.Registry.username = {USER!r}\n"
        f"c.Registry.password = {PASSWORD!r}\nc.KubernetesTarget.platform = {PLATFORM!r}\n"
        "c.KubernetesTarget.drain_timeout = 3\n"
    )
    with delivery_service(tmp_path_factory.mktemp("service"), config) as running:
        yield running
    assert leftovers(PLATFORM) == []


@pytest.fixture
def place(service: ServiceProcess) -> Iterator[dict[str, Any]]:
    """The cluster as an administrator enters it."""
    text = cluster.kubeconfig_of_tests().read_text()
    body = {
        "name": f"The serving cluster {uuid.uuid4().hex[:6]}",
        "description": "Where models run",
        "groups": ["ML Engineers"],
        "category": "deployment_target",
        "service": "kubernetes",
        "inputs": {"kubeconfig": text},
    }
    with service.client("admin") as admin:
        made = ok(admin.post("/credentials", json=body))
        yield made
        assert admin.delete(f"/credentials/{made['id']}").status_code == 204


@pytest.mark.row(
    "F080", "F111", "F114", "F115", "F116", "F121", "F309", "F313", "F316", "F322", "F323", "F331"
)
def test_a_model_is_published_on_a_deployment_target(
    service: ServiceProcess, place: dict[str, Any], tmp_path: Path
) -> None:
    with service.client("admin") as admin:
        tested = ok(admin.post(f"/credentials/{place['id']}/test"))
        assert tested["ok"], tested
    delivery = Delivery(service, tmp_path / "code").approve()
    assert delivery.package(builder="oci")["status"] == "succeeded"
    with service.client("scientist") as client:
        refused = client.post(f"/models/{delivery.model_id}/publish", json=SIZES | {"target": place["name"]})
        assert refused.status_code == 422, refused.text
        assert refused.json()["errors"][0]["field"] == "target"
    job, answer = delivery.publish(target=place["name"], replicas=2, max_replicas=4, **SIZES)
    log = delivery.log(job["id"])
    assert job["status"] == "succeeded", log
    assert "2 of 2 replicas are ready." in log
    seen = delivery.endpoint()
    assert (seen["status"], seen["replicas"], seen["ready_replicas"]) == ("running", 2, 2)
    assert (seen["target"], seen["deployment_target"]) == ("kubernetes", place["name"])
    assert call(seen["url"], answer["api_key"]).json() == {"prediction": PREDICTION}
    namespace = kubectl("get", "ns", "-l", f"a360.platform={PLATFORM}")["items"][0]["metadata"]["name"]
    assert namespace.startswith(f"{PLATFORM}-p-")
    scaler = kubectl("-n", namespace, "get", "hpa", seen["slug"])["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 4)
    with service.client("admin") as admin:
        assert ok(admin.get(f"/credentials/{place['id']}"))["last_connection"]["ok"]
        assert admin.delete(f"/credentials/{place['id']}").status_code == 409
        moved = yaml.safe_load(cluster.kubeconfig_of_tests().read_text())
        moved["clusters"][0]["cluster"]["server"] = "https://10.250.0.2:6443"
        changed = {"inputs": {"kubeconfig": yaml.safe_dump(moved)}}
        assert admin.patch(f"/credentials/{place['id']}", json=changed).status_code == 409

    # A key that is taken away opens nothing any more, without a restart.
    with service.client("engineer") as client:
        path = f"/endpoints/{seen['id']}/keys"
        more = ok(client.post(path, json={"name": "another"}))
        wait_for(lambda: call(seen["url"], more["api_key"]).status_code == 200, seconds=5)
        assert client.delete(f"{path}/{more['key']['id']}").status_code == 204
        wait_for(lambda: call(seen["url"], more["api_key"]).status_code == 401, seconds=5)
    assert call(seen["url"], answer["api_key"]).status_code == 200

    # The service finds it again, with the gateway's way to it.
    service.kill()
    service.start()
    wait_for(lambda: delivery.endpoint()["status"] == "running", message="it was not found again")
    assert call(seen["url"], answer["api_key"]).status_code == 200

    assert delivery.withdraw()["status"] == "succeeded"
    assert leftovers(PLATFORM) == []
    assert httpx.post(seen["url"], timeout=5).status_code == 404
    assert delivery.status == "Ready to Publish"


@pytest.mark.row("F324", "F271")
def test_a_publication_that_fails_says_why_in_the_log_and_leaves_nothing(
    service: ServiceProcess, place: dict[str, Any], tmp_path: Path
) -> None:
    delivery = Delivery(service, tmp_path / "code").approve()
    assert delivery.package(builder="oci")["status"] == "succeeded"
    job, _ = delivery.publish(
        target=place["name"], **(SIZES | {"memory_limit": 0.02, "memory_request": 0.02})
    )
    assert job["status"] == "failed"
    assert "(OOMKilled)" in job["error"]
    assert job["hint"] == "Publish with a higher memory limit."
    assert "ran out of memory (OOMKilled)" in delivery.log(job["id"])
    assert delivery.status == "Publish Failed"
    assert leftovers(PLATFORM) == []


@pytest.mark.row("F271")
def test_a_publication_that_outlives_a_killed_service_and_is_cancelled_leaves_nothing(
    service: ServiceProcess, place: dict[str, Any], tmp_path: Path
) -> None:
    delivery = Delivery(service, tmp_path / "code").approve()
    assert delivery.package(builder="oci")["status"] == "succeeded"
    with service.client("engineer") as client:
        # No node has this room, so it would wait for long.
        asked = SIZES | {"cpu_request": 900, "cpu_limit": 900, "target": place["name"]}
        answer = ok(client.post(f"/models/{delivery.model_id}/publish", json=asked))
        job_id = answer["job"]["id"]
        wait_for(lambda: "Unschedulable" in delivery.log(job_id), seconds=60)
        service.kill()
        service.start()
        wait_for(lambda: delivery.log(job_id).count("Unschedulable") == 2, seconds=60)
        ok(client.post(f"/jobs/{job_id}/cancel"))
    assert delivery.wait(job_id)["status"] == "cancelled"
    assert leftovers(PLATFORM) == []
