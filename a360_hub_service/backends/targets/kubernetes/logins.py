"""Who the platform is in a cluster: tokens of AWS made here, tokens of commands the operator allows."""

import base64
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from a360_hub_service.backends.targets.kubernetes.execs import SIGNED, EksCluster, Exec, cluster_of
from a360_hub_service.backends.targets.kubernetes.kubeconfig import Access
from a360_hub_service.backends.targets.types import TargetError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EKS_SECONDS = 600
"""How long a token for EKS is used; it is valid for 15 minutes."""
_COMMAND_SECONDS = 60
_LARGEST = 64 * 1024


@dataclass(frozen=True)
class Token:
    """A token and until when it is used (seconds of `time.time`)."""

    value: str
    until: float


class Login:
    """Holds the token of one access and renews it in time. For several threads."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._token = Token("", 0.0)
        self._lock = threading.Lock()

    def token(self) -> str:
        """Return a token that is valid now, "" when a certificate stands for it. Raises `TargetError`."""
        run = self._access.exec
        if run is None:
            return self._access.token
        with self._lock:
            if self._token.until < time.time():
                self._token = _new_token(run)
            return self._token.value

    def forget(self) -> None:
        """Ask for a new token at the next use: the cluster refused this one."""
        with self._lock:
            self._token = Token("", 0.0)


def pod_login(folder: Path = SERVICE_ACCOUNT) -> Callable[[], str]:
    """Return what reads the token of the service's own pod, which the cluster renews."""

    def read() -> str:
        try:
            return (folder / "token").read_text("utf-8").strip()
        except OSError as error:
            raise TargetError(
                f"The service's own account in the cluster cannot be read: {error.strerror}.",
                hint="Let the pod mount its account's token (the chart's value kubernetes.enabled).",
            ) from error

    return read


def _new_token(run: Exec) -> Token:
    if run.command in SIGNED:
        return Token(eks_token(cluster_of(run), run.environment), time.time() + _EKS_SECONDS)
    return _command_token(run)


def eks_token(cluster: EksCluster, environment: Mapping[str, str]) -> str:
    """Return what ``aws eks get-token`` prints as the token: a signed question to AWS who one is.

    Nothing is sent, but to assume a role. Raises `TargetError`.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise TargetError(
            "The library for AWS is not installed.", hint="The operator installs a360[kubernetes]."
        ) from error
    region = (
        cluster.region
        or environment.get("AWS_REGION")
        or environment.get("AWS_DEFAULT_REGION")
        or "us-east-1"
    )
    pair = (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"))
    try:
        client = boto3.Session(*pair, environment.get("AWS_SESSION_TOKEN"), region).client("sts")
        if cluster.role:
            found = client.assume_role(RoleArn=cluster.role, RoleSessionName="a360")["Credentials"]
            keys = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
            client = boto3.Session(*keys, region).client("sts")
        # The name of the cluster is part of what is signed, so the token opens no other one.
        client.meta.events.register(
            "before-sign.sts.GetCallerIdentity",
            lambda request, **_: request.headers.add_header("x-k8s-aws-id", cluster.name),
        )
        url = client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    except (BotoCoreError, ClientError) as error:
        raise TargetError(
            f"AWS gives no access to the cluster {cluster.name}: {error}.",
            hint="Check the key pair, the region and the role in the kubeconfig.",
        ) from error
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def _command_token(run: Exec) -> Token:
    """Run a command of the operator's list, which sees nothing of the service's environment."""
    with tempfile.TemporaryDirectory(prefix="a360-login-") as home:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "LANG": "C.UTF-8",
            **run.environment,
            "KUBERNETES_EXEC_INFO": json.dumps(
                {"apiVersion": run.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
            ),
        }
        try:
            done = subprocess.run(
                [run.command, *run.arguments],
                env=environment,
                cwd=home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            words = "takes too long" if isinstance(error, subprocess.TimeoutExpired) else "is not installed"
            raise TargetError(
                f"The command {run.command} of the kubeconfig {words}.", hint="Ask the operator."
            ) from error
    if done.returncode:
        reason = " ".join(done.stderr[:300].decode("utf-8", "replace").split())
        raise TargetError(f"The command {run.command} gives no token: {reason or 'it gives no reason'}.")
    return _parse(run.command, done.stdout[:_LARGEST])


def _parse(command: str, output: bytes) -> Token:
    try:
        status = json.loads(output)["status"]
        until = status.get("expirationTimestamp")
        expires = datetime.fromisoformat(until).timestamp() - 60 if until else time.time() + _EKS_SECONDS
        value = str(status["token"])
    except (ValueError, KeyError, TypeError) as error:
        raise TargetError(f"The command {command} printed no ExecCredential with a token.") from error
    return Token(value, expires)
