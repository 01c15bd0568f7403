"""One cluster's API: objects as dictionaries, and what it refuses in plain words."""

import json
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from a360_hub_service.backends.targets.kubernetes import names
from a360_hub_service.backends.targets.kubernetes.kubeconfig import Access
from a360_hub_service.backends.targets.kubernetes.logins import SERVICE_ACCOUNT, Login, pod_login
from a360_hub_service.backends.targets.types import TargetError

Manifest = dict[str, Any]

OLDEST = 30
"""The minor version of Kubernetes that is needed: replicas wait before they stop (the hook ``sleep``)."""

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 5.0
"""How long a cluster that did not answer is not asked again."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of one answer."""

_KINDS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "Service": ("/api/v1", "services"),
    "Event": ("/api/v1", "events"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ReplicaSet": ("/apis/apps/v1", "replicasets"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "SelfSubjectAccessReview": ("/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews"),
}


class Missing(TargetError):
    """There is no such object, or the cluster does not know its kind."""


class NoAnswer(TargetError):
    """The cluster cannot be talked to now."""


class NotAllowed(TargetError):
    """The cluster does not let the platform do this."""


class Cluster:
    """Talks to one cluster. For several threads."""

    def __init__(
        self, access: Access, *, timeout: float = 15.0, token: Callable[[], str] | None = None
    ) -> None:
        self.server = access.server
        self._login = Login(access)
        self._token = token or self._login.token
        self._timeout = timeout
        self._silence: tuple[float, str, str] = (0.0, "", "")
        self._rest = _rest_client(access)

    @classmethod
    def of_this_pod(cls, folder: Path = SERVICE_ACCOUNT, timeout: float = 15.0) -> "Cluster":
        """Return the cluster the service itself runs in. Raises `TargetError` outside of one."""
        host, port = (
            os.environ.get("KUBERNETES_SERVICE_HOST"),
            os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        if not host or not (folder / "token").exists():
            raise TargetError(
                "No cluster is configured, and the service runs in none.",
                hint="An administrator adds a deployment target, or the operator a kubeconfig.",
            )
        host = f"[{host}]" if ":" in host else host
        authority = (folder / "ca.crt").read_text("utf-8")
        access = Access(f"https://{host}:{port}", authority=authority)
        return cls(access, timeout=timeout, token=pod_login(folder))

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    # Objects.

    def get(self, kind: str, name: str, namespace: str = "") -> Manifest | None:
        """Return an object, ``None`` when there is none."""
        try:
            return self._send("GET", _path(kind, namespace, name))
        except Missing:
            return None

    def list(self, kind: str, namespace: str = "", **query: str) -> list[Manifest]:
        """Return objects, of all namespaces when none is given; none when the cluster lacks the kind."""
        try:
            return list(self._send("GET", f"{_path(kind, namespace)}?{urlencode(query)}").get("items") or [])
        except Missing:
            return []

    def apply(self, manifest: Manifest) -> Manifest:
        """Make an object what the manifest says (server-side apply)."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        query = urlencode({"fieldManager": names.MANAGER, "force": "true"})
        try:
            return self._send("PATCH", f"{path}?{query}", manifest, "application/apply-patch+yaml")
        except Missing as error:
            hint = "Try again."
            if manifest["kind"] == "HTTPRoute":
                hint = "Let the Gateway API be installed in the cluster, or choose another way for calls."
            raise TargetError(
                f"The cluster takes no {manifest['kind']}: {error.message}.", hint=hint
            ) from error

    def create(self, manifest: Manifest) -> Manifest:
        """Make an object that is none of a name, such as a question."""
        path = _path(manifest["kind"], manifest["metadata"].get("namespace", ""))
        return self._send("POST", path, manifest)

    def annotate(self, kind: str, name: str, namespace: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of an object and leave the rest of it."""
        patch = {"metadata": {"annotations": dict(annotations)}}
        self._send("PATCH", _path(kind, namespace, name), patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Delete an object and what it owns. One that is not there is no error."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            self._send("DELETE", _path(kind, namespace, name), body)
        except Missing:
            return

    def logs(self, pod: str, namespace: str, lines: int, *, previous: bool = False) -> str:
        """Return the last lines a pod's container wrote, "" when there are none to be had."""
        query = urlencode({"tailLines": lines, "limitBytes": 200_000, "container": "model"})
        path = f"{_path('Pod', namespace, pod)}/log?{query}{'&previous=true' if previous else ''}"
        try:
            return self._ask("GET", path).decode("utf-8", "replace").rstrip()
        except TargetError:
            # A container that never started has written nothing, and the API calls that a bad request.
            return ""

    def version(self) -> tuple[int, int]:
        """Return the version of the cluster. Raises `TargetError` when it is too old, or no Kubernetes."""
        found = self._send("GET", "/version")
        digits = ["".join(filter(str.isdigit, str(found.get(part, "")))) for part in ("major", "minor")]
        if not all(digits):
            raise TargetError(f"What answers at {self.server} is no Kubernetes.", hint="Check the address.")
        major, minor = int(digits[0]), int(digits[1])
        if (major, minor) < (1, OLDEST):
            raise TargetError(
                f"The cluster has Kubernetes {major}.{minor}; 1.{OLDEST} is the oldest that works here.",
                hint="Upgrade the cluster.",
            )
        return major, minor

    def may(self, verb: str, group: str, resource: str) -> bool:
        """Does the cluster let us do this in all namespaces?"""
        wanted = {"verb": verb, "group": group, "resource": resource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "metadata": {},
            "spec": {"resourceAttributes": wanted},
        }
        return bool(self.create(review).get("status", {}).get("allowed"))

    # Requests.

    def _send(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Manifest:
        answer = self._ask(method, path, body, kind)
        try:
            found = json.loads(answer or b"{}")
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TargetError(f"What answers at {self.server} is no Kubernetes.", hint="Check the address.")
        return found

    def _ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        status, answer = self._once(method, path, body, kind)
        if status == 401:
            # The token may have been revoked before its time.
            self._login.forget()
            status, answer = self._once(method, path, body, kind)
        if status >= 300:
            raise refusal(status, answer, self.server)
        return answer

    def _once(self, method: str, path: str, body: Any, kind: str) -> tuple[int, bytes]:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        until, words, hint = self._silence
        if time.monotonic() < until:
            # Whoever asks about many endpoints need not wait for each.
            raise NoAnswer(words, hint=hint)
        token = self._token()
        headers = {"Accept": "application/json", "User-Agent": "a360"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Content-Type": kind} if body is not None else {}
        data = None if body is None else json.dumps(body)
        timeout = Timeout(connect=min(_CONNECT_SECONDS, self._timeout), read=self._timeout)
        try:
            answer = self._rest.pool_manager.request(
                method,
                f"{self.server}{path}",
                body=data,
                headers=headers,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            found = answer.read(_LARGEST + 1)
        except HTTPError as error:
            problem = no_answer(error, self.server)
            self._silence = (time.monotonic() + _SILENCE_SECONDS, problem.message, problem.hint)
            raise problem from error
        if len(found) > _LARGEST:
            answer.close()
            raise TargetError(f"The answer of {self.server} is larger than any of a cluster.")
        answer.release_conn()
        return answer.status, found


def _path(kind: str, namespace: str = "", name: str = "") -> str:
    base, plural = _KINDS[kind]
    space = f"/namespaces/{namespace}" if namespace else ""
    return f"{base}{space}/{plural}{f'/{name}' if name else ''}"


def _rest_client(access: Access) -> Any:
    """Return the official client's transport. It is large, so it is loaded when a cluster is used."""
    try:
        from kubernetes.client import Configuration
        from kubernetes.client.rest import RESTClientObject
        from urllib3 import Retry
    except ImportError as error:
        raise TargetError(
            "The library for Kubernetes is not installed.", hint="The operator installs a360[kubernetes]."
        ) from error
    settings = Configuration(host=access.server)
    settings.verify_ssl = not access.insecure
    settings.ca_cert_data = access.authority or None
    settings.tls_server_name = access.tls_name or None
    settings.connection_pool_maxsize = 8
    # A redirect would carry the login to another server.
    settings.retries = Retry(connect=1, read=1, redirect=False, status=False, backoff_factor=0.2)
    settings.proxy = None
    client = RESTClientObject(settings)
    if access.certificate:
        client.pool_manager.connection_pool_kw["ssl_context"] = _context(access)
    return client


def _context(access: Access) -> ssl.SSLContext:
    """Return TLS settings with a client certificate, which the library reads from a file only."""
    context = ssl.create_default_context(cadata=access.authority or None)
    if access.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.NamedTemporaryFile("w", prefix="a360-", suffix=".pem") as file:
        file.write(f"{access.certificate}\n{access.key}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise TargetError(
                "The client certificate of the kubeconfig does not fit its key.", hint="Paste it again."
            ) from error
    return context


def no_answer(problem: Exception, server: str) -> NoAnswer:
    """Return the error of a cluster that cannot be talked to."""
    words, text = "nothing answers there", str(problem)
    hint = "Check the server in the kubeconfig, and that the platform's network reaches it."
    if "CERTIFICATE_VERIFY_FAILED" in text:
        words, hint = "its certificate is not trusted", "Check certificate-authority-data of the kubeconfig."
    elif "doesn't match" in text or "Hostname mismatch" in text:
        words = "its certificate is for another name"
    elif "Name or service not known" in text or "NameResolution" in text or "Failed to resolve" in text:
        words = "nobody knows its name"
    elif "timed out" in text or "Timeout" in text:
        words = "it takes too long"
    return NoAnswer(f"The cluster at {server} does not answer: {words}.", hint=hint)


def refusal(status: int, answer: bytes, server: str) -> TargetError:
    """Return the error of what a cluster refused, without more of its answer than a reason."""
    try:
        document = json.loads(answer)
        known = document.get("kind") == "Status"
        words = str(document.get("message", ""))[:600] if known else ""
    except (ValueError, AttributeError):
        known, words = False, ""
    if not known and status not in (401, 403, 404):
        return TargetError(
            f"What answers at {server} is no Kubernetes (status {status}).", hint="Check the address."
        )
    if status == 401:
        return TargetError(
            f"The cluster at {server} does not know the user of the kubeconfig.",
            hint="Give it a token or a key pair that is valid, and map the IAM user in the cluster.",
        )
    if status == 404:
        return Missing(words or "The cluster has no such thing.")
    if status == 409:
        return TargetError(words or "The object was changed meanwhile.", hint="Try again.")
    if status == 403:
        hint = "Give the platform's user the rights named in the operators' documentation."
        if "exceeded quota" in words:
            hint = "Ask for less, or let the administrators of the cluster raise the quota."
        elif "violates PodSecurity" in words:
            hint = "The namespace lets in only pods with fewer rights; ask the operator."
        return NotAllowed(f"The cluster does not allow it: {words or 'it gives no reason'}.", hint=hint)
    return TargetError(f"The cluster refuses: {words or f'status {status}'}.")


_LOCKS: dict[str, threading.RLock] = {}
_LOCKS_LOCK = threading.Lock()


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Let one thread at a time do what has this name."""
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(name, threading.RLock())
    with lock:
        yield
