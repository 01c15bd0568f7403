"""Kubeconfigs as administrators paste them: checked, made plain, and never able to touch this machine.

A kubeconfig may name files to read and commands to run. Nobody but the operator may make the service do
either: what is accepted is a list, and everything else is refused with the name of its field.
"""

import ipaddress
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from a360_hub_service.backends.targets.kubernetes.checking import FLATTEN, KubeconfigError, known, pem, text
from a360_hub_service.backends.targets.kubernetes.execs import Exec, read_exec

LARGEST = 64 * 1024
_DEEPEST = 20
_PLACEHOLDER = re.compile(
    r"<[^<>]+>|^\$\{?\w+\}?$|^(REPLACE|CHANGE|YOUR)[-_ ].*|^x{3,}$|^\.{3}$", re.IGNORECASE
)


@dataclass(frozen=True)
class Rules:
    """What the operator lets kubeconfigs do beside the usual."""

    insecure: bool = False
    local_servers: bool = False
    commands: Collection[str] = ()


@dataclass(frozen=True)
class Access:
    """How a cluster is reached. All but `server` and `insecure` may be empty."""

    server: str
    authority: str = field(default="", repr=False)
    insecure: bool = False
    tls_name: str = ""
    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    exec: Exec | None = None


@dataclass(frozen=True)
class Kubeconfig:
    """A kubeconfig that was accepted: how to reach the cluster, its text made plain, and what was changed."""

    access: Access
    cluster: str
    text: str = field(repr=False)
    notes: tuple[str, ...] = ()


def read(text: str, rules: Rules | None = None) -> Kubeconfig:
    """Check a kubeconfig in YAML or JSON.

    Parameters
    ----------
    text
        The file.
    rules
        What the operator allows; the strictest when left out.

    Raises
    ------
    KubeconfigError
        If it is none, or asks for something that is not allowed.
    """
    rules = rules or Rules()
    document = _document(text)
    known(
        document,
        "",
        {"apiVersion", "kind", "preferences", "clusters", "users", "contexts", "current-context"},
    )
    if document.get("kind", "Config") != "Config" or document.get("apiVersion", "v1") != "v1":
        raise KubeconfigError("kind", "is not Config of v1", "Paste a kubeconfig, usually ~/.kube/config.")
    cluster_name, cluster = _only(document, "clusters", "cluster")
    user_name, user = _only(document, "users", "user")
    context_name, context = _only(document, "contexts", "context")
    known(context, "contexts[0].context", {"cluster", "user", "namespace"})
    for key, name in (("cluster", cluster_name), ("user", user_name)):
        if context.get(key) != name:
            raise KubeconfigError(f"contexts[0].context.{key}", f"is not the {key} “{name}”")
    if document.get("current-context") not in (None, "", context_name):
        raise KubeconfigError("current-context", f"is not the context “{context_name}”")
    notes: list[str] = []
    access = Access(**_cluster(cluster, rules), **_user(user, rules, notes))
    if not access.server:
        raise KubeconfigError("clusters[0].cluster.server", "is missing")
    document["current-context"] = context_name
    return Kubeconfig(access, cluster_name, json.dumps(document), tuple(notes))


def _document(text: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "replace")) > LARGEST:
        raise KubeconfigError("", f"The kubeconfig is larger than {LARGEST // 1024} KiB.")
    try:
        _refuse_tricks(text)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, KubeconfigError):
            raise
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" (line {line + 1})" if line is not None else ""
        raise KubeconfigError("", f"The kubeconfig is not YAML{where}.", "Paste the whole file.") from error
    if not isinstance(document, dict):
        raise KubeconfigError("", "The kubeconfig is not a YAML mapping.", "Paste the whole file.")
    for place, value in _texts(document, ""):
        if not place.endswith("-data") and _PLACEHOLDER.search(value):
            raise KubeconfigError(place, "is still the template's placeholder", "Fill in the real value.")
    return document


def _refuse_tricks(text: str) -> None:
    """See that reading a text takes no longer than its size: no aliases, and no deep nesting."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise KubeconfigError("", "The kubeconfig holds YAML aliases (*name).", "Write the values out.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise KubeconfigError("", "The kubeconfig is nested too deeply.", "Paste the whole file.")


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text in a document with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}[{index}]")


def _only(document: dict[str, Any], listed: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Return name and content of the one entry there must be."""
    found = document.get(listed)
    if not isinstance(found, list) or len(found) != 1:
        count = len(found) if isinstance(found, list) else 0
        raise KubeconfigError(
            listed,
            f"holds {count}, not one",
            "Keep one cluster, one user and one context: kubectl config view --minify --flatten --raw.",
        )
    known(found[0], f"{listed}[0]", {"name", kind})
    name, content = found[0].get("name"), found[0].get(kind)
    if not isinstance(name, str) or not name:
        raise KubeconfigError(f"{listed}[0].name", "is missing")
    if not isinstance(content, dict):
        raise KubeconfigError(f"{listed}[0].{kind}", "is missing")
    return name, content


_FILE = "names a file, and the file is not on the platform's machine"
_OLD = "is no longer known to clusters|Use a token, a client certificate or exec."
_OTHER = "lets the platform act as somebody else|Give the platform a user of its own."


def _cluster(found: dict[str, Any], rules: Rules) -> dict[str, Any]:
    place = "clusters[0].cluster"
    known(
        found,
        place,
        {"server", "certificate-authority-data", "insecure-skip-tls-verify", "tls-server-name", "extensions"},
        {
            "certificate-authority": f"{_FILE}|Use certificate-authority-data. {FLATTEN}",
            "proxy-url": "sends the platform's calls elsewhere; only the operator may|Leave it out.",
        },
    )
    found.pop("extensions", None)
    insecure = found.get("insecure-skip-tls-verify", False)
    if insecure and not rules.insecure:
        raise KubeconfigError(
            f"{place}.insecure-skip-tls-verify",
            "would hand the cluster's credentials to whoever answers",
            "Use certificate-authority-data; or the operator sets c.KubernetesTarget.allow_insecure.",
        )
    return {
        "server": _server(found.get("server"), f"{place}.server", rules),
        "authority": pem(found, "certificate-authority-data", place, "CERTIFICATE"),
        "insecure": bool(insecure),
        "tls_name": text(found, "tls-server-name", place),
    }


def _server(value: Any, place: str, rules: Rules) -> str:
    if not isinstance(value, str) or not value:
        raise KubeconfigError(place, "is missing")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise KubeconfigError(place, "is no address", "Write https://host or https://host:port.") from error
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise KubeconfigError(place, "is no https address", "Write https://host or https://host:port.")
    if parts.username is not None:
        raise KubeconfigError(place, "holds a user name", "Leave it out.")
    host = parts.hostname.rstrip(".")
    if not rules.local_servers and (port == 0 or _is_this_machine(host)):
        raise KubeconfigError(
            place,
            "is an address of the platform's own machine or of its cloud's metadata",
            "Give the address by which the cluster is reached from elsewhere; or the operator sets "
            "c.KubernetesTarget.allow_local_servers.",
        )
    return value.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name with a number for its last part is an address in an old spelling (127.1, 0x7f000001).
        last = host.rpartition(".")[2]
        return host.endswith("localhost") or last.isdigit() or last.startswith("0x")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(
        mapped.is_loopback or mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast
        or str(mapped) == "fd00:ec2::254"
    )  # fmt: skip


def _user(found: dict[str, Any], rules: Rules, notes: list[str]) -> dict[str, Any]:
    place = "users[0].user"
    known(
        found,
        place,
        {"token", "client-certificate-data", "client-key-data", "exec"},
        {
            "tokenFile": f"{_FILE}|Use token. {FLATTEN}",
            "client-certificate": f"{_FILE}|Use client-certificate-data. {FLATTEN}",
            "client-key": f"{_FILE}|Use client-key-data. {FLATTEN}",
            "auth-provider": _OLD,
            "username": _OLD,
            "password": _OLD,
            **dict.fromkeys(("as", "as-uid", "as-groups", "as-user-extra"), _OTHER),
        },
    )
    certificate = pem(found, "client-certificate-data", place, "CERTIFICATE")
    key = pem(found, "client-key-data", place, "PRIVATE KEY")
    if bool(certificate) != bool(key):
        missing = "client-key-data" if certificate else "client-certificate-data"
        raise KubeconfigError(f"{place}.{missing}", "is missing; certificate and key belong together")
    token = text(found, "token", place)
    ways = [name for name, given in (("token", token), ("exec", found.get("exec"))) if given]
    if len(ways) + bool(certificate) != 1:
        raise KubeconfigError(place, "must hold one of token, client-certificate-data and exec")
    run = read_exec(found["exec"], rules.commands, notes) if "exec" in found else None
    return {"token": token, "certificate": certificate, "key": key, "exec": run}
