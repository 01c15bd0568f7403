"""What registries refuse, in one line and a hint."""

import errno
import json
import ssl

import httpx

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.hosts import HostRefusedError

ALLOW = "Choose an image of another registry, or ask the operator to add this one (c.Registry.base_hosts)."
_SHOWN = 300
"""Characters of what a registry says in a message."""


def no_answer(error: type[BackendError], host: str, problem: Exception) -> BackendError:
    """Return the error of a registry that cannot be talked to."""
    words, hint = str(problem) or type(problem).__name__, "Check the address of the registry and the network."
    if isinstance(refused := problem.__cause__, HostRefusedError):
        return error(f"The registry {host} may not be asked: {refused}.", hint=ALLOW)
    if isinstance(problem, httpx.TimeoutException):
        words = "it takes too long"
    elif "WRONG_VERSION_NUMBER" in words or "record layer failure" in words:
        words, hint = "it does not speak HTTPS", "Give its https address; http is for this machine only."
    elif "CERTIFICATE_VERIFY_FAILED" in words:
        words = "its certificate is not trusted"
        hint = "Name the file of the authority that signed it in the service's environment (SSL_CERT_FILE)."
    elif isinstance(problem, (httpx.LocalProtocolError, httpx.UnsupportedProtocol, ssl.SSLError)):
        hint = "Check the address of the registry."
    return error(f"The registry {host} does not answer: {words}.", hint=hint)


def refusal(
    error: type[BackendError],
    host: str,
    answer: httpx.Response,
    body: bytes,
    repository: str,
    *,
    has_login: bool,
) -> BackendError:
    """Return the error of what a registry refused."""
    status, (code, words, detail) = answer.status_code, _first(body)
    place = f"{host}/{repository}" if repository.strip("/") else host
    reads = answer.request.method in ("GET", "HEAD")
    if status == 401 and not has_login:
        return error(
            f"The registry {host} asks who wants {place}, and no user name is configured for it.",
            hint="The operator sets c.Registry.username and a password, if this is the platform's registry.",
        )
    # Many registries say 401 to a known user without the right; what they add tells the two apart.
    scarce = "insufficient_scope" in answer.headers.get("WWW-Authenticate", "")
    if status == 403 or (status == 401 and (code == "DENIED" or scarce)):
        return error(
            f"The registry {host} does not let the platform {'read' if reads else 'write'} {repository}.",
            hint=f"Give its account the right to {'pull from' if reads else 'push to'} {place}.",
        )
    if status == 401:
        return error(
            f"The registry {host} does not accept the user name and password.",
            hint="The operator corrects c.Registry.username and the password.",
        )
    if code == "NAME_INVALID":
        return error(
            f"The registry {host} does not take {repository!r} as the name of a repository.",
            hint="Set another c.Registry.prefix; some registries want it to begin with a project they have.",
        )
    if status == 404:
        return error(
            f"The registry {host} has no {place}.",
            hint="Create the repository there, or correct the name; some registries make none by themselves.",
        )
    if status == 507 or f'"Err": {errno.ENOSPC}' in detail or "no space left" in f"{words} {detail}".lower():
        return error(f"The registry {host} has no space left.", hint="Free space there, then package again.")
    if status == 413:
        return error(
            f"The registry {host}, or a proxy before it, does not take a request of this size.",
            hint="Set a smaller c.Registry.chunk_bytes, or let the proxy pass more.",
        )
    if status == 429:
        return error(
            f"The registry {host} takes no more requests now.", hint="Wait a while, then package again."
        )
    return error(f"The registry {host} answers {status} to {place}: {words or 'no reason given'}.")


def _first(body: bytes) -> tuple[str, str, str]:
    """Return code, message and detail of the first error a registry names."""
    try:
        found = json.loads(body)["errors"][0]
        return (
            str(found.get("code", "")),
            str(found.get("message", ""))[:_SHOWN].rstrip("."),
            json.dumps(found.get("detail")),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "", " ".join(body[:_SHOWN].decode("utf-8", "replace").split()), ""
