"""How calls reach an endpoint in a cluster, and where callers find it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.targets.gateway import Gateway
from a360_hub_service.backends.targets.kubernetes import manifests
from a360_hub_service.backends.targets.kubernetes.manifests import Place

GATEWAY, INGRESS, HTTP_ROUTE = WAYS = ("gateway", "ingress", "http_route")


@dataclass(frozen=True)
class Exposure:
    """One way: the platform's gateway, where its network reaches addresses of Services; or the cluster's own.

    `host` is the name callers use for an Ingress or a route of the Gateway API, `gateway_ref` names the
    Gateway.
    """

    way: str = GATEWAY
    host: str = ""
    ingress_class: str = ""
    tls_secret: str = ""
    gateway_ref: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Exposure":
        """Return what the inputs of a deployment target say."""
        names = ("host", "ingress_class", "tls_secret", "gateway_ref")
        return cls(settings.get("expose") or GATEWAY, **{name: settings.get(name) or "" for name in names})

    def manifests(self, place: Place) -> list[dict[str, Any]]:
        """Return what the cluster needs for it beside the Service."""
        if self.way == INGRESS:
            return [manifests.ingress(place, self.host, self.ingress_class, self.tls_secret)]
        if self.way == HTTP_ROUTE:
            return [manifests.http_route(place, self.host, self.gateway_ref)]
        return []

    def url(self, gateway: Gateway, slug: str) -> str:
        """Return where callers find an endpoint."""
        return gateway.url(slug) if self.way == GATEWAY else f"https://{self.host}/{slug}/"

    def open(self, gateway: Gateway, slug: str, service: Mapping[str, Any], log: Log) -> None:
        """Let the platform's gateway send calls to a Service, if calls come by it. Raises `TargetError`."""
        if self.way != GATEWAY:
            gateway.remove_route(slug)
            return
        gateway.ensure_running(log)
        address = str(service["spec"]["clusterIP"])
        address = f"[{address}]" if ":" in address else address
        # The cluster knows which replicas answer. A look of the gateway's would meet any of them, and one
        # that fails would close the endpoint.
        gateway.set_route(slug, [f"{address}:{service['spec']['ports'][0]['port']}"], is_checked=False)
