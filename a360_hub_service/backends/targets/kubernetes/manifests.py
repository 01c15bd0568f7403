"""Manifests of what runs in a cluster: pure functions from values to dictionaries."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from a360_hub_service.backends.targets.kubernetes import names

Manifest = dict[str, Any]

PORT = 8080
USER = 65532
"""The user images of the platform run as; it owns nothing."""
PRE_STOP_SECONDS = 5
"""How long a replica goes on answering after it is to stop: until nobody sends it calls any more."""
METADATA = "169.254.0.0/16"
"""Where clouds hand out the rights of a machine; no model has business there."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the objects of one endpoint are, and how they are found again."""

    platform: str
    namespace: str
    slug: str

    @property
    def name(self) -> str:
        """The name of the objects."""
        return names.object_name(self.slug)

    def metadata(self, suffix: str = "", **annotations: str) -> Manifest:
        """Return the metadata of an object of this endpoint."""
        found: Manifest = {
            "name": f"{self.name}{suffix}",
            "namespace": self.namespace,
            "labels": names.labels(self.platform, self.slug),
        }
        return found | ({"annotations": annotations} if annotations else {})


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Pods of one image. CPUs are cores, memory is in GB (1e9 bytes); 0 is none.

    Attributes
    ----------
    revision
        Name of what the pods are made of; another one replaces them.
    environment
        Variables with values anybody may see.
    secret_environment
        Names of variables whose values the Secret of the revision holds as ``env.<name>``.
    port
        Where it answers HTTP with ``/healthz`` and ``/readyz``; ``None`` for what answers no calls.
    health_command
        What tells whether a pod without a port works; it ends with 0 if so.
    keys
        Whether the pods get the keys that open the endpoint, in ``/keys/keys.json``.
    """

    image: str
    revision: str
    replicas: int = 1
    cpu_request: float = 0.0
    cpu_limit: float = 0.0
    memory_request: float = 0.0
    memory_limit: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Sequence[str] = ()
    port: int | None = PORT
    health_command: Sequence[str] = ()
    keys: bool = True
    pull_secret: str = ""
    drain_seconds: int = 30
    start_seconds: int = 90
    tmp_megabytes: int = 64
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()


def namespace(name: str, platform: str) -> Manifest:
    """Return a namespace that lets only restricted pods in."""
    restricted = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "warn")
        for suffix, value in (("", "restricted"), ("-version", "latest"))
    }
    labels = {names.MANAGED: names.MANAGER, names.PLATFORM: platform}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels | restricted},
    }


def deployment(place: Place, workload: Workload, annotations: Mapping[str, str]) -> Manifest:
    """Return the Deployment: a new pod is ready before an old one goes, and none is missing meanwhile."""
    chosen = names.selector(place.platform, place.slug)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": place.metadata(**{names.REVISION: workload.revision, **annotations}),
        "spec": {
            "replicas": workload.replicas,
            # The version before comes back by its Secret, not by what the cluster remembers.
            "revisionHistoryLimit": 0,
            # Longer than anybody waits for pods: who waits says why in better words.
            "progressDeadlineSeconds": workload.start_seconds + 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": chosen},
            "template": {
                "metadata": {
                    "labels": {
                        **names.labels(place.platform, place.slug),
                        names.REVISION: workload.revision,
                    }
                },
                "spec": _pod(place, workload),
            },
        },
    }


def _pod(place: Place, workload: Workload) -> Manifest:
    chosen = names.selector(place.platform, place.slug)
    tmp = {"medium": "Memory", "sizeLimit": f"{workload.tmp_megabytes}Mi"}
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": tmp}]
    if workload.keys:
        volumes.append({"name": "keys", "secret": {"secretName": f"{place.name}-keys", "defaultMode": 0o444}})
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": PRE_STOP_SECONDS + workload.drain_seconds + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": chosen},
            }
        ],
        "containers": [_container(place, workload)],
        "volumes": volumes,
    }
    if workload.pull_secret:
        pod["imagePullSecrets"] = [{"name": workload.pull_secret}]
    if workload.node_selector:
        pod["nodeSelector"] = dict(workload.node_selector)
    if workload.tolerations:
        pod["tolerations"] = [dict(each) for each in workload.tolerations]
    return pod


def _container(place: Place, workload: Workload) -> Manifest:
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if workload.keys:
        # The folder, not the file: what is mounted by its path stays what it was.
        mounts.append({"name": "keys", "mountPath": "/keys", "readOnly": True})  # type: ignore[dict-item]
    container: Manifest = {
        "name": "model",
        "image": workload.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(place, workload),
        "resources": resources(workload),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if workload.port is not None:
        container["ports"] = [{"name": "http", "containerPort": workload.port, "protocol": "TCP"}]
        # The endpoint's own sleep needs no shell in the image.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}}
    return container | _probes(workload)


def _probes(workload: Workload) -> Manifest:
    """Return how the kubelet sees whether a pod has started, answers, and is alive."""
    if workload.port is None and not workload.health_command:
        return {}

    def looks(path: str) -> Manifest:
        if workload.port is None:
            return {"exec": {"command": list(workload.health_command)}}
        return {"httpGet": {"path": path, "port": "http"}}

    # A program that is run costs more than a question over HTTP.
    often = 1 if workload.port is not None else 5
    tries = max(1, workload.start_seconds // often)
    return {
        "startupProbe": looks("/readyz")
        | {"periodSeconds": often, "timeoutSeconds": 5, "failureThreshold": tries},
        "readinessProbe": looks("/readyz")
        | {"periodSeconds": 2 * often, "timeoutSeconds": 5, "failureThreshold": 2},
        "livenessProbe": looks("/healthz")
        | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def _environment(place: Place, workload: Workload) -> list[Manifest]:
    secret = f"{place.name}-{workload.revision}"
    hidden = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": f"env.{name}"}}}
        for name in sorted(workload.secret_environment)
    ]
    # The platform's own come last: of two with one name the last one counts.
    plain = [{"name": name, "value": value} for name, value in sorted(workload.environment.items())]
    return [each for each in hidden if each["name"] not in workload.environment] + plain


def resources(workload: Workload) -> Manifest:
    """Return requests and limits; what is 0 is left out."""
    found: Manifest = {}
    for kind, cpu, memory in (
        ("requests", workload.cpu_request, workload.memory_request),
        ("limits", workload.cpu_limit, workload.memory_limit),
    ):
        values = {"cpu": cores(cpu)} if cpu else {}
        values |= {"memory": str(int(memory * 1e9))} if memory else {}
        if values:
            found[kind] = values
    return found


def cores(value: float) -> str:
    """Return cores as a quantity: whole thousandths, at least one."""
    return f"{max(1, round(value * 1000))}m"


def in_words(found: Mapping[str, Mapping[str, str]]) -> str:
    """Return limits as people read them; clusters write quantities in a way of their own."""
    limits = found.get("limits", {})
    words = [f"CPU limit {limits['cpu']}"] if "cpu" in limits else []
    words += [f"memory limit {in_gigabytes(limits['memory'])}"] if "memory" in limits else []
    return f"{', '.join(words) or 'none asked for'} (Kubernetes)."


def in_gigabytes(quantity: str) -> str:
    """Return a quantity of bytes (``300M``, ``1Gi``) in GB, as it is when it has another form."""
    powers = {"": 1e0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    digits = quantity.rstrip("kKMGTi")
    unit = quantity[len(digits) :]
    return f"{int(digits) * powers[unit] / 1e9:g} GB" if digits.isdigit() and unit in powers else quantity


def service(place: Place) -> Manifest:
    """Return the Service calls come to."""
    port = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": place.metadata(),
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(place.platform, place.slug),
            "ports": [port],
        },
    }


def secret(place: Place, suffix: str, data: Mapping[str, str], kind: str = "Opaque") -> Manifest:
    """Return a Secret of the endpoint."""
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": place.metadata(suffix),
        "type": kind,
        "data": encoded,
    }


def pull_secret(place: Place, host: str, username: str, password: str) -> Manifest:
    """Return the Secret with which the nodes pull images from the registry at `host`."""
    login = base64.b64encode(f"{username}:{password}".encode()).decode()
    document = {"auths": {host: {"username": username, "password": password, "auth": login}}}
    data = {".dockerconfigjson": json.dumps(document)}
    return secret(place, "-pull", data, "kubernetes.io/dockerconfigjson")


def autoscaler(place: Place, least: int, most: int, cpu_percent: int) -> Manifest:
    """Return the HorizontalPodAutoscaler: more pods when they use more than this of their CPU request."""
    target = {"type": "Utilization", "averageUtilization": cpu_percent}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": place.metadata(),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": place.name},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def disruption_budget(place: Place) -> Manifest:
    """Return the PodDisruptionBudget: who empties a node takes one pod of the endpoint at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": place.metadata(),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector(place.platform, place.slug)},
        },
    }


def network_policy(
    place: Place, *, callers: Sequence[Manifest], egress: Sequence[Manifest] | None, has_port: bool = True
) -> Manifest:
    """Return the NetworkPolicy of the pods.

    Parameters
    ----------
    callers
        Peers whose calls are let in, to the port of the model only; everybody's when empty.
    egress
        Rules of where pods may go; ``None``: anywhere but to where clouds hand out rights.
    has_port
        Whether the pods take calls at all.
    """
    incoming: Manifest = {"ports": [{"port": "http", "protocol": "TCP"}]}
    if callers:
        incoming["from"] = list(callers)
    anywhere = [
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA]}}]},
        {"to": [{"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::/32"]}}]},
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": place.metadata(),
        "spec": {
            "podSelector": {"matchLabels": names.selector(place.platform, place.slug)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [incoming] if has_port else [],
            "egress": anywhere if egress is None else list(egress),
        },
    }


def ingress(place: Place, host: str, class_name: str = "", tls_secret: str = "") -> Manifest:
    """Return the Ingress: the endpoint's two paths and nothing else of the pods is seen from outside."""
    backend = {"service": {"name": place.name, "port": {"name": "http"}}}
    paths = [
        {"path": path, "pathType": "Exact", "backend": backend}
        for path in (f"/{place.slug}", f"/{place.slug}/")
    ]
    spec: Manifest = {"rules": [{"host": host, "http": {"paths": paths}}]}
    if class_name:
        spec["ingressClassName"] = class_name
    if tls_secret:
        spec["tls"] = [{"hosts": [host], "secretName": tls_secret}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": place.metadata(),
        "spec": spec,
    }


def http_route(place: Place, host: str, parent: str) -> Manifest:
    """Return the route of the Gateway API; `parent` is ``namespace/name`` of the Gateway, or its name."""
    space, _, name = parent.rpartition("/")
    matches = [{"path": {"type": "Exact", "value": path}} for path in (f"/{place.slug}", f"/{place.slug}/")]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": place.metadata(),
        "spec": {
            "parentRefs": [{"name": name} | ({"namespace": space} if space else {})],
            "hostnames": [host],
            "rules": [{"matches": matches, "backendRefs": [{"name": place.name, "port": 80}]}],
        },
    }
