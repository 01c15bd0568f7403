"""Start, kill and call the service in tests."""

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import httpx
from cryptography.fernet import Fernet

from a360_hub_service.app import A360HubService
from a360_hub_service.database import Database
from tests.support import loop_reports
from tests.support.forked import ForkedService

PREFIX = "/services/a360"
PEOPLE = {
    "admin": ["Administrator"],
    "scientist": ["Data Scientists"],
    "reviewer": ["Data Scientists"],
    "engineer": ["ML Engineers"],
    "outsider": ["Data Scientists"],
    "nobody": [],
}
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(check: Any, *, seconds: float = 30, message: str = "it did not happen") -> Any:
    """Poll until ``check()`` is true; its value. Errors of the connection count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := check():
                return value
        except httpx.TransportError:
            value = None
        if time.monotonic() > deadline:
            raise AssertionError(f"{message} within {seconds} s")
        time.sleep(0.02)


class ServiceProcess:
    """The service on a random port over a state directory.

    Parameters
    ----------
    home
        The state directory; made if missing.
    database_url
        SQLite in the home when empty.
    people
        User -> groups; tokens are ``test-<user>``.
    config
        Lines of traitlets configuration (``c.A360HubService.x = …``).
    """

    def __init__(
        self,
        home: Path,
        *,
        database_url: str = "",
        people: dict[str, list[str]] | None = None,
        config: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        self.home, self.env = home, env or {}
        self.port = free_port()
        service = home / "service"
        service.mkdir(parents=True, exist_ok=True)
        keys = service / "secret.keys"
        if not keys.exists():
            keys.write_text(Fernet.generate_key().decode())
        self.people_file = home / "people.json"
        self.set_people(people or PEOPLE)
        self.config = home / "service_config.py"
        port = free_port()
        lines = [loop_reports.WATCHED, config, f"c.Gateway.port = {port}"] + (
            [f"c.A360HubService.database_url = {database_url!r}"] if database_url else []
        )
        self.config.write_text("c = get_config()\n" + "\n".join(lines) + "\n")
        app = A360HubService()
        app.initialize([f"--home={home}", f"--config={self.config}"])
        app.upgrade()
        self.database_url = app.database_url
        self.log = home / "service.log"
        self.process: ForkedService | None = None

    @property
    def url(self) -> str:
        """Where the service is."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    @property
    def api_url(self) -> str:
        """Where its API is."""
        return f"{self.url}/api/v1"

    def set_people(self, people: dict[str, list[str]]) -> None:
        """Change who is in which group."""
        temporary = self.people_file.with_suffix(".new")
        temporary.write_text(json.dumps(people))
        temporary.replace(self.people_file)

    def people(self) -> dict[str, list[str]]:
        """Who is in which groups."""
        return dict(json.loads(self.people_file.read_text()))

    def start(self) -> Self:
        """Start and wait until it is ready."""
        env = {
            **os.environ,
            "A360_HOME": str(self.home),
            "A360_SERVICE_CONFIG": str(self.config),
            "A360_TEST_PEOPLE": str(self.people_file),
            "JUPYTERHUB_SERVICE_PREFIX": f"{PREFIX}/",
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}",
            "JUPYTERHUB_API_TOKEN": "unused",
            "JUPYTERHUB_CLIENT_ID": "service-a360",
            "PYTHONPATH": str(ROOT),
            **self.env,
        }
        self.process = ForkedService(env, ROOT, self.log)
        try:
            wait_for(self._ready, message="the service did not get ready")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log.read_text()[-4000:]}") from None
        return self

    def _ready(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended\n{self.log.read_text()[-4000:]}")
        return httpx.get(f"{self.url}/health").status_code == 200

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait()
        loop_reports.collect(self.log)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        loop_reports.collect(self.log)

    def logged(self) -> str:
        """The log, with all that was logged before this call: it is written a moment later, by a thread."""
        mark = f"/nothing-{secrets.token_hex(8)}"
        httpx.get(f"{self.api_url}{mark}")
        wait_for(lambda: mark in self.log.read_text(), message="the log is not written")
        return self.log.read_text()

    def client(self, user: str, **options: Any) -> httpx.Client:
        """An HTTP client as ``user``; paths are below the API's prefix."""
        headers = {"Authorization": f"Bearer test-{user}"}
        return httpx.Client(
            base_url=self.api_url, headers=headers, timeout=options.pop("timeout", 60), **options
        )

    def database(self) -> Database:
        """The service's database, from here."""
        return Database(self.database_url)


def project_form(name: str, volume: str, **more: Any) -> dict[str, Any]:
    """The body of a valid new project."""
    repo = {
        "name": f"{name} data"[:64],
        "volume_account": "local",
        "volume_option": "new",
        "volume_name": volume,
    }
    return {"name": name, "customer_name": "Acme", "data_repo": repo, **more}
