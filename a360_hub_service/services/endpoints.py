"""Endpoints: what runs, how to call it, and how it is found again after a restart (rows F325 to F331)."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from a360runtime.serving.mqtt.settings import read_url

from ..backends.base import BackendError
from ..backends.images.base import BuiltPackage
from ..backends.targets.base import Target
from ..backends.targets.types import EndpointSpec, EndpointStatus, KeyRecord
from ..entities import Collaborator, Endpoint, Model, Package
from ..errors import Unavailable
from . import brokers
from .context import Actor, Context
from .paging import page

log = logging.getLogger("a360.endpoints")

RUNNING, STOPPED = "running", "stopped"
"""What is wanted of an endpoint (``Endpoint.desired``)."""
WITHDRAWN, UNKNOWN = "withdrawn", "unknown"
"""Statuses of a view, beside those of targets."""
STATUS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Live:
    """What runs now: ``running``, ``degraded``, ``starting``, ``absent``, ``withdrawn`` or ``unknown``."""

    status: str
    replicas: int = 0
    ready_replicas: int = 0
    limits: str = ""
    message: str = ""


def endpoint_of(session: Session, model: Model) -> Endpoint | None:
    """A model's endpoint, running or withdrawn; ``None`` if it was never published."""
    return session.scalar(select(Endpoint).where(Endpoint.model_id == model.id))


def list_endpoints(
    session: Session, actor: Actor, *, limit: int, cursor: str | None
) -> tuple[Sequence[Endpoint], str | None]:
    """The endpoints of the caller's projects that run or are being started, newest first."""
    mine = select(Collaborator.project_id).where(Collaborator.user_name == actor.name)
    query = select(Endpoint).join(Model).where(Model.project_id.in_(mine), Endpoint.desired == RUNNING)
    query = query.options(
        joinedload(Endpoint.model), joinedload(Endpoint.package), selectinload(Endpoint.keys)
    )
    return page(session, query, Endpoint.id, limit=limit, cursor=cursor)


def call_example(endpoint: Endpoint) -> str:
    """A call that works once key, or user and password, and body are filled in (F328 to F330)."""
    url, form = endpoint.url or "", endpoint.package.form or {}
    if form.get("wrapper") == "mqtt":
        return _mqtt_example(url, form)
    return (
        f"curl -X POST '{url}' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        "  -H 'apikey: REPLACE-WITH-YOUR-API-KEY' \\\n"
        "  -d '{}'"
    )


def _mqtt_example(url: str, form: Mapping[str, Any]) -> str:
    host, port, tls = read_url(url)
    login = f"-h {host} -p {port} -u REPLACE-WITH-USER -P REPLACE-WITH-PASSWORD"
    login += " --cafile ca.pem" if tls else ""
    return (
        f"mosquitto_rr {login} -q 1 \\\n"
        f"  -t '{form['listen_topic']}' -e '{form['respond_topic']}' -m '{{\"correlation_id\": \"1\"}}'"
    )


class StatusCache:
    """Asks targets at most once a second for each endpoint, however many people watch it."""

    def __init__(self, seconds: float = STATUS_SECONDS) -> None:
        self.seconds = seconds
        self._lock = threading.Lock()
        self._known: dict[tuple[int, str], tuple[float, Live]] = {}

    def get(self, target: Target, slug: str) -> Live:
        """What runs under a slug; may block as long as the target takes to answer."""
        key, now = (id(target), slug), time.monotonic()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now - known[0] < self.seconds:
            return known[1]
        live = _ask(target, slug)
        with self._lock:
            self._known = {k: v for k, v in self._known.items() if now - v[0] < self.seconds}
            self._known[key] = (time.monotonic(), live)
        return live


_statuses = StatusCache()


def live_status(context: Context, endpoint: Endpoint) -> Live:
    """What runs of an endpoint now, not older than a second."""
    if endpoint.desired != RUNNING:
        return Live(WITHDRAWN)
    try:
        target = target_of(context, endpoint)
    except Unavailable as error:
        return Live(UNKNOWN, message=error.detail)
    return _statuses.get(target, endpoint.slug)


def _ask(target: Target, slug: str) -> Live:
    try:
        status: EndpointStatus = target.status(slug)
    except BackendError as error:
        return Live(UNKNOWN, message=error.message)
    except Exception:
        log.exception("the target %s could not be asked about %s", target.name, slug)
        return Live(UNKNOWN, message=f"The target “{target.name}” does not answer.")
    return Live(status.status, status.replicas, status.ready_replicas, status.limits, status.message)


def key_records(endpoint: Endpoint) -> list[KeyRecord]:
    """The keys as targets take them."""
    return [KeyRecord(key.id, key.sha256, _iso(key.expires_at)) for key in endpoint.keys]


def _iso(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def target_of(context: Context, endpoint: Endpoint) -> Target:
    """Where an endpoint runs.

    Raises
    ------
    Unavailable
        If the operator took that target away.
    """
    target = context.targets.get(endpoint.target)
    if target is None:
        raise Unavailable(
            f"The target “{endpoint.target}” is not configured any more.",
            hint="Ask the operator to put it back; what runs there cannot be reached without it.",
        )
    return target.at(endpoint.deployment_target_id or "")


def spec_of(session: Session, context: Context, endpoint: Endpoint) -> EndpointSpec:
    """What should run, from the database alone; the same each time, so that targets recognise it."""
    package = endpoint.package
    form = endpoint.form
    environment = context.secrets.decrypt(endpoint.environment) if endpoint.environment else {}
    return EndpointSpec(
        slug=endpoint.slug,
        package=built_package(package),
        replicas=form["replicas"],
        cpu_request=form["cpu_request"],
        cpu_limit=form["cpu_limit"],
        memory_request=form["memory_request"],
        memory_limit=form["memory_limit"],
        environment=environment,
        labels={"a360.model": endpoint.model_id, "a360.endpoint": endpoint.id},
        max_replicas=form.get("max_replicas") or 0,
        project=endpoint.model.project.slug,
        broker=brokers.settings_of(session, context, endpoint),
    )


def built_package(package: Package) -> BuiltPackage:
    """A finished package as backends know it."""
    return BuiltPackage(
        builder=package.builder,
        reference=package.reference or "",
        digest=package.digest or "",
        size=package.size or 0,
        lock_sha256=package.lock_sha256 or "",
    )


def load_for_target(
    context: Context, session: Session, endpoint_id: str
) -> tuple[EndpointSpec, list[KeyRecord]]:
    """What a target needs to run an endpoint."""
    endpoint = session.get_one(Endpoint, endpoint_id)
    return spec_of(session, context, endpoint), key_records(endpoint)
