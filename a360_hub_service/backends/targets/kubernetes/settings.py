"""What the operator decides about endpoints in clusters."""

import re
from collections.abc import Mapping

from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, Unicode, validate

from a360_hub_service.backends.targets.base import Target
from a360_hub_service.backends.targets.kubernetes.exposure import WAYS, Exposure
from a360_hub_service.backends.targets.kubernetes.kubeconfig import Rules
from a360_hub_service.backends.targets.kubernetes.logins import SERVICE_ACCOUNT

_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")

RIGHTS = (
    ("create", "", "namespaces"),
    ("delete", "", "namespaces"),
    ("patch", "apps", "deployments"),
    ("patch", "", "services"),
    ("list", "", "secrets"),
    ("patch", "", "secrets"),
    ("patch", "", "pods"),
    ("get", "", "pods/log"),
    ("patch", "autoscaling", "horizontalpodautoscalers"),
    ("patch", "policy", "poddisruptionbudgets"),
    ("patch", "networking.k8s.io", "networkpolicies"),
)
"""What the platform's user must be allowed in a cluster: those that are easily forgotten."""


class KubernetesSettings(Target):
    """The settings of the target, and of each deployment target beside its own."""

    kubeconfig = Unicode(
        "", help="File that says which cluster is meant; empty: the one the service runs in."
    ).tag(config=True)
    service_account = Unicode(
        str(SERVICE_ACCOUNT), help="Folder of the service's own account, where it runs in a cluster."
    ).tag(config=True)
    account = Unicode(help="The deployment target whose cluster is meant; set by the application.")
    platform = Unicode(
        "a360", help="Name of this installation: a label of all it makes, and first part of namespaces."
    ).tag(config=True)
    expose = Enum(
        WAYS, "gateway", help="How calls come in: the platform's gateway, an Ingress, or the Gateway API."
    ).tag(config=True)
    host = Unicode("", help="Name callers use, for an Ingress or a route.").tag(config=True)
    ingress_class = Unicode("", help="Class of the Ingress; the cluster's default when empty.").tag(
        config=True
    )
    tls_secret = Unicode("", help="Secret with the certificate, in each project's namespace.").tag(
        config=True
    )
    gateway_ref = Unicode("", help="Gateway of the Gateway API, as namespace/name.").tag(config=True)
    exec_commands = List(
        Unicode(), help="Commands that kubeconfigs may name beside aws and aws-iam-authenticator."
    ).tag(config=True)
    allow_insecure = Bool(False, help="May kubeconfigs say insecure-skip-tls-verify?").tag(config=True)
    allow_local_servers = Bool(
        False, help="May kubeconfigs name addresses of this machine, or of its cloud's metadata?"
    ).tag(config=True)
    callers = List(
        Dict(), help="Peers of a NetworkPolicy whose calls are let in; everybody's when empty."
    ).tag(config=True)
    egress = List(
        Dict(),
        None,
        allow_none=True,
        help="Egress rules of a NetworkPolicy; None: anywhere but the cloud's metadata.",
    ).tag(config=True)
    node_selector = Dict(help="Labels of nodes endpoints may run on.").tag(config=True)
    tolerations = List(Dict(), help="Tolerations of the pods.").tag(config=True)
    scale_at_percent = Int(
        70, help="Part of their CPU request above which replicas are added, where a form names a maximum."
    ).tag(config=True)
    tmp_size = Int(64, help="MB a replica may write to its /tmp, which is memory.").tag(config=True)
    request_timeout = Float(15.0, help="Seconds one answer of a cluster may take.").tag(config=True)

    @validate("platform")
    def _check_platform(self, proposal: Mapping[str, str]) -> str:
        if not _LABEL.fullmatch(proposal["value"]):
            raise TraitError(
                "KubernetesTarget.platform has at most 32 lower-case letters, digits and dashes, and begins "
                "with a letter."
            )
        return proposal["value"]

    @property
    def rules(self) -> Rules:
        """What kubeconfigs may do."""
        return Rules(self.allow_insecure, self.allow_local_servers, tuple(self.exec_commands))

    @property
    def own_exposure(self) -> Exposure:
        """How calls come to the operator's own cluster."""
        return Exposure(self.expose, self.host, self.ingress_class, self.tls_secret, self.gateway_ref)
