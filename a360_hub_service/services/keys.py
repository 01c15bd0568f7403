"""The keys that open an endpoint (C14): several, each with a name, shown once and kept as a hash."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ..backends.base import BackendError
from ..entities import Endpoint, EndpointKey, utcnow
from ..errors import Conflict, NotFound, Unavailable
from ..lifecycle import State
from . import endpoints
from .context import Actor, Context
from .models import lock
from .naming import check_name

MOST = 100
"""Keys of one endpoint: a replica compares them all at each call."""


@dataclass(frozen=True, slots=True)
class KeySpec:
    """What a new key is to be.

    Attributes
    ----------
    name
        Whose or what for. A key of the same name is rotated: the new one takes its place.
    overlap
        For how long the one in whose place it comes opens the endpoint beside it.
    lifetime
        For how long it opens the endpoint; ``None`` for as long as the model is published.
    """

    name: str
    overlap: timedelta
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time anybody sees its ``value``."""

    key: EndpointKey
    value: str


def new(session: Session, endpoint: Endpoint, actor: str, spec: KeySpec) -> NewKey:
    """Add a key to an endpoint."""
    value = f"a360_{secrets.token_urlsafe(32)}"
    key = EndpointKey(
        endpoint_id=endpoint.id,
        name=spec.name,
        sha256=hashlib.sha256(value.encode()).hexdigest(),
        prefix=value[:12],
        created_by=actor,
        expires_at=utcnow() + spec.lifetime if spec.lifetime else None,
    )
    session.add(key)
    session.flush()
    session.expire(endpoint, ["keys"])
    return NewKey(key, value)


def add(session: Session, context: Context, actor: Actor, endpoint: Endpoint, spec: KeySpec) -> NewKey:
    """Make a key for a published model, or rotate the one of this name.

    Raises
    ------
    Invalid
        For a name with characters that no screen shows.
    Conflict
        Unless the endpoint is published; or it has too many keys.
    Unavailable
        If the target does not take the keys; then they stay as they were.
    """
    check_name("name", spec.name)
    _hold(session, context, endpoint)
    now = utcnow()
    for key in endpoint.keys:
        if key.expires_at is not None and key.expires_at <= now:
            session.delete(key)
        elif key.name == spec.name and (key.expires_at is None or key.expires_at > now + spec.overlap):
            key.expires_at = now + spec.overlap
    session.flush()
    session.expire(endpoint, ["keys"])
    if len(endpoint.keys) >= MOST:
        raise Conflict(f"The endpoint has {MOST} keys already.", hint="Revoke those that nobody uses.")
    made = new(session, endpoint, actor.name, spec)
    _hand_out(context, endpoint)
    return made


def revoke(session: Session, context: Context, endpoint: Endpoint, key_id: str) -> None:
    """Take a key away; calls with it are refused from now on.

    Raises
    ------
    NotFound
        If the endpoint has no such key.
    Conflict
        Unless the endpoint is published.
    Unavailable
        If the target does not take the keys; then they stay as they were.
    """
    _hold(session, context, endpoint)
    key = next((key for key in endpoint.keys if key.id == key_id), None)
    if key is None:
        raise NotFound("The endpoint has no such key.", hint="It may have been revoked, or have expired.")
    session.delete(key)
    session.flush()
    session.expire(endpoint, ["keys"])
    _hand_out(context, endpoint)


def forget(session: Session, endpoint: Endpoint) -> None:
    """Drop all keys of an endpoint."""
    session.execute(delete(EndpointKey).where(EndpointKey.endpoint_id == endpoint.id))
    session.expire(endpoint, ["keys"])


def _hold(session: Session, context: Context, endpoint: Endpoint) -> None:
    model = endpoint.model
    lock(session, model)
    if model.status != State.PUBLISHED or endpoint.desired != endpoints.RUNNING:
        raise Conflict(
            f"“{model.model_name}” {model.version} is “{model.status}”; keys belong to published models.",
            hint="Publish it; that makes a new key too.",
        )
    if endpoints.target_of(context, endpoint).needs_broker:
        raise Conflict(
            "This endpoint has no keys: the users of its broker are who may ask.",
            hint="Give or take rights to its topics at the broker.",
        )
    session.expire(endpoint, ["keys"])


def _hand_out(context: Context, endpoint: Endpoint) -> None:
    """Give the keys to the replicas, before the commit: one that opens nothing is worse than none."""
    try:
        endpoints.target_of(context, endpoint).write_keys(endpoint.slug, endpoints.key_records(endpoint))
    except BackendError as error:
        raise Unavailable(f"The keys could not be changed. {error.message}", hint=error.hint) from error
