"""What the platform asks of a cluster: valid in each version, restricted, and the same each time."""

import base64
import json
from typing import Any

import kubernetes_validate
import pytest

from a360_hub_service.backends.images import BuiltPackage
from a360_hub_service.backends.targets import EndpointSpec
from a360_hub_service.backends.targets.kubernetes import manifests, names
from a360_hub_service.backends.targets.kubernetes.exposure import Exposure
from a360_hub_service.backends.targets.kubernetes.manifests import Place, Workload

PLACE = Place(platform="a360", namespace="a360-iris", slug="iris-forest-1-0")
WORKLOAD = Workload(
    image="registry.example.org/a360/iris@sha256:" + "1" * 64,
    revision="0123456789ab",
    replicas=2,
    cpu_request=0.25,
    cpu_limit=1.5,
    memory_request=0.5,
    memory_limit=1.0,
    environment={"A360_THREADS": "2", "HOME": "/tmp"},
    secret_environment=["GREETING", "HOME"],
    pull_secret="iris-forest-1-0-pull",
    node_selector={"disk": "ssd"},
    tolerations=[{"key": "models", "operator": "Exists"}],
)
SUBSCRIBER = Workload(
    image="x", revision="1", port=None, health_command=["python", "-m", "health"], keys=False
)


def all_manifests() -> list[dict[str, Any]]:
    return [
        manifests.namespace("a360-iris", "a360"),
        manifests.deployment(PLACE, WORKLOAD, {"a360.endpoint": "x"}),
        manifests.deployment(PLACE, SUBSCRIBER, {}),
        manifests.service(PLACE),
        manifests.secret(PLACE, "-keys", {"keys.json": "[]"}),
        manifests.pull_secret(PLACE, "registry.example.org", "a", "b"),
        manifests.autoscaler(PLACE, 2, 5, 70),
        manifests.disruption_budget(PLACE),
        manifests.network_policy(PLACE, callers=[], egress=None),
        manifests.network_policy(PLACE, callers=[{"podSelector": {}}], egress=[], has_port=False),
        manifests.ingress(PLACE, "models.example.org", "nginx", "tls"),
        manifests.ingress(PLACE, "models.example.org"),
    ]


@pytest.mark.row("F316", "F317", "F318", "F319", "F320", "F321")
@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_manifests_are_valid(version: str) -> None:
    for manifest in all_manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("workload", [WORKLOAD, SUBSCRIBER], ids=["http", "mqtt"])
def test_pods_are_restricted(workload: Workload) -> None:
    spec = manifests.deployment(PLACE, workload, {})["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    space = manifests.namespace("x", "a360")["metadata"]["labels"]
    assert space["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.row("F317", "F318", "F319", "F320", "C18")
def test_a_form_becomes_quantities_and_variables() -> None:
    container = manifests.deployment(PLACE, WORKLOAD, {})["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {
        "requests": {"cpu": "250m", "memory": "500000000"},
        "limits": {"cpu": "1500m", "memory": "1000000000"},
    }
    # What users may not see stands in the Secret of the revision; the platform's own cannot be replaced.
    key = {"name": "iris-forest-1-0-0123456789ab", "key": "env.GREETING"}
    assert container["env"] == [
        {"name": "GREETING", "valueFrom": {"secretKeyRef": key}},
        {"name": "A360_THREADS", "value": "2"},
        {"name": "HOME", "value": "/tmp"},
    ]
    assert manifests.resources(Workload(image="x", revision="1")) == {}
    assert manifests.cores(0.0001) == "1m"


def test_calls_are_not_lost_when_replicas_come_and_go() -> None:
    spec = manifests.deployment(PLACE, WORKLOAD, {})["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > manifests.PRE_STOP_SECONDS + WORKLOAD.drain_seconds
    container = pod["containers"][0]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": manifests.PRE_STOP_SECONDS}}}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert manifests.disruption_budget(PLACE)["spec"]["maxUnavailable"] == 1


def test_what_listens_to_a_broker_has_no_port() -> None:
    spec = manifests.deployment(PLACE, SUBSCRIBER, {})["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert "ports" not in container
    assert container["livenessProbe"]["exec"] == {"command": ["python", "-m", "health"]}
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]
    policy = manifests.network_policy(PLACE, callers=[], egress=None, has_port=False)["spec"]
    assert policy["ingress"] == []


def test_the_network_lets_calls_in_and_nothing_to_the_metadata_of_the_cloud() -> None:
    spec = manifests.network_policy(PLACE, callers=[], egress=None)["spec"]
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert spec["egress"][0]["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]
    peers = [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    assert manifests.network_policy(PLACE, callers=peers, egress=[])["spec"]["ingress"][0]["from"] == peers
    assert manifests.network_policy(PLACE, callers=peers, egress=[])["spec"]["egress"] == []


def test_only_the_two_paths_of_an_endpoint_are_seen_from_outside() -> None:
    spec = manifests.ingress(PLACE, "models.example.org", "nginx", "tls")["spec"]
    paths = spec["rules"][0]["http"]["paths"]
    assert {(each["path"], each["pathType"]) for each in paths} == {
        ("/iris-forest-1-0", "Exact"),
        ("/iris-forest-1-0/", "Exact"),
    }
    assert spec["tls"] == [{"hosts": ["models.example.org"], "secretName": "tls"}]
    route = manifests.http_route(PLACE, "models.example.org", "edge/public")
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    assert {match["path"]["type"] for match in route["spec"]["rules"][0]["matches"]} == {"Exact"}
    by_gateway = Exposure.of({})
    assert by_gateway.manifests(PLACE) == []
    assert [each["kind"] for each in Exposure("http_route", "h", gateway_ref="g").manifests(PLACE)] == [
        "HTTPRoute"
    ]


def test_the_login_of_a_registry_is_written_as_nodes_read_it() -> None:
    secret = manifests.pull_secret(PLACE, "registry.example.org:5000", "me", "pass:word")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    document = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    login = document["auths"]["registry.example.org:5000"]
    assert base64.b64decode(login["auth"]) == b"me:pass:word"


def test_names_fit_and_stay_apart() -> None:
    long = "p" * 80
    assert names.namespace_name("a360", "iris") == "a360-iris"
    assert len(names.namespace_name("a360", long)) == 63
    assert names.namespace_name("a360", long) != names.namespace_name("a360", f"{long}x")
    assert names.object_name("9-lives") == "e-9-lives"
    assert names.selector_text("a360", "x") == (
        "app.kubernetes.io/managed-by=a360,a360.platform=a360,a360.slug=x"
    )


def test_a_revision_is_named_by_what_its_pods_are_made_of() -> None:
    package = BuiltPackage("oci", "r/x:1", "sha256:1", 1)

    def revision(settings: dict[str, object] | None = None, **changes: Any) -> str:
        return names.revision_of(EndpointSpec("x", package, **changes), settings or {})

    assert revision() == revision(replicas=3, labels={"a": "b"}, max_replicas=9)
    different = {
        revision(),
        revision(cpu_limit=1.0),
        revision(environment={"A": "1"}),
        revision({"tmp": 1}),
    }
    assert len(different) == 4


@pytest.mark.parametrize(
    ("quantity", "words"),
    [("300M", "0.3 GB"), ("1000000000", "1 GB"), ("1G", "1 GB"), ("1Gi", "1.07374 GB"), ("1e9", "1e9")],
)
def test_quantities_are_read_as_clusters_write_them(quantity: str, words: str) -> None:
    assert manifests.in_gigabytes(quantity) == words
