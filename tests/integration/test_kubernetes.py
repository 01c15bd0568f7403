"""Endpoints in a real Kubernetes cluster: published, changed without a failed call, explained, taken away."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from a360_hub_service.backends.images import BuiltPackage, builder_class
from a360_hub_service.backends.images.base_image import obstacle
from a360_hub_service.backends.targets import EndpointSpec, EndpointStatus, Gateway, TargetError
from a360_hub_service.backends.targets.kubernetes import KubernetesTarget
from tests.support import cluster, endpoints
from tests.support.cluster import kubectl, leftovers, steadily
from tests.support.endpoints import call, eventually, key_record
from tests.support.registry import RegistryServer

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kubernetes"), pytest.mark.timeout(600)]

SLUG = "iris-forest-1-0"
SIZES: dict[str, Any] = {
    "cpu_request": 0.05,
    "cpu_limit": 0.5,
    "memory_request": 0.1,
    "memory_limit": 0.3,
}


@pytest.fixture(scope="module")
def pushed(
    package_home: Path,
    registry_running: RegistryServer,
    model_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuiltPackage:
    """An image in the registry, with a script that can be told to fail."""
    cluster.kubeconfig_of_tests()
    if reason := obstacle():
        pytest.skip(reason)
    files = {"predict.py": cluster.SCRIPT, "requirements.txt": "numpy\nsklearn\n"}
    repository = endpoints.write_files(tmp_path_factory.mktemp("repository"), files)
    builder = builder_class("oci")(home=str(package_home), registry=registry_running.configured())
    return builder.build(endpoints.package_request(model_file, repository), print)


@pytest.fixture
def target(tmp_path: Path, registry_running: RegistryServer) -> Iterator[KubernetesTarget]:
    """A target that nothing else in the cluster knows, with a gateway of its own."""
    gateway = Gateway(home=str(tmp_path), port=endpoints.free_port())
    platform = f"a360-{uuid.uuid4().hex[:8]}"
    made = KubernetesTarget(
        home=str(tmp_path),
        gateway=gateway,
        registry=registry_running.configured(),
        kubeconfig=str(cluster.kubeconfig_of_tests()),
        platform=platform,
        drain_timeout=5.0,
        start_timeout=90.0,
    )
    yield made
    for slug in made.slugs():
        made.remove(slug, print)
    gateway.stop()
    assert leftovers(platform) == []


def publish(target: KubernetesTarget, package: BuiltPackage, **changes: Any) -> EndpointStatus:
    log = changes.pop("log", print)
    slug = changes.pop("slug", SLUG)
    target.write_keys(slug, [key_record()])
    return target.apply(EndpointSpec(slug, package, project="iris", **(SIZES | changes)), log)


@pytest.mark.row("F287", "F316", "F317", "F318", "F319", "F320", "F321", "F323", "F331", "C16", "C18")
def test_two_replicas_are_published_called_and_withdrawn(
    target: KubernetesTarget, pushed: BuiltPackage
) -> None:
    assert target.health().available, target.health()
    log: list[str] = []
    status = publish(target, pushed, replicas=2, environment={"GREETING": "hello"}, log=log.append)
    assert (status.status, status.replicas, status.ready_replicas) == ("running", 2, 2)
    assert status.limits == "CPU limit 500m, memory limit 0.3 GB (Kubernetes)."
    assert "2 of 2 replicas are ready." in log
    assert target.slugs() == [SLUG]
    assert call(status.url).json() == {"prediction": 0.0}
    assert call(status.url, key="wrong").status_code == 401
    assert call(status.url, {"environment": "GREETING"}).json() == {"prediction": "hello"}
    assert call(status.url, {"environment": "A360_THREADS"}).json() == {"prediction": "1"}
    assert call(status.url, {"written": "/tmp/x"}).ok
    assert call(status.url, {"written": "/app/x"}).status_code == 500
    assert call(status.url.rstrip("/")).ok
    # Through the Service itself too, and by both replicas in turn.
    namespace = f"{target.platform}-iris"
    address = kubectl("-n", namespace, "get", "svc", SLUG)["spec"]["clusterIP"]
    for _ in range(20):
        assert call(f"http://{address}/").json() == {"prediction": 0.0}
    seen = [
        target_logs for target_logs in target.logs(SLUG, 1000).split("access") if "status=200" in target_logs
    ]
    assert len(seen) >= 20
    pods = kubectl("-n", namespace, "get", "pods")["items"]
    assert {pod["status"]["qosClass"] for pod in pods} == {"Burstable"}
    target.remove(SLUG, log.append)
    target.remove(SLUG, log.append)
    assert target.status(SLUG).status == "absent"
    assert call(status.url).status_code == 404
    assert leftovers(target.platform) == []


def test_the_same_spec_again_changes_nothing(target: KubernetesTarget, pushed: BuiltPackage) -> None:
    first = publish(target, pushed)
    again = publish(target, pushed, labels={"a": "b"})
    assert [item.identity for item in again.items] == [item.identity for item in first.items]


@pytest.mark.row("F316", "F254")
def test_a_change_at_50_calls_a_second_and_the_way_back_fail_no_call(
    target: KubernetesTarget, pushed: BuiltPackage
) -> None:
    url = publish(target, pushed, replicas=2, environment={"GREETING": "one"}).url
    with steadily(url, 50) as calls:
        eventually(lambda: calls.good > 50)
        publish(target, pushed, replicas=2, environment={"GREETING": "two"})
        assert call(url, {"environment": "GREETING"}).json() == {"prediction": "two"}
        more = publish(target, pushed, replicas=3, environment={"GREETING": "two"})
        assert (more.replicas, more.ready_replicas) == (3, 3)
        log: list[str] = []
        back = target.rollback(SLUG, log.append)
        assert (back.replicas, back.ready_replicas) == (2, 2)
        assert call(url, {"environment": "GREETING"}).json() == {"prediction": "one"}
        seen = calls.good
        eventually(lambda: calls.good > seen + 300)
    print(f"{calls.good} calls, {len(calls.bad)} failed")
    assert calls.bad == []
    assert log[0].startswith("Going back to the version before")
    # And forth again: the version before is now the one that was left.
    target.rollback(SLUG, print)
    assert call(url, {"environment": "GREETING"}).json() == {"prediction": "two"}


@pytest.mark.row("F327", "F328")
def test_a_revoked_key_opens_nothing_within_five_seconds(
    target: KubernetesTarget, pushed: BuiltPackage
) -> None:
    url = publish(target, pushed, replicas=2).url
    other = key_record("another-key")
    took = []
    for _ in range(5):
        target.write_keys(SLUG, [other])
        began = time.monotonic()
        eventually(lambda: all(call(url).status_code == 401 for _ in range(8)), 5)
        took.append(time.monotonic() - began)
        assert call(url, key="another-key").ok
        target.write_keys(SLUG, [other, key_record()])
        eventually(lambda: all(call(url).ok for _ in range(8)), 5)
    print("a revoked key was refused after", [f"{seconds:.1f} s" for seconds in took])
    assert target.status(SLUG).items[0].restarts == 0


TROUBLES: dict[str, tuple[dict[str, Any], str, str, float]] = {
    "memory": (
        {"environment": {"EAT": "900000000"}},
        r"ran out of memory \(OOMKilled\): it wanted more than its limit of 0.3 GB",
        "higher memory limit",
        60,
    ),
    "crash": (
        {"environment": {"CRASH": "1"}},
        r"(?s)keeps crashing \(CrashLoopBackOff\): it ends with code \d+ .*the weights are not where",
        "Correct the script",
        90,
    ),
    "room": (
        {"cpu_request": 500.0, "cpu_limit": 500.0},
        r"no node has room \(Unschedulable\): too little cpu is left",
        "lower requests",
        10,
    ),
}


@pytest.mark.row("F324")
@pytest.mark.parametrize("name", TROUBLES)
def test_what_does_not_come_up_is_explained_and_leaves_nothing(
    target: KubernetesTarget, pushed: BuiltPackage, name: str
) -> None:
    changes, words, hint, seconds = TROUBLES[name]
    log: list[str] = []
    target.start_timeout = seconds
    with pytest.raises(TargetError, match=words) as caught:
        publish(target, pushed, log=log.append, **changes)
    print(caught.value.message)
    assert hint in caught.value.hint
    assert any(SLUG in line and ":" in line for line in log)
    assert leftovers(target.platform) == []
    assert target.status(SLUG).status == "absent"


@pytest.mark.row("F324")
def test_an_image_that_cannot_be_pulled_is_explained_and_what_ran_goes_on(
    target: KubernetesTarget, pushed: BuiltPackage, registry_running: RegistryServer
) -> None:
    url = publish(target, pushed).url
    before = sorted(leftovers(target.platform))
    gone = BuiltPackage("oci", pushed.reference, "sha256:" + "0" * 64, 1)
    with pytest.raises(
        TargetError, match=r"cannot be pulled \(ImagePullBackOff\): the registry does not have"
    ) as caught:
        publish(target, gone)
    assert caught.value.hint == "Package the model again."
    # The same place in the registry, and no right to it; the nodes do not have this image yet.
    assert call(url).ok
    assert target.status(SLUG).status == "running"
    eventually(lambda: sorted(leftovers(target.platform)) == before)


@pytest.mark.row("F324")
def test_a_refused_login_is_explained(
    target: KubernetesTarget,
    registry_running: RegistryServer,
    package_home: Path,
    model_file: Path,
    tmp_path: Path,
) -> None:
    # An image of its own: the node pulls what it does not have.
    files = {"predict.py": f"# {uuid.uuid4()}\n{cluster.SCRIPT}", "requirements.txt": "numpy\nsklearn\n"}
    repository = endpoints.write_files(tmp_path / "repository", files)
    builder = builder_class("oci")(home=str(package_home), registry=registry_running.configured())
    package = builder.build(endpoints.package_request(model_file, repository), print)
    target.registry = registry_running.configured(password="wrong")
    with pytest.raises(TargetError, match="the registry does not let the cluster have it") as caught:
        publish(target, package)
    assert "c.Registry" in caught.value.hint
    assert "wrong" not in caught.value.message
    assert leftovers(target.platform) == []


@pytest.mark.row("F121", "C16")
def test_the_rights_the_chart_gives_are_enough_and_no_fewer(
    target: KubernetesTarget, pushed: BuiltPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster.account_of_the_chart(tmp_path / "account", monkeypatch) as take_away:
        target.kubeconfig, target.service_account = "", str(tmp_path / "account")
        assert target.health().available, target.health()
        url = publish(target, pushed, max_replicas=3).url
        assert call(url).ok
        target.write_keys(SLUG, [])
        eventually(lambda: call(url).status_code == 401, 5)
        target.remove(SLUG, print)
        assert leftovers(target.platform) == []
        take_away("pods")
        health = target.health()
        assert not health.available
        assert health.reason == "The cluster does not let the platform patch pods."
    target.kubeconfig = str(cluster.kubeconfig_of_tests())


@pytest.mark.row("F330")
def test_an_ingress_of_the_cluster_lets_calls_in(
    target: KubernetesTarget, pushed: BuiltPackage, tmp_path: Path
) -> None:
    with cluster.ingress_controller(tmp_path, target.platform) as address:
        target.expose, target.host, target.ingress_class = "ingress", "models.example.org", target.platform
        status = publish(target, pushed)
        assert status.url == f"https://models.example.org/{SLUG}/"

        def answer(path: str, key: str = endpoints.KEY) -> requests.Response:
            headers = {"Host": "models.example.org", "apikey": key, "Content-Type": "application/json"}
            return requests.post(f"{address}{path}", json=endpoints.ROW, headers=headers, timeout=10)

        eventually(lambda: answer(f"/{SLUG}/").ok)
        assert answer(f"/{SLUG}/").json() == {"prediction": 0.0}
        assert answer(f"/{SLUG}").ok
        assert answer(f"/{SLUG}/", "wrong").status_code == 401
        # Nothing else of the pods is seen from outside.
        for path in ("/", "/healthz", f"/{SLUG}/healthz", "/metrics"):
            assert answer(path).status_code == 404
        # What the cluster does not have is named, and the Ingress stays.
        target.expose, target.gateway_ref = "http_route", "edge/public"
        if not cluster.knows("httproutes.gateway.networking.k8s.io"):
            with pytest.raises(TargetError, match="The cluster takes no HTTPRoute") as caught:
                publish(target, pushed)
            assert "Gateway API" in caught.value.hint
        # Back to the platform's gateway: the Ingress goes.
        target.expose = "gateway"
        assert call(publish(target, pushed, cpu_limit=0.6).url).ok
        eventually(lambda: answer(f"/{SLUG}/").status_code == 404)


def test_a_service_that_starts_anew_finds_what_runs(
    target: KubernetesTarget, pushed: BuiltPackage, tmp_path: Path
) -> None:
    url = publish(target, pushed).url
    target.gateway.remove_route(SLUG)
    assert call(url).status_code == 404
    target.restore(print)
    assert requests.post(url, timeout=10).status_code == 401
    assert call(url).ok
