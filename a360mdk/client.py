"""The kit's HTTP client of the hub service."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
from requests.exceptions import InvalidJSONError, InvalidSchema, InvalidURL, MissingSchema

from a360mdk.exceptions import GraphQLError

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
ATTEMPTS = 4
_GATEWAY = frozenset({502, 503, 504})
_MAYBE_DONE = frozenset({502, 504})  # 503: nobody was there to do it
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})

Raise = Callable[..., Exception]


class Unreachable(Exception):
    """No answer from the service.

    Attributes:
        maybe_done: the request may have reached the service, so what it asked for may have happened.
    """

    def __init__(self, reason: str, maybe_done: bool) -> None:
        super().__init__(reason)
        self.maybe_done = maybe_done


class Client:
    """Calls the service, retries what may be repeated, and raises the kit's exceptions.

    Args:
        base_url: address of the API, ``.../services/a360/api/v1``.
        token: Hub token of the user; never part of any message.
    """

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.headers.update({"Authorization": f"token {token}", "Accept": "application/json"})
        self._session.trust_env = False  # a .netrc entry would replace the token, a proxy would see it
        authorities = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
        self._session.verify = authorities or True

    def another(self) -> "Client":
        """Make a client of the same service and user, for another thread."""
        made = Client(self.base_url, "")
        made._session.headers.update(self._session.headers)
        return made

    def close(self) -> None:
        """Close the connections it keeps."""
        self._session.close()

    def get(self, path: str, error: Raise, params: Mapping[str, Any] | None = None) -> Any:
        """GET a document."""
        return self.call("GET", path, error, params=params)

    def post(
        self,
        path: str,
        error: Raise,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = False,
        seconds: float = READ_SECONDS,
    ) -> Any:
        """POST; sent again after a lost answer only when ``repeatable`` (get-or-create calls are)."""
        return self.call("POST", path, error, body=body or {}, repeatable=repeatable, seconds=seconds)

    def patch(self, path: str, error: Raise, body: Mapping[str, Any]) -> Any:
        """PATCH; repeated only when the connection was never made."""
        return self.call("PATCH", path, error, body=body)

    def put(self, path: str, error: Raise, body: Mapping[str, Any]) -> Any:
        """PUT a document."""
        return self.call("PUT", path, error, body=body)

    def items(self, path: str, error: Raise, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """Walk through all pages of a list."""
        query = {"limit": 100, **(params or {})}
        while True:
            page = self.get(path, error, query)
            yield from page["items"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def open(self, path: str, headers: Mapping[str, str], timeout: tuple[float, float]) -> requests.Response:
        """GET an answer that is read while it comes; close it, or use it in a ``with`` statement.

        Args:
            path: below the API's address.
            headers: besides those every call has.
            timeout: seconds to connect, and seconds between two pieces.
        """
        return self._session.get(
            self.base_url + path, headers=dict(headers), timeout=timeout, stream=True, allow_redirects=False
        )

    def call(
        self,
        method: str,
        path: str,
        error: Raise,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool = False,
        seconds: float = READ_SECONDS,
    ) -> Any:
        """Call and return the decoded answer (None when it is empty).

        Raises:
            error: made with what happened, why and what to do, when the service refuses or does not answer.
        """
        safe = repeatable or method in _IDEMPOTENT
        try:
            response = self.send(method, path, params=params, body=body, repeatable=safe, seconds=seconds)
        except Unreachable as lost:
            raise error(*unreachable_text(self.base_url, lost)) from lost
        except InvalidJSONError as unwritable:
            raise error(
                "The A360 service was not asked: what it is to be told cannot be written as JSON.",
                str(unwritable),
                "Put None in place of values that are not finite, and numbers or texts in place of objects.",
            ) from unwritable
        return decode(response, error)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        repeatable: bool,
        seconds: float = READ_SECONDS,
    ) -> requests.Response:
        """Send, repeating where that is safe; return whatever the service answers in the end.

        Args:
            method: HTTP verb.
            path: below the API's address, from the slash on.
            params: query.
            body: document, sent as JSON.
            repeatable: doing it twice is the same as once, so it may be sent again after a lost answer.
            seconds: how long to wait for the answer.

        Raises:
            Unreachable: no answer after all attempts.
            InvalidJSONError: the body holds numbers that are not finite.
        """
        maybe_done = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = self._session.request(
                    method,
                    self.base_url + path,
                    params=params,
                    json=body,
                    timeout=(CONNECT_SECONDS, seconds),
                    allow_redirects=False,
                )
            except InvalidJSONError:
                raise  # nothing was sent, and nothing would be
            except (MissingSchema, InvalidSchema, InvalidURL) as failure:
                raise Unreachable(f"this is not an address ({failure})", maybe_done=False) from None
            except requests.RequestException as failure:
                maybe_done = maybe_done or not _never_sent(failure)
                if attempt == ATTEMPTS or (maybe_done and not repeatable):
                    raise Unreachable(_reason(failure, seconds), maybe_done) from None
            else:
                if not _without_answer(response):
                    return response
                maybe_done = maybe_done or response.status_code in _MAYBE_DONE
                if attempt == ATTEMPTS or not repeatable:
                    raise Unreachable(f"the gateway in front of it says {response.status_code}", maybe_done)
            time.sleep(0.2 * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
        raise AssertionError("the last attempt returns or raises")


def _without_answer(response: requests.Response) -> bool:
    """Whether a gateway answered in place of the service, whose own refusals are problem documents."""
    kind = response.headers.get("Content-Type", "")
    return response.status_code in _GATEWAY and not kind.startswith("application/problem+json")


def unreachable_text(base_url: str, lost: Unreachable) -> tuple[str, str, str]:
    """Say in three parts that the service did not answer."""
    return (
        "The A360 service did not answer.",
        f"{base_url}: {lost}.",
        "Try again in a moment; if it lasts, tell the operator of the platform.",
    )


def decode(response: requests.Response, error: Raise) -> Any:
    """Return the document of a good answer; raise ``error`` for a refusal.

    Raises:
        GraphQLError: what answered is not the service.
    """
    if response.ok and response.status_code < 300:
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except ValueError as broken:
            raise GraphQLError(
                "The A360 service answered something that is not JSON.",
                f"{response.request.method} {response.url}",
                "Check A360_API_URL: it must end in /services/a360/api/v1.",
            ) from broken
    raise refusal(response, error)


def refusal(response: requests.Response, error: Raise) -> Exception:
    """Make the exception of a refused call from its problem document (RFC 9457)."""
    try:
        document = response.json()
    except ValueError:
        document = {}
    problem = document if isinstance(document, dict) else {}
    status = response.status_code
    what = str(problem.get("title") or f"The A360 service refused the call ({status} {response.reason}).")
    details = [str(problem["detail"])] if problem.get("detail") else []
    told = [
        f"{entry.get('field')}: {entry.get('message')}"
        for entry in problem.get("errors") or []
        if isinstance(entry, dict)
    ]
    hint = str(problem.get("hint") or _HINTS.get(status) or (_OURS if status < 500 else _THEIRS))
    # Of a single field the detail often says the same.
    details += [line for line in told if line not in details]
    why = "\n".join(details) or f"{response.request.method} {response.url} was answered with {status}."
    return error(what, why, hint, code=str(problem.get("code") or ""), status=status)


_HINTS = {
    302: "Check A360_API_URL and the token: the service sent the call to a sign-in page.",
    401: "The token of this workspace is no longer valid: stop the workspace and start it again.",
    403: "Your role does not allow this; the Hub administrator assigns roles through groups.",
    404: "Check the name, and that you are a collaborator of the project.",
    409: "Look at what it is now, with %a360 status or on its page, and go on from there.",
    413: "Send less at once.",
}
_OURS = "Put right what it names, and call again."
_THEIRS = "Try again in a moment; if it lasts, tell the operator of the platform."


def _never_sent(failure: requests.RequestException) -> bool:
    """Whether the connection failed before anything could be sent."""
    if isinstance(failure, requests.ConnectTimeout):
        return True
    cause = failure.args[0] if failure.args else None
    reason = getattr(cause, "reason", cause)
    return type(reason).__name__ in {"NewConnectionError", "ConnectTimeoutError", "NameResolutionError"}


def _reason(failure: requests.RequestException, seconds: float) -> str:
    if isinstance(failure, requests.ReadTimeout):
        return f"connected, but no answer within {seconds:.0f} s"
    if _never_sent(failure):
        return "no connection"
    return "the connection was lost before the answer"
