"""A whole platform for end-to-end tests: ``a360 up``, and people who sign in as in a browser."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support import loop_reports
from tests.support.images import IMAGES
from tests.support.service import free_port, wait_for

ROOT = Path(__file__).parents[2]


class SignedIn(httpx.Client):
    """A browser's session: cookies, and the XSRF token of the page's own path on each changing request.

    ``api`` takes paths below ``/services/a360/api/v1``, ``page_call`` any; ``base`` is the Hub's own path.
    """

    def __init__(self, base_url: str, user: str, password: str, base: str = "") -> None:
        super().__init__(base_url=base_url, timeout=60, follow_redirects=True, trust_env=False)
        self.user, self.base = user, base
        page = self.get(f"{base}/hub/login")
        form = {"username": user, "password": password, "_xsrf": self._xsrf(f"{base}/hub/")}
        answer = self.post(f"{base}/hub/login", params={"next": f"{base}/services/a360/"}, data=form)
        if answer.status_code >= 400 or "/hub/login" in answer.url.path:
            raise AssertionError(
                f"sign-in of {user} failed: {page.status_code} {answer.status_code} {answer.url}"
            )

    def __enter__(self) -> "SignedIn":
        return self  # signing in has opened it already

    def _xsrf(self, path: str) -> str:
        fitting = [c for c in self.cookies.jar if c.name == "_xsrf" and path.startswith(c.path)]
        return str(max(fitting, key=lambda c: len(c.path)).value) if fitting else ""

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the service's API, as its own page would."""
        return self.page_call(method, f"/services/a360/api/v1{path}", **options)

    def page_call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call any address of the platform with the XSRF token a script of that page would send."""
        path = self.base + path
        headers = {"X-XSRFToken": self._xsrf(path), **options.pop("headers", {})}
        return self.request(method, path, headers=headers, **options)

    def make_token(self) -> str:
        """A token of the user's own, as the Hub's token page makes it."""
        answer = self.page_call("POST", f"/hub/api/users/{self.user}/tokens", json={"note": "test"})
        answer.raise_for_status()
        return str(answer.json()["token"])


class Platform:
    """``a360 up`` on free ports.

    Parameters
    ----------
    home
        The state folder; made if missing.
    env
        More environment variables, for example ``A360_PROFILES``.
    service_config
        Lines of the service's traits configuration.
    """

    def __init__(self, home: Path, *, env: dict[str, str] | None = None, service_config: str = "") -> None:
        self.home, self.port = home, free_port()
        self.env = {**os.environ, "A360_IMAGES": str(IMAGES), **(env or {})}
        self.ready_file = home.with_name(home.name + ".ready.json")
        self.log = home.with_name(home.name + ".up.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.password = ""
        config = home / "service" / "a360_service_config.py"
        config.parent.mkdir(parents=True, exist_ok=True)
        lines = ["c = get_config()", loop_reports.WATCHED, f"c.Gateway.port = {free_port()}", service_config]
        config.write_text("\n".join(lines) + "\n")
        self._tokens: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where browsers go."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, *arguments: str) -> list[str]:
        """The command line of ``a360 ...`` for this platform."""
        return [sys.executable, "-m", "a360_hub_service.cli", *arguments, "--home", str(self.home)]

    def run(self, *arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """Run ``a360 ...`` to its end."""
        command = self.command(*arguments)
        return subprocess.run(
            command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=timeout
        )

    def start(self) -> "Platform":
        """Start and wait until Hub, proxy and service answer."""
        self.ready_file.unlink(missing_ok=True)
        command = self.command("up", "--port", str(self.port), "--ready-file", str(self.ready_file))
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, env=self.env, cwd=ROOT, stdout=out, stderr=out)
        try:
            wait_for(self._is_ready, seconds=90, message="the platform did not get ready")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.logs()}") from None
        ready = json.loads(self.ready_file.read_text())
        self.hub_pid = int(ready["hub_pid"])
        self.password = ready["password"] or self.password
        if not self.password:  # a state folder of an earlier test
            self.password = printed_password(self.run("reset-password").stdout) or ""
        return self

    def _is_ready(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError(f"a360 up ended with {self.process.returncode}\n{self.logs()}")
        return self.ready_file.exists()

    def logs(self) -> str:
        """The end of what platform and Hub (with proxy and service) wrote."""
        hub_log = self.home / "log" / "hub.log"
        return "\n".join(path.read_text()[-4000:] for path in (self.log, hub_log) if path.exists())

    def stop(self, number: int = signal.SIGINT, seconds: float = 40) -> int:
        """Stop as Ctrl-C does; the exit status of ``a360 up``."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"a360 up did not stop within {seconds} s\n{self.logs()}") from None
        loop_reports.collect(self.home / "log" / "hub.log")
        return int(self.process.returncode)

    def kill_hub(self) -> None:
        """SIGKILL the Hub and wait for `a360 up` to notice."""
        assert self.process
        os.kill(self.hub_pid, signal.SIGKILL)
        self.process.wait(20)

    def destroy(self) -> None:
        """Stop everything, endpoints too, whatever state it is in."""
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGTERM)
        done = self.run("down", "--all")
        assert done.returncode == 0, done.stdout + done.stderr

    def sign_in(self, user: str) -> SignedIn:
        """A browser in which this user has signed in, and opened the service once."""
        return SignedIn(self.url, user, self.password)

    def token(self, user: str) -> str:
        """A token of the user, made at the first call."""
        if user not in self._tokens:
            with self.sign_in(user) as browser:
                self._tokens[user] = browser.make_token()
        return self._tokens[user]

    def client(self, user: str, **options: Any) -> httpx.Client:
        """An API client with the user's token; paths are below the API's prefix."""
        return httpx.Client(
            base_url=f"{self.url}/services/a360/api/v1",
            headers={"Authorization": f"Bearer {self.token(user)}"},
            timeout=options.pop("timeout", 60),
            trust_env=False,
            **options,
        )

    def processes(self) -> list[psutil.Process]:
        """Live processes that were started with this state folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.environ().get("A360_HOME") == str(self.home)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def start_workspace(self, user: str, project_id: str, name: str, **form: Any) -> dict[str, Any]:
        """Make a workspace, start it and wait until it runs; its description."""
        body = {"name": name, "image": "a360-local-sklearn", "cpu": 1, "memory": "2Gi", **form}
        with self.client(user) as client:
            made = client.post(f"/projects/{project_id}/workspaces", json=body)
            assert made.status_code == 201, made.text
            return self.run_workspace(user, made.json()["id"])

    def run_workspace(self, user: str, workspace_id: str, seconds: float = 180) -> dict[str, Any]:
        """Start a workspace that exists and wait until it runs; its description."""
        with self.client(user) as client:
            started = client.post(f"/workspaces/{workspace_id}/start")
            assert started.status_code == 202, started.text
            return self.wait_workspace(user, workspace_id, "running", seconds)

    def wait_workspace(
        self, user: str, workspace_id: str, status: str, seconds: float = 60
    ) -> dict[str, Any]:
        """Wait for a workspace to have a status; its description."""
        deadline = time.monotonic() + seconds
        with self.client(user) as client:
            while True:
                found: dict[str, Any] = client.get(f"/workspaces/{workspace_id}").json()
                if found["status"] == status:
                    return found
                if found["status"] == "failed" or time.monotonic() > deadline:
                    raise AssertionError(f"{found}\n{self.logs()}")
                time.sleep(0.1)


@contextmanager
def platform(home: Path, **options: Any) -> Iterator[Platform]:
    """A started platform that is gone afterwards, endpoints and workspaces included."""
    running = Platform(home, **options)
    try:
        yield running.start()
    finally:
        running.destroy()


def printed_password(text: str) -> str | None:
    """The password ``a360 up`` or ``a360 reset-password`` printed."""
    found = re.search(r"\b([a-z2-9]{5}(?:-[a-z2-9]{5}){3})\b", text)
    return found.group(1) if found else None
