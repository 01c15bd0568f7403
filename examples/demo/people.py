"""A person with a browser: signs in at the Hub, gets a token there, talks to A360's API."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from .errors import DemoError, Refused

API = "/services/a360/api/v1"


@dataclass(frozen=True)
class Event:
    """One event of a server-sent stream."""

    id: str
    name: str
    data: str


class Person:
    """Somebody who is signed in.

    Parameters
    ----------
    base_url : str
        The platform's address, e.g. ``http://127.0.0.1:8000``.
    name : str
        Account.
    """

    def __init__(self, base_url: str, name: str) -> None:
        self.base_url = base_url.rstrip("/")
        self.name = name
        self.token = ""
        # Browser and API apart: with the browser's cookies the API would ask for a form's secret too.
        self.browser = httpx.Client(
            base_url=self.base_url, follow_redirects=True, timeout=60, trust_env=False
        )
        self.http = httpx.Client(base_url=self.base_url, timeout=60, trust_env=False)

    @classmethod
    def sign_in(cls, base_url: str, name: str, password: str) -> Self:
        """Fill in the Hub's sign-in form, open A360, and make a token as the Hub's token page does.

        Raises
        ------
        DemoError
            When name and password do not belong together.
        """
        person = cls(base_url, name)
        person.browser.get("/hub/login").raise_for_status()
        form = {"username": name, "password": password, "_xsrf": person.xsrf()}
        answer = person.browser.post("/hub/login", data=form)
        if answer.status_code in (401, 403):
            raise DemoError(
                f"{name} could not sign in: the password is not right.",
                "Pass it in the variable A360_PASSWORD.",
            )
        answer.raise_for_status()
        person.browser.get("/services/a360/").raise_for_status()
        answer = person.browser.post(
            f"/hub/api/users/{name}/tokens",
            json={"note": "A360 demo", "expires_in": 86400},
            headers={"X-XSRFToken": person.xsrf()},
        )
        answer.raise_for_status()
        person.token = answer.json()["token"]
        person.http.headers["Authorization"] = f"Bearer {person.token}"
        return person

    def xsrf(self) -> str:
        """The browser's anti-forgery value for the Hub's own pages."""
        values = {
            cookie.path: cookie.value or "" for cookie in self.browser.cookies.jar if cookie.name == "_xsrf"
        }
        return values.get("/hub/") or next(iter(values.values()), "")

    def close(self) -> None:
        """Close the connections."""
        self.browser.close()
        self.http.close()

    def api(self, method: str, path: str, **body: Any) -> Any:
        """Call an operation; keyword arguments are the JSON body.

        Returns
        -------
        Any
            The decoded answer, ``None`` for one without content.

        Raises
        ------
        Refused
            With the title, detail and hint of the problem the platform answered with.
        """
        answer = self.http.request(method, API + path, json=body or None)
        return _checked(answer, method, path)

    def listing(self, path: str) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        cursor = ""
        while True:
            glue = "&" if "?" in path else "?"
            page = self.api("GET", f"{path}{glue}limit=100{f'&cursor={cursor}' if cursor else ''}")
            yield from page["items"]
            cursor = page["next_cursor"]
            if not cursor:
                return

    def upload(self, data_repo_id: str, path: Path, progress: Callable[[str], None]) -> dict[str, Any]:
        """Stream a file into a data repo, saying how much has gone."""
        size = path.stat().st_size

        def chunks() -> Iterator[bytes]:
            sent = 0
            with path.open("rb") as source:
                while chunk := source.read(64 * 1024):
                    yield chunk
                    sent += len(chunk)
                    progress(f"{sent * 100 // size} % of {size / 1024:.0f} kB")

        where = f"/data-repos/{data_repo_id}/files/{path.name}"
        answer = self.http.put(API + where, content=chunks(), headers={"Content-Length": str(size)})
        stored: dict[str, Any] = _checked(answer, "PUT", where)
        return stored

    def download(self, data_repo_id: str, key: str) -> bytes:
        """The content of a file in a data repo."""
        where = f"/data-repos/{data_repo_id}/files/{key}"
        answer = self.http.get(API + where)
        _checked(answer, "GET", where)
        return answer.content

    def events(self, path: str) -> Iterator[Event]:
        """A server-sent event stream until its event ``end``; reconnects where it left off."""
        last = ""
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
            try:
                with self.http.stream(
                    "GET", API + path, headers=headers, timeout=httpx.Timeout(60, read=90)
                ) as answer:
                    if answer.is_error:
                        answer.read()
                        _checked(answer, "GET", path)
                    for event in _parse_events(answer.iter_lines()):
                        last = event.id or last
                        if event.name == "end":
                            return
                        yield event
            except httpx.TransportError:
                time.sleep(0.5)  # the service restarts; the stream goes on where it was


def _parse_events(lines: Iterator[str]) -> Iterator[Event]:
    fields = {"id": "", "event": "message"}
    data: list[str] = []
    for line in lines:
        if not line:
            if data or fields["event"] != "message":
                yield Event(fields["id"], fields["event"], "\n".join(data))
            fields, data = {"id": "", "event": "message"}, []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name in fields:
            fields[name] = value


def _checked(answer: httpx.Response, method: str, path: str) -> Any:
    if not answer.is_error:
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return answer.json() if is_json and answer.content else None
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    told = problem.get("detail") or problem.get("title") or answer.text[:200]
    errors = problem.get("errors") or []
    details = "; ".join(f"{item['field']} {item['message']}" for item in errors)
    message = f"{method} {path} ended {answer.status_code}: {told} {details}".strip()
    raise Refused(message, problem.get("hint") or "", answer.status_code, [item["field"] for item in errors])
