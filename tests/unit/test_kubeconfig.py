"""Kubeconfigs that are accepted, and all that they may not ask for."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from a360_hub_service.backends.targets import TargetError
from a360_hub_service.backends.targets.kubernetes.checking import KubeconfigError
from a360_hub_service.backends.targets.kubernetes.execs import EksCluster
from a360_hub_service.backends.targets.kubernetes.kubeconfig import LARGEST, Rules, read
from a360_hub_service.backends.targets.kubernetes.logins import Login, eks_token

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n").decode()
KEY = base64.b64encode(b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n").decode()
PAIR = [
    {"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"},
    {"name": "AWS_ACCESS_KEY_ID", "value": "AKIAEXAMPLE"},
    {"name": "AWS_SECRET_ACCESS_KEY", "value": "s3cret"},
]
Change = Callable[[dict[str, Any]], Any]


def document(version: str = "v1") -> dict[str, Any]:
    """Return the template of EKS, filled in (F122, F123)."""
    run = {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "command": "aws",
        "args": ["eks", "get-token", "--cluster-name", "serving"],
        "env": [dict(each) for each in PAIR],
    }
    server = "https://ABC.gr7.eu-west-1.eks.amazonaws.com"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority-data": PEM}}],
        "users": [{"name": "aws", "user": {"exec": run}}],
        "contexts": [{"name": "aws", "context": {"cluster": "c", "user": "aws"}}],
        "current-context": "aws",
    }


def cluster(found: dict[str, Any]) -> dict[str, Any]:
    return dict.__getitem__(found["clusters"][0], "cluster")


def user(found: dict[str, Any]) -> dict[str, Any]:
    return dict.__getitem__(found["users"][0], "user")


@pytest.mark.row("F119", "F122", "F123", "F126", "C15")
@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_the_template_of_eks_is_accepted(version: str) -> None:
    found = read(yaml.safe_dump(document(version)))
    assert found.access.server == "https://ABC.gr7.eu-west-1.eks.amazonaws.com"
    assert found.cluster == "c"
    assert found.access.exec is not None
    assert found.access.exec.environment["AWS_DEFAULT_REGION"] == "eu-west-1"
    written = json.loads(found.text)["users"][0]["user"]["exec"]["apiVersion"]
    assert written == f"client.authentication.k8s.io/{'v1' if version == 'v1alpha1' else version}"
    assert bool(found.notes) == (version == "v1alpha1")
    if found.notes:
        assert "it is now v1" in found.notes[0]
    # What is stored is accepted again, and as it is.
    assert read(found.text).text == found.text
    assert read(found.text).notes == ()
    for shown in (repr(found), str(found)):
        assert "s3cret" not in shown


def test_tokens_and_certificates_are_accepted() -> None:
    found = document()
    user(found).clear()
    user(found)["token"] = "abc"
    assert read(json.dumps(found)).access.token == "abc"
    user(found).clear()
    user(found).update({"client-certificate-data": PEM, "client-key-data": KEY})
    assert "PRIVATE KEY" in read(json.dumps(found)).access.key


def changed(place: str, **values: Any) -> Change:
    """Return what sets values in a part of the document."""
    parts: dict[str, Change] = {
        "": lambda found: found,
        "cluster": cluster,
        "user": user,
        "exec": lambda found: user(found)["exec"],
    }
    return lambda found: parts[place](found).update({k.replace("_", "-"): v for k, v in values.items()})


def env(index: int, **values: str) -> Change:
    return lambda found: user(found)["exec"]["env"][index].update(values)


def args(*found: str) -> Change:
    return changed("exec", args=list(found))


EKS = ("eks", "get-token", "--cluster-name", "serving")
REFUSED: dict[str, tuple[Change, str, str]] = {
    "two clusters": (
        lambda d: d["clusters"].append(document()["clusters"][0]),
        "clusters: holds 2, not one",
        "kubectl config view --minify --flatten --raw",
    ),
    "no context": (changed("", contexts=[]), "contexts: holds 0, not one", ""),
    "another context": (changed("", current_context="x"), "current-context: is not the context “aws”", ""),
    "no config": (changed("", kind="Pod"), "kind: is not Config of v1", "~/.kube/config"),
    "unknown part": (changed("", plugins=[]), "plugins: is not known here", "Leave it out."),
    "http": (changed("cluster", server="http://c"), "clusters[0].cluster.server: is no https address", ""),
    "no server": (changed("cluster", server=""), "clusters[0].cluster.server: is missing", ""),
    "password in address": (changed("cluster", server="https://a:b@c"), "holds a user name", ""),
    "loopback": (
        changed("cluster", server="https://127.0.0.1:6443"),
        "the platform's own machine",
        "allow_local",
    ),
    "loopback, old spelling": (changed("cluster", server="https://127.1"), "the platform's own machine", ""),
    "loopback of IPv6": (changed("cluster", server="https://[::ffff:127.0.0.1]"), "own machine", ""),
    "localhost": (changed("cluster", server="https://localhost."), "the platform's own machine", ""),
    "metadata": (changed("cluster", server="https://169.254.169.254"), "cloud's metadata", ""),
    "authority in a file": (
        changed("cluster", certificate_authority="/etc/passwd"),
        "clusters[0].cluster.certificate-authority: names a file",
        "Use certificate-authority-data.",
    ),
    "no check of the server": (
        changed("cluster", insecure_skip_tls_verify=True),
        "clusters[0].cluster.insecure-skip-tls-verify: would hand the cluster's credentials",
        "allow_insecure",
    ),
    "proxy": (changed("cluster", proxy_url="http://p"), "clusters[0].cluster.proxy-url: sends", ""),
    "broken authority": (
        changed("cluster", certificate_authority_data="%%"),
        "certificate-authority-data: is not base64 of a PEM file",
        "",
    ),
    "token in a file": (
        changed("user", tokenFile="/run/token"),
        "users[0].user.tokenFile: names a file",
        "Use token.",
    ),
    "key in a file": (changed("user", client_key="/k"), "users[0].user.client-key: names a file", ""),
    "certificate in a file": (
        changed("user", client_certificate="/c"),
        "client-certificate: names a file",
        "",
    ),
    "basic": (changed("user", username="a"), "users[0].user.username: is no longer known", ""),
    "provider": (changed("user", **{"auth-provider": {}}), "auth-provider: is no longer known", ""),
    "somebody else": (changed("user", **{"as": "admin"}), "users[0].user.as: lets the platform act", ""),
    "two ways": (changed("user", token="x"), "must hold one of token", ""),
    "half a certificate": (
        changed("user", client_certificate_data=PEM),
        "users[0].user.client-key-data: is missing",
        "",
    ),
    "shell": (changed("exec", command="sh"), "users[0].user.exec.command: is 'sh'", "exec_commands"),
    "path": (changed("exec", command="/tmp/aws"), "users[0].user.exec.command: is '/tmp/aws'", ""),
    "old version": (changed("exec", apiVersion="v2"), "users[0].user.exec.apiVersion: is not", ""),
    "asks a person": (changed("exec", interactiveMode="Always"), "interactiveMode: asks for a person", ""),
    "another subcommand": (args("s3", "ls"), "users[0].user.exec.args: is not the command aws eks", ""),
    "another endpoint": (args(*EKS, "--endpoint-url", "http://x"), "args: holds --endpoint-url", "--region"),
    "a file for arguments": (
        args(*EKS, "--cli-input-json", "file:///etc/passwd"),
        "holds --cli-input-json",
        "",
    ),
    "a profile": (args(*EKS, "--profile", "admin"), "holds --profile", ""),
    "no cluster name": (args("eks", "get-token"), "args: names no cluster", ""),
    "odd cluster name": (args("eks", "get-token", "--cluster-name", "a b"), "--cluster-name is 'a b'", ""),
    "arguments are no list": (changed("exec", args="eks"), "args: is not a list", ""),
    "another variable": (env(0, name="LD_PRELOAD"), "users[0].user.exec.env[0].name: is 'LD_PRELOAD'", ""),
    "path variable": (env(0, name="PATH"), "users[0].user.exec.env[0].name: is 'PATH'", "These are allowed"),
    "no key": (lambda d: user(d)["exec"]["env"].pop(1), "exec.env: has no AWS_ACCESS_KEY_ID", "IAM user"),
    "placeholder": (
        env(1, value="<aws-access-key-id>"),
        "users[0].user.exec.env[1].value: is still the template's placeholder",
        "Fill in the real value.",
    ),
    "placeholder for the cluster": (args(*EKS[:3], "<value>"), "exec.args[3]: is still the template's", ""),
}


@pytest.mark.row("F119", "F120", "F124")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named_with_its_field(name: str) -> None:
    change, words, hint = REFUSED[name]
    found = document()
    change(found)
    with pytest.raises(KubeconfigError) as caught:
        read(yaml.safe_dump(found))
    assert words in str(caught.value)
    assert hint in caught.value.hint
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a YAML mapping"),
        ("- a", "is not a YAML mapping"),
        ("a: [", "is not YAML (line"),
        ("a: &x 1\nb: *x", "holds YAML aliases"),
        ("a: !!python/object/apply:os.system [id]", "is not YAML"),
        ("[" * 60_000, "is nested too deeply"),
        ("a: " + "x" * LARGEST, "is larger than 64 KiB"),
        ("clusters: {}\nusers: 1", "clusters: holds 0, not one"),
        ("clusters: [1]", "clusters[0]: is not a mapping"),
        ("1: 2", "1: is not known here"),
    ],
)
def test_what_is_no_kubeconfig_is_refused(text: str, words: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        read(text)
    assert words in str(caught.value)


def test_the_operator_may_allow_more() -> None:
    found = document()
    cluster(found).update({"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": True})
    user(found)["exec"] = {"apiVersion": "client.authentication.k8s.io/v1", "command": "gke", "args": ["-x"]}
    accepted = read(json.dumps(found), Rules(insecure=True, local_servers=True, commands=["gke"]))
    assert accepted.access.insecure
    assert accepted.access.exec is not None
    assert accepted.access.exec.arguments == ("-x",)


@pytest.mark.row("F120", "F122", "F123")
def test_a_token_for_eks_is_signed_without_running_a_command() -> None:
    login = Login(read(json.dumps(document())).access)
    token = login.token()
    assert login.token() is token
    head, _, body = token.partition(".")
    assert head == "k8s-aws-v1"
    url = urlsplit(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode())
    query = parse_qs(url.query)
    assert url.hostname == "sts.eu-west-1.amazonaws.com"
    assert query["Action"] == ["GetCallerIdentity"]
    assert query["X-Amz-SignedHeaders"] == ["host;x-k8s-aws-id"]
    assert query["X-Amz-Expires"] == ["60"]
    assert query["X-Amz-Credential"][0].startswith("AKIAEXAMPLE/")
    # Another cluster has another signature.
    login.forget()
    other = eks_token(EksCluster("other", "eu-west-1"), {each["name"]: each["value"] for each in PAIR})
    assert other != token


def test_a_command_of_the_operator_sees_nothing_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "cloud-login"
    seen = tmp_path / "seen"
    answer = '{"status": {"token": "t0ken", "expirationTimestamp": "2100-01-01T00:00:00Z"}}'
    program.write_text(f"#!/bin/sh\nenv > {seen}\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "of-the-service")
    found = document()
    user(found)["exec"] = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cloud-login"}
    login = Login(read(json.dumps(found), Rules(commands=["cloud-login"])).access)
    assert login.token() == "t0ken"
    assert "of-the-service" not in seen.read_text()
    program.write_text("#!/bin/sh\necho 'no such account' >&2\nexit 4\n")
    login.forget()
    with pytest.raises(TargetError, match="cloud-login gives no token: no such account"):
        login.token()
    program.write_text("#!/bin/sh\necho hello\n")
    with pytest.raises(TargetError, match="printed no ExecCredential"):
        login.token()
