"""Places where the MQTT wrapper of an endpoint runs: what each does, and the one without an engine."""

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from a360_hub_service.backends.base import Log
from a360_hub_service.backends.targets.limits import plan_limits
from a360_hub_service.backends.targets.supervised import ProcessSpec, RunFolder, read_json
from a360_hub_service.backends.targets.types import EndpointSpec, TargetError
from a360runtime.serving.mqtt.health import FORGET, read_health

SECRETS = (
    "A360_MQTT_USERNAME",
    "A360_MQTT_PASSWORD",
    "A360_MQTT_USER_TOKEN",
    "A360_MQTT_SYSTEM_KEY",
    "A360_MQTT_CA",
)
"""Settings that are handed over as files, so that no listing of processes or containers shows them."""


@dataclass(frozen=True)
class PlaceState:
    """What runs of a revision. `health` is what the wrapper says of itself, {} when it says nothing."""

    identity: str
    ready: bool
    restarts: int
    message: str
    health: Mapping[str, Any]


class Place(Protocol):
    """Somewhere a wrapper runs as one replica. Its state folder stays when one revision follows another.

    All but `check`, `start` and `state` take what is not there for done.
    """

    def check(self, spec: EndpointSpec, log: Log) -> None:
        """See that the package can be run here, and bring it. Raises `TargetError`."""

    def start(self, spec: EndpointSpec, revision: str) -> str:
        """Start a revision unless it runs; returns in words which limits apply."""

    def resume(self, slug: str, revision: str) -> None:
        """Start a revision again that was stopped, or that ended with the machine."""

    def state(self, slug: str, revision: str) -> PlaceState | None:
        """Return what runs of a revision, None when it is not there."""

    def stop(self, slug: str, revision: str, seconds: float, *, forget: bool = False) -> None:
        """Stop a revision; `forget` ends its session at the broker as well."""

    def revisions(self, slug: str) -> list[str]:
        """Return the revisions there are."""

    def delete(self, slug: str, revision: str) -> None:
        """Remove a revision that was stopped."""

    def clear(self, slug: str) -> None:
        """Remove the state folder, when no revision is left."""

    def tail(self, slug: str, revision: str, lines: int) -> str:
        """Return the last lines a revision wrote."""


def settings_of(spec: EndpointSpec, state: str, secrets: str, drain_seconds: float) -> dict[str, str]:
    """Return the wrapper's environment: folders `state` and `secrets` are as it sees them."""
    shown = {name: value for name, value in spec.broker.items() if name not in SECRETS}
    files = {f"{name}_FILE": f"{secrets}/{name}" for name in SECRETS if spec.broker.get(name)}
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **spec.environment,
        **shown,
        **files,
        "A360_STATE_FOLDER": state,
        "A360_THREADS": "1",
        "A360_DRAIN_SECONDS": str(max(1, int(drain_seconds))),
    }


class ProcessPlace:
    """Runs bundles as a process of this machine, under the small supervisor of local endpoints.

    Parameters
    ----------
    home
        The state directory of the platform.
    drain_seconds
        How long a wrapper that stops may take to bring its answers out.
    """

    def __init__(self, home: Path, drain_seconds: float) -> None:
        self._home, self._drain = home.absolute(), drain_seconds

    def check(self, spec: EndpointSpec, log: Log) -> None:
        """See that the bundle is there."""
        if not read_json(Path(spec.package.reference, "a360.json")):
            raise TargetError("The package is gone.", hint="Package the model again.")

    def start(self, spec: EndpointSpec, revision: str) -> str:
        """Start the process; see `Place.start`."""
        folder = self._folder(spec.slug, revision)
        limits = plan_limits(spec, f"{spec.slug}-{revision}-mqtt")
        if not folder.processes():
            secrets, state = folder.path / "secrets", self._state(spec.slug)
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in SECRETS:
                if value := spec.broker.get(name):
                    (secrets / name).touch(0o600)
                    (secrets / name).write_text(value, "utf-8")
            work = str(folder.path / "work")
            own = {"HOME": work, "TMPDIR": work}
            process = ProcessSpec(
                name="wrapper",
                argv=[sys.executable, "-I", "-S", str(Path(spec.package.reference, "run.py"))],
                env=settings_of(spec, str(state), str(secrets), self._drain) | own,
                cwd=work,
                port=0,
                cgroups=limits.cgroups,
                rlimits=limits.rlimits,
            )
            folder.write([process], self._drain)
        self.resume(spec.slug, revision)
        return limits.note

    def resume(self, slug: str, revision: str) -> None:
        """Start the supervisor unless it is at work."""
        # What it said before it ended says nothing of now.
        (self._state(slug) / "health.json").unlink(missing_ok=True)
        self._folder(slug, revision).start()

    def state(self, slug: str, revision: str) -> PlaceState | None:
        """Return what runs of a revision."""
        folder = self._folder(slug, revision)
        if not folder.processes():
            return None
        found = folder.states().get("wrapper")
        if found is None or not found.pid:
            restarts, message = (found.restarts, found.message) if found else (0, "not started")
            return PlaceState("", False, restarts, message, {})
        well, health = read_health(self._state(slug))
        return PlaceState(str(found.pid), well, found.restarts, str(health.get("message", "")), health)

    def stop(self, slug: str, revision: str, seconds: float, *, forget: bool = False) -> None:
        """Stop the process; see `Place.stop`."""
        if forget and self._state(slug).exists():
            (self._state(slug) / FORGET).touch()
        with contextlib.suppress(FileNotFoundError):
            self._folder(slug, revision).stop(seconds)

    def revisions(self, slug: str) -> list[str]:
        """Return the revisions there are."""
        return sorted(path.name for path in self._base(slug).glob("revisions/*"))

    def delete(self, slug: str, revision: str) -> None:
        """Remove a revision."""
        self._folder(slug, revision).delete(0)

    def clear(self, slug: str) -> None:
        """Remove the state folder."""
        shutil.rmtree(self._state(slug), ignore_errors=True)

    def tail(self, slug: str, revision: str, lines: int) -> str:
        """Return the last lines of the log."""
        return self._folder(slug, revision).tail(lines)

    def _base(self, slug: str) -> Path:
        return self._home / "endpoints" / slug

    def _state(self, slug: str) -> Path:
        return self._base(slug) / "mqtt"

    def _folder(self, slug: str, revision: str) -> RunFolder:
        return RunFolder(self._base(slug) / "revisions" / revision)
