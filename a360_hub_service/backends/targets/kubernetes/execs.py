"""Where the token of a kubeconfig comes from: a command, of those that are allowed."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from a360_hub_service.backends.targets.kubernetes.checking import KubeconfigError, known, text

EXEC = "client.authentication.k8s.io"
SIGNED = ("aws", "aws-iam-authenticator")
"""Commands whose token the service makes itself: nothing is run for them."""
AWS_VARIABLES = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_STS_REGIONAL_ENDPOINTS",
    }
)


@dataclass(frozen=True)
class Exec:
    """Where a token comes from: a command, its arguments and its own variables."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = f"{EXEC}/v1"


def read_exec(found: dict[str, Any], commands: Collection[str], notes: list[str]) -> Exec:
    """Check the part ``exec`` of a user; an old apiVersion is put right in place, with a note (C15)."""
    place = "users[0].user.exec"
    known(
        found,
        place,
        {"apiVersion", "command", "args", "env", "interactiveMode", "provideClusterInfo", "installHint"},
    )
    version = found.get("apiVersion")
    if version == f"{EXEC}/v1alpha1":
        found["apiVersion"] = version = f"{EXEC}/v1"
        notes.append(f"{place}.apiVersion was {EXEC}/v1alpha1, which clusters no longer know; it is now v1.")
    if version not in (f"{EXEC}/v1", f"{EXEC}/v1beta1"):
        raise KubeconfigError(f"{place}.apiVersion", f"is not {EXEC}/v1 or v1beta1", f"Write {EXEC}/v1.")
    if found.get("interactiveMode", "Never") == "Always":
        raise KubeconfigError(
            f"{place}.interactiveMode", "asks for a person, and none is there", "Write Never."
        )
    found["interactiveMode"] = "Never"
    command = text(found, "command", place)
    if command not in SIGNED and command not in commands:
        raise KubeconfigError(
            f"{place}.command",
            f"is {command!r}, which the platform does not run",
            f"Use {' or '.join(SIGNED)}; the operator may allow more (c.KubernetesTarget.exec_commands).",
        )
    arguments = found.get("args") or []
    if not isinstance(arguments, list) or not all(isinstance(each, str) for each in arguments):
        raise KubeconfigError(f"{place}.args", "is not a list of texts")
    run = Exec(command, tuple(arguments), _variables(found.get("env")), str(version))
    if command in SIGNED:
        cluster_of(run)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            if not run.environment.get(name):
                raise KubeconfigError(f"{place}.env", f"has no {name}", "Add the key pair of the IAM user.")
    return run


def _variables(found: Any) -> dict[str, str]:
    place, variables = "users[0].user.exec.env", {}
    if found is None:
        return {}
    if not isinstance(found, list):
        raise KubeconfigError(place, "is not a list of name and value")
    for index, each in enumerate(found):
        known(each, f"{place}[{index}]", {"name", "value"})
        name, value = each.get("name"), each.get("value")
        if name not in AWS_VARIABLES:
            allowed = ", ".join(sorted(AWS_VARIABLES))
            raise KubeconfigError(f"{place}[{index}].name", f"is {name!r}", f"These are allowed: {allowed}.")
        if not isinstance(value, str) or not value.strip():
            raise KubeconfigError(f"{place}[{index}].value", "is empty or no text; put it in quotes")
        variables[str(name)] = value.strip()
    return variables


@dataclass(frozen=True)
class EksCluster:
    """What ``aws eks get-token`` is asked for; `region` and `role` may be empty."""

    name: str
    region: str = ""
    role: str = ""


_FLAGS = {
    "aws": {"--cluster-name": "name", "--region": "region", "--role-arn": "role", "--output": ""},
    "aws-iam-authenticator": {
        "-i": "name",
        "--cluster-id": "name",
        "-r": "role",
        "--role": "role",
        "--region": "region",
    },
}
_WORDS = {"aws": ["eks", "get-token"], "aws-iam-authenticator": ["token"]}
_VALUES = {
    "name": r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}",
    "region": r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}",
    "role": r"arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+",
    "": "json",
}


def cluster_of(run: Exec) -> EksCluster:
    """Return which cluster a command of `SIGNED` makes a token for.

    Raises
    ------
    KubeconfigError
        For arguments it does not need for that, and for none that names the cluster.
    """
    place, words, found = "users[0].user.exec.args", [], dict[str, str]()
    rest = iter(run.arguments)
    for argument in rest:
        flag, _, value = argument.partition("=")
        if not flag.startswith("-"):
            words.append(flag)
            continue
        if flag not in _FLAGS[run.command]:
            known = ", ".join(_FLAGS[run.command])
            raise KubeconfigError(place, f"holds {flag}, which has no use here", f"These are known: {known}.")
        meaning = _FLAGS[run.command][flag]
        value = value or next(rest, "")
        if not re.fullmatch(_VALUES[meaning], value, re.ASCII):
            raise KubeconfigError(place, f"{flag} is {value[:100]!r}")
        found[meaning] = value
    if words != _WORDS[run.command]:
        raise KubeconfigError(place, f"is not the command {run.command} {' '.join(_WORDS[run.command])}")
    if not found.get("name"):
        raise KubeconfigError(place, "names no cluster", "Add --cluster-name and its name.")
    return EksCluster(found["name"], found.get("region", ""), found.get("role", ""))
