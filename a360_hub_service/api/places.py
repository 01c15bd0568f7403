"""Places to publish at, clusters and brokers: the inputs of their credentials."""

from typing import Literal

from pydantic import Field

from .accounts import LABEL, PORT, THIS_MACHINE
from .data_sources import Password, Token
from .routing import Form

# Which of its parts go together is checked with more words than a pattern has.
BROKER = rf"^mqtts?://({LABEL}(\.{LABEL})*|\[[0-9A-Fa-f:.]+\])(:({PORT}))?/?$"
# Whoever reaches an engine rules its machine: from afar it is reached through a tunnel that ends here.
ENGINE = rf"^(unix:///[A-Za-z0-9._/-]+|tcp://{THIS_MACHINE}:({PORT}))$"
HOST = rf"^{LABEL}(\.{LABEL})*$"
OBJECT = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
GATEWAY_REF = r"^([a-z0-9][a-z0-9-]*/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"


class KubernetesInputs(Form):
    """What a Kubernetes cluster needs, EKS included (F119 to F126)."""

    kubeconfig: str = Field(
        min_length=1,
        max_length=65536,
        description="One cluster, one user, one context, with all they need in it; YAML or JSON.",
    )
    expose: Literal["gateway", "ingress", "http_route"] = Field(
        "gateway", description="How calls come in: the platform's gateway, an Ingress or the Gateway API."
    )
    host: str | None = Field(None, max_length=253, pattern=HOST, description="Name callers use.")
    ingress_class: str | None = Field(None, max_length=63, pattern=OBJECT)
    tls_secret: str | None = Field(
        None, max_length=253, pattern=OBJECT, description="Secret with the certificate, in each namespace."
    )
    gateway_ref: str | None = Field(
        None, max_length=300, pattern=GATEWAY_REF, description="Gateway of the Gateway API: namespace/name."
    )


class ClearbladeInputs(Form):
    """What a broker needs: a user with a password or, at ClearBlade, a system key with a user's token."""

    broker_url: str = Field(
        max_length=1000, pattern=BROKER, description="As mqtts://broker.example.org:8883; 1884 at ClearBlade."
    )
    username: str | None = Field(None, min_length=1, max_length=255)
    password: Password | None = None
    system_key: Token | None = None
    user_token: Token | None = None
    ca_certificate: str | None = Field(
        None, min_length=1, max_length=100_000, description="PEM of the CA of a broker with one of its own."
    )
    mqtt_version: Literal["3.1.1", "5"] = "3.1.1"
    answer_qos: Literal[1, 2] = Field(
        2, description="1 for brokers without quality 2; an answer may then arrive twice."
    )
    engine_url: str | None = Field(
        None,
        max_length=1000,
        pattern=ENGINE,
        description="The edge's Docker engine; this machine's if left out.",
    )


class PlaceInputsEdit(Form):
    """What may change of these places; null takes an input away."""

    kubeconfig: str = Field("", min_length=1, max_length=65536)
    expose: Literal["gateway", "ingress", "http_route"] = "gateway"
    ingress_class: str | None = Field(None, max_length=63, pattern=OBJECT)
    tls_secret: str | None = Field(None, max_length=253, pattern=OBJECT)
    gateway_ref: str | None = Field(None, max_length=300, pattern=GATEWAY_REF)
    broker_url: str = Field("", min_length=1, max_length=1000, pattern=BROKER)
    system_key: Token | None = None
    user_token: Token | None = None
    ca_certificate: str | None = Field(None, min_length=1, max_length=100_000)
    mqtt_version: Literal["3.1.1", "5"] = "3.1.1"
    answer_qos: Literal[1, 2] = 2
    engine_url: str | None = Field(None, max_length=1000, pattern=ENGINE)
