"""Credentials of MQTT brokers, ClearBlade's among them, and what endpoints at them are told (row F313)."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from a360runtime.serving.mqtt.connection import Connection, NotConnected
from a360runtime.serving.mqtt.settings import Broker, SettingsError, read_broker, read_url

from ..backends.base import BackendError
from ..backends.engine import engine
from ..backends.targets.clearblade import ENGINE
from ..entities import Credential, Endpoint
from ..errors import FieldError, Invalid, Unavailable
from .context import Actor, Context

CLEARBLADE = "clearblade"
SHOWN = ("broker_url", "username", "mqtt_version", "answer_qos", "ca_certificate", "engine_url")
SECRET = ("password", "system_key", "user_token")

_PASSWORD, _TOKEN = ("username", "password"), ("system_key", "user_token")
_CHOOSE = "Ask an administrator to give one of your groups a credential of a broker."


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """A broker the caller may publish at."""

    id: str
    name: str
    description: str
    broker_url: str


def list_brokers(session: Session, actor: Actor) -> Sequence[BrokerAccount]:
    """The brokers of the caller's groups."""
    rows = session.scalars(_all())
    return [
        BrokerAccount(row.id, row.name, row.description, row.settings["broker_url"])
        for row in rows
        if _may_use(actor, row)
    ]


def choose(session: Session, actor: Actor, name: str) -> Credential:
    """The credential of a broker by its identifier or name.

    Raises
    ------
    Invalid
        If none was named, or there is none, or none for the caller: the last two answer alike.
    """
    if not name:
        mine = ", ".join(sorted(account.name for account in list_brokers(session, actor)))
        hint = f"Yours are: {mine}." if mine else _CHOOSE
        raise Invalid.field("credential", "is needed: it says which broker, and as whom", hint=hint)
    query = _all().where((Credential.id == name) | (func.lower(Credential.name) == name.lower()))
    row = session.scalar(query)
    if row is None or not _may_use(actor, row):
        raise Invalid.field("credential", "is no broker that you may use", hint=_CHOOSE)
    return row


def in_use(session: Session, row: Credential, running: str) -> list[str]:
    """The slugs of endpoints that run with this credential."""
    rows = session.scalars(select(Endpoint).where(Endpoint.desired == running))
    return sorted(each.slug for each in rows if each.form.get("credential") == row.id)


def settings_of(session: Session, context: Context, endpoint: Endpoint) -> dict[str, str]:
    """What the wrapper of an endpoint is told of its broker; empty for endpoints at none.

    Raises
    ------
    Unavailable
        If the credential is gone.
    """
    credential_id = endpoint.form.get("credential")
    if not credential_id:
        return {}
    row = session.get(Credential, credential_id)
    if row is None:
        raise Unavailable(
            "The credential of the endpoint's broker was deleted.", hint="Publish again with another one."
        )
    told = _environment(row.settings, context.secrets.decrypt(row.secret))
    return told | {"A360_MQTT_CLIENT_ID": f"a360-{endpoint.slug}"}


def cleared(inputs: Mapping[str, Any]) -> dict[str, None]:
    """What a change of these inputs replaces: a user with a password excludes a token, and the reverse."""
    if any(inputs.get(name) for name in _TOKEN):
        return dict.fromkeys(_PASSWORD)
    return dict.fromkeys(_TOKEN) if any(inputs.get(name) for name in _PASSWORD) else {}


def check_inputs(inputs: Mapping[str, Any]) -> None:
    """See that the inputs fit together.

    Raises
    ------
    Invalid
        Naming the fields that are wrong; secrets are in no message.
    """
    found = []
    try:
        read_url(inputs.get("broker_url") or "")
    except ValueError as error:
        found.append(FieldError("inputs.broker_url", str(error)))
    given = [names for names in (_PASSWORD, _TOKEN) if any(inputs.get(name) for name in names)]
    if len(given) != 1:
        which = "give either user and password, or system key and user token"
        found += [FieldError(f"inputs.{name}", which) for name in ("username", "user_token")]
    for names in given:
        found += [
            FieldError(f"inputs.{name}", "is needed with the other one of its pair")
            for name in names
            if not inputs.get(name)
        ]
    if inputs.get("ca_certificate") and not str(inputs.get("broker_url")).startswith("mqtts:"):
        found.append(FieldError("inputs.ca_certificate", "has no use without TLS (mqtts://)"))
    if found:
        detail = "; ".join(f"{error.field}: {error.message}" for error in found)
        raise Invalid(detail, hint="Correct these fields of the credential.", errors=found)


def check(settings: Mapping[str, Any], secret: Mapping[str, Any]) -> Callable[[], None]:
    """What connects to the broker of a credential as its user, and asks its engine whether it answers."""

    def connect() -> None:
        told = _environment(settings, secret)
        # A session of its own that ends with the test: that of an endpoint is not disturbed.
        connection = Connection(
            _broker(told), f"a360-test-{secrets.token_hex(6)}", lambda event: None, clean=True
        )
        try:
            connection.open()
        except NotConnected as error:
            raise Unavailable(
                str(error), hint="Correct the credential, or ask who runs the broker."
            ) from error
        connection.close()
        if url := told.get(ENGINE):
            try:
                with engine(BackendError, timeout=10, url=url) as client:
                    client.ping()
            except BackendError as error:
                raise Unavailable(
                    f"The broker takes the login, but the engine at {url} does not answer. {error.message}",
                    hint="Correct the engine's address, or open the way to it.",
                ) from error

    return connect


def _broker(told: Mapping[str, str]) -> Broker:
    try:
        return read_broker(told)
    except SettingsError as error:
        raise Unavailable(str(error)) from error


def _environment(settings: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, str]:
    named = {
        "A360_MQTT_URL": settings["broker_url"],
        "A360_MQTT_VERSION": settings.get("mqtt_version"),
        "A360_MQTT_ANSWER_QOS": settings.get("answer_qos"),
        "A360_MQTT_CA": settings.get("ca_certificate"),
        "A360_MQTT_USERNAME": settings.get("username"),
        "A360_MQTT_PASSWORD": secret.get("password"),
        "A360_MQTT_SYSTEM_KEY": secret.get("system_key"),
        "A360_MQTT_USER_TOKEN": secret.get("user_token"),
        ENGINE: settings.get("engine_url"),
    }
    return {name: str(value) for name, value in named.items() if value}


def _all() -> Select[Credential]:
    return select(Credential).where(Credential.service == CLEARBLADE)


def _may_use(actor: Actor, row: Credential) -> bool:
    return bool(set(row.groups) & set(actor.groups))
