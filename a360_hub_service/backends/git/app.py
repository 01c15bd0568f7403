"""Short-lived tokens of GitHub Apps, for one repository at a time and to read only."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from a360_hub_service.backends.git.addresses import not_allowed, refused, server_of
from a360_hub_service.backends.git.base import GitError, GitLogin
from a360_hub_service.backends.hosts import GuardedTransport, HostRefusedError, Hosts, is_proxied
from a360_hub_service.backends.tokens import KeptTokens, Made

USER = "x-access-token"
"""The user name that goes with a token of an App."""
_READ = {"contents": "read"}
_TOKENS = KeptTokens()
_TIMEOUT = 15.0


@dataclass(frozen=True)
class GitHubApp:
    """An App: its `server` (https://github.com or an Enterprise server), its id and its private key (PEM).

    `api_url` is the server's API where it is not the usual one.
    """

    server: str
    app_id: str
    private_key: str = field(repr=False)
    api_url: str = ""

    @property
    def api(self) -> str:
        """The address of the API."""
        if self.api_url:
            return self.api_url.rstrip("/")
        return "https://api.github.com" if self.server == "https://github.com" else f"{self.server}/api/v3"


def check_private_key(text: str) -> None:
    """Raise `ValueError`, in words for people, unless this is a key an App can have."""
    try:
        key = load_pem_private_key(text.strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no private key in PEM format without a passphrase") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("is no RSA key, as GitHub makes them for its Apps")


def app_login(app: GitHubApp, url: str, hosts: Hosts) -> GitLogin | None:
    """Return the login for a repository; None when the App is not installed on it. Raises `GitError`."""
    owner, name = owner_and_name(url)
    key_hash = hashlib.sha256(app.private_key.encode()).hexdigest()
    key = (app.api, app.app_id, key_hash, owner.lower(), name.lower())
    token = _TOKENS.get(key, lambda: _new_token(app, owner, name, hosts))
    return GitLogin(server_of(url), USER, token) if token else None


def check_app(app: GitHubApp, hosts: Hosts) -> str:
    """Ask GitHub about the App; what it says, for people. Raises `GitError`."""
    with _calling(app, hosts) as call:
        found = call("GET", "/app")
        name, granted = found.get("name", "?"), found.get("permissions") or {}
        if not granted.get("contents"):
            raise refused(
                f"The GitHub App “{name}” may not read the contents of repositories.",
                "Give it the repository permission Contents: Read-only, and let its installations accept it.",
            )
        installed = call("GET", "/app/installations?per_page=100")
    if not installed:
        raise refused(
            f"The GitHub App “{name}” is not installed anywhere.",
            "An administrator of the organisation opens the App's page, chooses Install, and selects "
            "repositories.",
        )
    owners = ", ".join(sorted(str((each.get("account") or {}).get("login", "?")) for each in installed)[:5])
    return f"The GitHub App “{name}” is installed for {owners}."


def owner_and_name(url: str) -> tuple[str, str]:
    """Return owner and name of a repository on GitHub. Raises `GitError`."""
    parts = urlsplit(url).path.removesuffix(".git").strip("/").split("/")
    if len(parts) != 2 or not all(parts):
        raise refused(f"{url} is no repository of GitHub.", "Write https://github.com/owner/name.git.")
    return parts[0], parts[1]


def _new_token(app: GitHubApp, owner: str, name: str, hosts: Hosts) -> Made | None:
    with _calling(app, hosts) as call:
        found = call("GET", f"/repos/{owner}/{name}/installation", missing=True)
        if found is None:
            return None
        if found.get("suspended_at"):
            raise refused(
                f"The installation of the GitHub App for {owner} is suspended.",
                "An administrator of the organisation resumes it.",
            )
        wanted = {"repositories": [name], "permissions": _READ}
        made = call("POST", f"/app/installations/{int(found['id'])}/access_tokens", body=wanted)
        return str(made["token"]), datetime.fromisoformat(made["expires_at"])


@contextmanager
def _calling(app: GitHubApp, hosts: Hosts) -> Iterator[Any]:
    """Yield what calls the API as the App. Raises `GitError`."""
    # It takes a second and 40 MB to import, and few use it.
    from githubkit import AppAuthStrategy, GitHub
    from githubkit.cache import MemCacheStrategy
    from githubkit.exception import GitHubException, RequestError, RequestFailed

    api, allowed = urlsplit(app.api), _for(app, hosts)
    try:
        allowed.check(api.hostname or "", api.port or 443)
    except HostRefusedError as error:
        raise not_allowed(error) from error
    github = GitHub(
        AppAuthStrategy(app.app_id, app.private_key),
        base_url=f"{app.api}/",
        transport=None if is_proxied(api.scheme, api.hostname or "") else GuardedTransport(allowed),
        follow_redirects=False,
        http_cache=False,
        # The default one is shared by all, and knows Apps of different servers and keys by their ids alone.
        cache_strategy=MemCacheStrategy(),
        auto_retry=False,
        timeout=_TIMEOUT,
    )

    def call(method: str, path: str, *, body: Any = None, missing: bool = False) -> Any:
        try:
            return github.request(method, path, json=body).json()
        except RequestFailed as failed:
            if missing and failed.response.status_code == 404:
                return None
            raise _refusal(app, failed.response.raw_response) from None
        except RequestError as failed:
            raise _no_answer(app, failed.exc) from None
        except GitHubException as failed:
            raise refused(
                f"GitHub's API at {app.api} takes no requests now: {failed}", "Wait a while."
            ) from None

    try:
        with github:
            yield call
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise refused(
            f"What answers at {app.api} is not GitHub's API: {type(error).__name__}.", "Correct its address."
        ) from error


def _for(app: GitHubApp, hosts: Hosts) -> Hosts:
    """Return the hosts with that of the API, which is as trusted as the server it belongs to."""
    server, api = urlsplit(app.server), urlsplit(app.api)
    if hosts.names(server.hostname or "", server.port or 443):
        return Hosts((*hosts.entries, f"{api.hostname}:{api.port or 443}"))
    return hosts


def _refusal(app: GitHubApp, answer: httpx.Response) -> GitError:
    status = answer.status_code
    try:
        words = str(answer.json().get("message", ""))[:200]
    except (ValueError, AttributeError):
        words = ""
    if status == 401:
        return refused(
            f"GitHub does not accept the private key for the App {app.app_id}. ({words})",
            "Check the App's id, make a new private key on its page, and that this machine's clock is right.",
        )
    if status == 422:
        return refused(
            f"The GitHub App may not read this repository. ({words})",
            "Give it the repository permission Contents: Read-only, and have the installation accept it.",
        )
    if 300 <= status < 400:
        return refused("The repository has moved on GitHub.", "Give the address it has now.")
    return refused(
        f"GitHub's API at {app.api} answers {status}. ({words})", "Check the address and the App's settings."
    )


def _no_answer(app: GitHubApp, problem: Exception) -> GitError:
    if isinstance(cause := problem.__cause__, HostRefusedError):
        return not_allowed(cause)
    words = "it takes too long" if isinstance(problem, httpx.TimeoutException) else str(problem)
    return refused(
        f"GitHub's API at {app.api} cannot be reached: {words}.", "Check the address and the network."
    )
