"""Proving to a registry who asks: with a password at each request, or with a token fetched for it."""

import re
from collections.abc import Generator
from dataclasses import dataclass, field

import httpx

from a360_hub_service.backends.registries.names import is_loopback

_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')


@dataclass(frozen=True)
class Login:
    """A user and a password, or an access token in its place."""

    username: str
    password: str = field(repr=False)


class LoginFlow(httpx.Auth):
    """Answers the challenges of one registry. Tokens are kept for as long as they are taken.

    Without a login, tokens are asked for without a name: public images can be had so.
    """

    def __init__(self, login: Login | None, address: httpx.URL) -> None:
        self._address = address
        self._basic = httpx.BasicAuth(login.username, login.password) if login else None
        self._known: dict[str, str] = {}
        self._always = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send the request, with what opened its repository before; if that is not enough, answer once."""
        if request.url.netloc != self._address.netloc or request.url.scheme != self._address.scheme:
            # Some stores take uploads themselves; they are told an address, not a password.
            yield request
            return
        scope = _scope(request)
        if known := self._known.get(scope, self._always):
            request.headers["Authorization"] = known
        answer = yield request
        if answer.status_code != 401:
            return
        kind, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "bearer":
            told = dict(_PARAMETER.findall(rest))
            token = yield from self._token(told, request)
            if token:
                self._known[scope] = f"Bearer {token}"
        elif self._basic:
            self._always = _basic_header(self._basic, request)
        proof = self._known.get(scope, self._always)
        # What was refused a moment ago is not tried again.
        if proof and proof != known:
            request.headers["Authorization"] = proof
            yield request

    def _token(
        self, told: dict[str, str], request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, str]:
        realm = httpx.URL(told.get("realm", ""))
        safe = realm.scheme == "https" or (realm.scheme == "http" and is_loopback(realm.host))
        if not safe:
            # A password goes nowhere in the clear, whatever a registry says.
            return ""
        parameters: dict[str, str] = {name: told[name] for name in ("service", "scope") if name in told}
        asked = httpx.Request("GET", realm.copy_merge_params(parameters), headers={"User-Agent": "a360"})
        if self._basic:
            asked.headers["Authorization"] = _basic_header(self._basic, asked)
        answer = yield asked
        if answer.status_code != 200:
            return ""
        try:
            answer.read()
            found = answer.json()
            return str(found.get("token") or found.get("access_token") or "")
        except (ValueError, AttributeError):
            return ""


def _basic_header(basic: httpx.BasicAuth, request: httpx.Request) -> str:
    return str(next(basic.auth_flow(httpx.Request("GET", request.url))).headers["Authorization"])


def _scope(request: httpx.Request) -> str:
    """Return what a token is good for: another repository, or another right in it, takes another token."""
    path = request.url.path.partition("/blobs/")[0].partition("/manifests/")[0]
    return f"{'read' if request.method in ('GET', 'HEAD') else 'write'} {path}"
