"""Endpoints that are asked over MQTT: the wrapper runs at the edge, the broker passes requests on to it."""

import contextlib
import fcntl
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from traitlets import Float, Unicode

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import Health, Log
from a360_hub_service.backends.engine import engine_health
from a360_hub_service.backends.targets.base import Target
from a360_hub_service.backends.targets.engine_place import EnginePlace
from a360_hub_service.backends.targets.places import Place, PlaceState, ProcessPlace
from a360_hub_service.backends.targets.supervised import read_json, write_json
from a360_hub_service.backends.targets.types import (
    EndpointSpec,
    EndpointStatus,
    KeyRecord,
    ReplicaStatus,
    TargetError,
)

ENGINE = "A360_ENGINE_URL"
"""Among the broker's settings: the engine to run at; that of this machine when it is not there."""

_RUNNING, _STARTING = _FILES = ("endpoint.json", "starting.json")
"""Files of an endpoint that say where it runs, and where it is being started."""


class ClearbladeTarget(Target):
    """Runs packages with the MQTT wrapper: images at a Docker engine, bundles as processes here.

    An endpoint is one wrapper with one session at the broker, so revisions follow one another: the old one
    brings its answers out and stops, and the broker keeps what comes until the new one listens.
    """

    name: ClassVar[str] = "clearblade"
    description: ClassVar[str] = "An MQTT broker, as of ClearBlade, and a host at its edge."
    builders: ClassVar[tuple[str, ...]] = ("bundle", "docker", "oci")
    wrappers: ClassVar[tuple[str, ...]] = ("mqtt",)
    needs_broker: ClassVar[bool] = True

    prefix = Unicode("a360", help="First part of the names of containers and volumes.").tag(config=True)

    broker_timeout = Float(15.0, help="Seconds for which a broker may turn a new endpoint away.").tag(
        config=True
    )

    def health(self) -> Health:
        """Say whether wrappers can run here; credentials can name engines elsewhere."""
        if sys.platform.startswith("linux"):
            return Health(True, "Needs a credential of a broker.")
        return engine_health()

    def apply(self, spec: EndpointSpec, log: Log) -> EndpointStatus:
        """Make `spec` what runs under its slug; see `Target.apply`."""
        self._check(spec)
        place = self._place(spec.package.builder, spec.broker.get(ENGINE, ""))
        place.check(spec, log)
        with self._locked(spec.slug):
            revision, before = _revision(spec), self._record(spec.slug)
            if before.get("revision") != revision:
                self._replace(place, spec, revision, before, log)
            else:
                place.start(spec, revision)
                self._wait_until_ready(place, spec.slug, revision)
            return self.status(spec.slug)

    def _replace(
        self, place: Place, spec: EndpointSpec, revision: str, before: dict[str, Any], log: Log
    ) -> None:
        slug, home = spec.slug, self._home(spec.slug)
        old = self._place_of(before) if before else None
        record = self._new_record(spec, revision)
        # Should this service end now, it is known where something may have been started.
        write_json(home / _STARTING, record)
        if old:
            log("Stopping what it replaces; the broker keeps requests meanwhile.")
            old.stop(slug, before["revision"], self.drain_timeout)
        try:
            log(f"Starting {slug}.")
            limits = place.start(spec, revision)
            log(f"Limits: {limits}")
            state = self._wait_until_ready(place, slug, revision)
        except (TargetError, OSError, interruption.Interrupted) as error:
            self._undo(place, slug, revision, old, before)
            if isinstance(error, OSError):
                message = f"The endpoint could not be stored: {error.strerror or error}."
                raise TargetError(message, hint="Free disk space.") from error
            raise
        write_json(home / _RUNNING, record | {"limits": limits})
        (home / _STARTING).unlink(missing_ok=True)
        if old:
            old.delete(slug, before["revision"])
            if self._place_name(before) != _place_name(spec):
                old.clear(slug)
        log(state.message)

    def _new_record(self, spec: EndpointSpec, revision: str) -> dict[str, Any]:
        """Return what is kept of an endpoint: nothing secret."""
        return {
            "target": self.name,
            "revision": revision,
            "builder": spec.package.builder,
            "engine": spec.broker.get(ENGINE, ""),
            "url": spec.broker["A360_MQTT_URL"],
            "package": spec.package.reference,
        }

    def _undo(
        self, place: Place, slug: str, revision: str, old: Place | None, before: dict[str, Any]
    ) -> None:
        """Leave nothing of a revision that did not come up, and put back what ran."""
        # The reason why it did not come up is told, not what follows from it.
        with contextlib.suppress(TargetError):
            place.stop(slug, revision, 1, forget=old is None)
            place.delete(slug, revision)
        with contextlib.suppress(TargetError):
            if old:
                old.resume(slug, before["revision"])
            else:
                place.clear(slug)
                shutil.rmtree(self._home(slug), ignore_errors=True)

    def status(self, slug: str) -> EndpointStatus:
        """Return what runs under `slug` now, as the wrapper's health file has it."""
        record = self._record(slug)
        state = self._place_of(record).state(slug, record["revision"]) if record else None
        if state is None:
            return EndpointStatus(slug, self.name, "absent")
        item = ReplicaStatus("wrapper", "", state.ready, state.identity, state.restarts, state.message)
        return EndpointStatus(
            slug=slug,
            target=self.name,
            status="running" if state.ready else "starting",
            url=record["url"],
            replicas=1,
            ready_replicas=int(state.ready),
            items=(item,),
            limits=record["limits"],
            package=record["package"],
            message=_words(state),
        )

    def remove(self, slug: str, log: Log) -> None:
        """Take the endpoint away, with its session at the broker; see `Target.remove`."""
        records = [found for file in _FILES if (found := self._record(slug, file))]
        if not records:
            return
        with self._locked(slug):
            log(f"Stopping {slug} and ending its session at the broker.")
            for place in map(self._place_of, records):
                for revision in place.revisions(slug):
                    place.stop(slug, revision, self.drain_timeout, forget=True)
                    if unsaid := _unsaid(place.tail(slug, revision, 5)):
                        log(unsaid)
                    place.delete(slug, revision)
                place.clear(slug)
            shutil.rmtree(self._home(slug), ignore_errors=True)
            log(f"{slug} is withdrawn.")

    def slugs(self) -> list[str]:
        """Return the slugs of the endpoints of this target."""
        found = (file.parent.name for file in Path(self.home, "endpoints").glob("*/endpoint.json"))
        return sorted(slug for slug in found if self._record(slug))

    def write_keys(self, slug: str, keys: Sequence[KeyRecord]) -> None:
        """Do nothing: the broker's users are who may ask."""

    def logs(self, slug: str, lines: int = 100) -> str:
        """Return the last lines the wrapper wrote."""
        record = self._record(slug)
        return self._place_of(record).tail(slug, record["revision"], lines) if record else ""

    def restore(self, log: Log) -> None:
        """Put back what should run and does not; see `Target.restore`."""
        for slug in self.slugs():
            with self._locked(slug):
                try:
                    record = self._record(slug)
                    place = self._place_of(record)
                    state = place.state(slug, record["revision"])
                    if state is not None and not state.identity:
                        place.resume(slug, record["revision"])
                except (TargetError, OSError) as error:
                    log(f"{slug} could not be put back to work: {error}")

    def _check(self, spec: EndpointSpec) -> None:
        if spec.package.builder not in self.builders:
            raise TargetError(
                f"The {self.name} target does not run packages made by the {spec.package.builder} builder.",
                hint=f"Package again with one of: {', '.join(self.builders)}.",
                field="target",
            )
        if not spec.broker.get("A360_MQTT_URL"):
            raise TargetError("There is no broker to connect to.", hint="Choose a credential of a broker.")
        if spec.replicas != 1:
            raise TargetError("An endpoint at a broker is one replica.", field="replicas")

    def _place(self, builder: str, engine_url: str) -> Place:
        if builder == "bundle":
            return ProcessPlace(Path(self.home), self.drain_timeout)
        return EnginePlace(self.registry, engine_url, self.prefix, self.drain_timeout)

    def _place_of(self, record: dict[str, Any]) -> Place:
        return self._place(record["builder"], record["engine"])

    @staticmethod
    def _place_name(record: dict[str, Any]) -> tuple[bool, str]:
        return record["builder"] == "bundle", record["engine"]

    def _wait_until_ready(self, place: Place, slug: str, revision: str) -> PlaceState:
        deadline = time.monotonic() + self.start_timeout
        turned_away = 0.0
        while True:
            interruption.check()
            state = place.state(slug, revision)
            if state and state.ready:
                return state
            restarts = state.restarts if state else 0
            if state and state.health.get("state") in ("connecting", "refused"):
                # It tries again, as it does with a broker that is away; but here somebody waits for a word.
                turned_away = turned_away or time.monotonic()
                deadline = min(deadline, turned_away + self.broker_timeout)
            if restarts >= 2 or time.monotonic() > deadline:
                raise self._not_ready(place, slug, revision, state)
            time.sleep(0.1)

    def _not_ready(self, place: Place, slug: str, revision: str, state: PlaceState | None) -> TargetError:
        why = state.message if state else "it is gone"
        connected = bool(state and state.identity)
        hint = (
            "Correct the credential of the broker, or the rights of its user."
            if connected
            else "Correct the script and package again, or give the endpoint more memory."
        )
        return TargetError(
            f"The endpoint {slug} does not listen: {why} Its last lines:\n{place.tail(slug, revision, 20)}",
            hint=hint,
        )

    def _record(self, slug: str, file: str = "") -> dict[str, Any]:
        record = read_json(self._home(slug) / (file or _RUNNING))
        return record if record.get("target") == self.name else {}

    def _home(self, slug: str) -> Path:
        if not slug.replace("-", "").isalnum():
            raise TargetError(f"{slug!r} is not a name of an endpoint.")
        return Path(self.home, "endpoints", slug).absolute()

    @contextlib.contextmanager
    def _locked(self, slug: str) -> Iterator[None]:
        """Let one caller at a time change an endpoint, of all threads and processes."""
        self._home(slug).mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(Path(self.home, "endpoints", f".{slug}.lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _place_name(spec: EndpointSpec) -> tuple[bool, str]:
    return spec.package.builder == "bundle", spec.broker.get(ENGINE, "")


def _revision(spec: EndpointSpec) -> str:
    """Name what `spec` runs as; labels change nothing that runs."""
    seen = asdict(spec) | {"labels": None}
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:12]


def _words(state: PlaceState) -> str:
    counts = ", ".join(f"{name} {count}" for name, count in dict(state.health.get("counts") or {}).items())
    return f"{state.message} ({counts})" if counts else state.message


def _unsaid(lines: str) -> str:
    """Return the line of a wrapper's log that says that it could not end its session."""
    return next((line for line in lines.splitlines() if line.startswith("The session")), "")
