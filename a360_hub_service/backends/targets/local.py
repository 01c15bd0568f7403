"""What targets on this machine share: folders, keys, and how one revision follows another."""

import contextlib
import fcntl
import hashlib
import http.client
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import Log
from a360_hub_service.backends.images.base import BuiltPackage
from a360_hub_service.backends.targets.base import Target
from a360_hub_service.backends.targets.supervised import read_json, write_json
from a360_hub_service.backends.targets.types import (
    EndpointSpec,
    EndpointStatus,
    KeyRecord,
    ReplicaStatus,
    TargetError,
)
from a360runtime.serving.metrics import KEY_USED

HOST = "127.0.0.1"
_USED = re.compile(rf'^{KEY_USED}{{key="([^"]+)"}} ([0-9.e+]+)$', re.MULTILINE)


class LocalTarget(Target):
    """Replicas listen on loopback ports behind the gateway; what runs is recorded in ``endpoints/<slug>``.

    An endpoint runs as a revision, named by the hash of what it is made of. A subclass starts, looks at and
    deletes revisions; this class makes sure that one replaces the other without a failed call.
    """

    def apply(self, spec: EndpointSpec, log: Log) -> EndpointStatus:
        """Make `spec` what runs; see `Target.apply`."""
        self._check(spec, log)
        with self._locked(spec.slug):
            revision = self._revision(spec)
            fresh = self._current(spec.slug) != revision
            try:
                log(f"Starting {spec.replicas} replica{'s' * (spec.replicas != 1)} of {spec.slug}.")
                limits = self._start(spec, revision)
                log(f"Limits: {limits}")
                self._wait_until_ready(spec.slug, revision)
                self.gateway.ensure_running(log)
                self._route(spec.slug, revision)
            except (TargetError, OSError, interruption.Interrupted) as error:
                if fresh:
                    self._undo(spec.slug, revision)
                if isinstance(error, interruption.Interrupted):
                    raise
                raise _as_target_error(error) from error
            record = {"target": self.name, "revision": revision, "limits": limits, "spec": asdict(spec)}
            write_json(self._home(spec.slug) / "endpoint.json", record)
            for other in self._revisions(spec.slug):
                if other != revision:
                    log("Stopping the replicas it replaces.")
                    self._delete(spec.slug, other, self.drain_timeout)
            log(f"{spec.slug} is ready at {self.gateway.url(spec.slug)}.")
            return self.status(spec.slug)

    def status(self, slug: str) -> EndpointStatus:
        """Return what runs under `slug` now."""
        record = self._record(slug)
        if not record:
            return EndpointStatus(slug, self.name, "absent")
        items = tuple(self._replicas(slug, record["revision"]))
        ready = sum(item.ready for item in items)
        status = "running" if items and ready == len(items) else "degraded" if ready else "starting"
        return EndpointStatus(
            slug=slug,
            target=self.name,
            status=status,
            url=self.gateway.url(slug),
            replicas=int(record["spec"]["replicas"]),
            ready_replicas=ready,
            items=items,
            limits=record["limits"],
            package=record["spec"]["package"]["reference"],
        )

    def remove(self, slug: str, log: Log) -> None:
        """Take the endpoint away; see `Target.remove`."""
        if not self._home(slug).exists():
            return
        with self._locked(slug):
            log(f"Taking {slug} off the gateway.")
            self.gateway.remove_route(slug)
            for revision in self._revisions(slug):
                self._delete(slug, revision, self.drain_timeout)
            shutil.rmtree(self._home(slug), ignore_errors=True)
            log(f"{slug} is withdrawn.")

    def slugs(self) -> list[str]:
        """Return the slugs of the endpoints of this target."""
        found = (file.parent.name for file in Path(self.home, "endpoints").glob("*/endpoint.json"))
        return sorted(slug for slug in found if self._record(slug))

    def write_keys(self, slug: str, keys: Sequence[KeyRecord]) -> None:
        """Replace the keys that open this endpoint."""
        folder = self._home(slug) / "keys"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        # Hashes only, and readable for the user a container runs as.
        document = [asdict(key) | {"expires_at": key.expires_at or None} for key in keys]
        write_json(folder / "keys.json", document, mode=0o644)

    def logs(self, slug: str, lines: int = 100) -> str:
        """Return the last lines the replicas wrote."""
        revision = self._current(slug)
        return self._tail(slug, revision, lines) if revision else ""

    def key_use(self, slug: str) -> dict[str, float]:
        """Ask each replica; see `Target.key_use`."""
        revision, used = self._current(slug), dict[str, float]()
        for replica in self._replicas(slug, revision) if revision else []:
            text = fetch(replica.address, "/metrics") if replica.ready else ""
            for key, at in _USED.findall(text):
                used[key] = max(float(at), used.get(key, 0.0))
        return used

    def restore(self, log: Log) -> None:
        """Put back what should run and does not; see `Target.restore`."""
        slugs = self.slugs()
        for slug in slugs:
            with self._locked(slug):
                # One endpoint that cannot be put back must not keep the others down.
                try:
                    self._restore_one(slug)
                except (TargetError, OSError) as error:
                    log(f"{slug} could not be put back to work: {error}")
        if slugs:
            self.gateway.ensure_running(log)

    def _restore_one(self, slug: str) -> None:
        if record := self._record(slug):
            package = BuiltPackage(**record["spec"]["package"])
            spec = EndpointSpec(**(record["spec"] | {"package": package}))
            self._start(spec, record["revision"])
            self._route(slug, record["revision"])

    # What a subclass does.

    def _start(self, spec: EndpointSpec, revision: str) -> str:
        """Start the replicas unless they run already. Returns in words which limits apply to them."""
        raise NotImplementedError

    def _replicas(self, slug: str, revision: str) -> list[ReplicaStatus]:
        raise NotImplementedError

    def _revisions(self, slug: str) -> list[str]:
        raise NotImplementedError

    def _delete(self, slug: str, revision: str, drain_seconds: float) -> None:
        raise NotImplementedError

    def _tail(self, slug: str, revision: str, lines: int) -> str:
        raise NotImplementedError

    def _check(self, spec: EndpointSpec, log: Log) -> None:
        """Raise `TargetError` when the package cannot be run here; bring it here from where it is."""
        if spec.package.builder not in self.builders:
            kind = " or ".join(self.builders)
            raise TargetError(
                f"The {self.name} target does not run packages made by the {spec.package.builder} builder.",
                hint=f"Package again with the {kind} builder, or choose another target.",
                field="target",
            )

    # What all share.

    def _revision(self, spec: EndpointSpec) -> str:
        """Name what `spec` runs as; labels, and what only clusters know, change nothing that runs."""
        seen = asdict(spec) | {"labels": None}
        del seen["project"], seen["max_replicas"], seen["broker"]
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:12]

    def _route(self, slug: str, revision: str) -> None:
        self.gateway.set_route(slug, [replica.address for replica in self._replicas(slug, revision)])

    def _wait_until_ready(self, slug: str, revision: str) -> None:
        deadline = time.monotonic() + self.start_timeout
        before = {replica.name: replica.restarts for replica in self._replicas(slug, revision)}
        while True:
            interruption.check()
            found = self._replicas(slug, revision)
            if all(replica.ready for replica in found):
                return
            # A new replica that went down twice will not stay up the third time.
            failed = next((each for each in found if each.restarts - before.get(each.name, 0) >= 2), None)
            if failed or time.monotonic() > deadline:
                seconds = f"is not ready after {self.start_timeout:.0f} seconds"
                why = f"keeps crashing ({failed.message})" if failed else seconds
                raise TargetError(
                    f"The endpoint {slug} {why}. Its last lines:\n{self._tail(slug, revision, 20)}",
                    hint="Correct the script and package again, or give the endpoint more memory.",
                )
            time.sleep(0.05)

    def _undo(self, slug: str, revision: str) -> None:
        """Leave nothing of a revision that did not come up; an endpoint that never ran goes altogether."""
        # The reason why it did not come up is told, not what follows from it.
        with contextlib.suppress(TargetError):
            self._delete(slug, revision, 0)
        if not self._current(slug):
            with contextlib.suppress(TargetError):
                self.gateway.remove_route(slug)
            shutil.rmtree(self._home(slug), ignore_errors=True)

    def _environment(self, spec: EndpointSpec, keys_folder: str, work: str) -> dict[str, str]:
        """Return all a replica sees: what the form says, and ours, which it cannot change."""
        threads = math.ceil(spec.cpu_limit) if spec.cpu_limit else os.cpu_count() or 1
        return {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            **spec.environment,
            "HOME": work,
            "TMPDIR": work,
            "A360_KEYS_FILE": f"{keys_folder}/keys.json",
            "A360_THREADS": str(threads),
            "A360_DRAIN_SECONDS": str(max(1, int(self.drain_timeout))),
        }

    def _record(self, slug: str) -> dict[str, Any]:
        record = read_json(self._home(slug) / "endpoint.json")
        return record if record.get("target") == self.name else {}

    def _current(self, slug: str) -> str:
        return str(self._record(slug).get("revision", ""))

    def _home(self, slug: str) -> Path:
        if not slug.replace("-", "").isalnum():
            raise TargetError(f"{slug!r} is not a name of an endpoint.")
        return Path(self.home, "endpoints", slug).absolute()

    @contextlib.contextmanager
    def _locked(self, slug: str) -> Iterator[None]:
        """Let one caller at a time change an endpoint, of all threads and processes."""
        folder = Path(self.home, "endpoints")
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f".{slug}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def is_ready(address: str) -> bool:
    """Does a replica at host:port say that it is ready?"""
    return bool(fetch(address, "/readyz"))


def fetch(address: str, path: str) -> str:
    """Return what a replica at host:port answers, "" when it does not or says that something is wrong."""
    host, _, port = address.partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _as_target_error(error: TargetError | OSError) -> TargetError:
    if isinstance(error, TargetError):
        return error
    return TargetError(
        f"The endpoint could not be stored: {error.strerror or error}.", hint="Free disk space."
    )
