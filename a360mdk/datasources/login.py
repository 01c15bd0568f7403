"""What it takes to sign in to a database; secrets stay out of every text."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

from a360mdk.exceptions import DataSourceError

TYPES = ("sqlite", "postgres", "mysql", "mssql", "snowflake", "bigquery")
_ALSO = {"postgresql": "postgres", "mariadb": "mysql", "sqlserver": "mssql"}
HIDDEN = "***"
_SHORTEST = 3
"""Shorter secrets are not looked for in texts: every text holds them."""
_IN_URL = re.compile(r"(?<=://)[^\s/@'\"]*:[^\s@'\"]*(?=@)")
_NAMED = re.compile(
    r"(?i)\b((?:password|passwd|pwd|token|passphrase)\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s,;'\"&)]+)"
)


class Secret(str):
    """A text that shows itself to drivers only: what prints an object's parts prints three stars."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


class SecretBytes(bytes):
    """The same of bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


SECRETS = (
    "password",
    "private_key",
    "private_key_passphrase",
    "access_token",
    "oauth_token",
    "service_account",
)


@dataclass(frozen=True)
class Login:
    """Where a database is, which part of it, and who asks.

    Attributes:
        database: file of sqlite, project of BigQuery.
        schema: data set of BigQuery.
        ssl_mode: "prefer", "require" or "verify-full" encryption.
        access_token: Snowflake's programmatic access token.
        service_account: BigQuery's key file, as JSON.
    """

    database_type: str
    host: str | None = None
    port: int | None = None
    database: str | None = None
    schema: str | None = None
    warehouse: str | None = None
    account: str | None = None
    role: str | None = None
    user: str | None = None
    ssl_mode: str = "prefer"
    password: Secret | None = field(default=None, repr=False)
    private_key: Secret | None = field(default=None, repr=False)
    private_key_passphrase: Secret | None = field(default=None, repr=False)
    access_token: Secret | None = field(default=None, repr=False)
    oauth_token: Secret | None = field(default=None, repr=False)
    service_account: Secret | None = field(default=None, repr=False)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Make it from the service's document; what is unknown or null is left out."""
        known = {item.name for item in dataclasses.fields(cls)}
        given = {name: value for name, value in document.items() if name in known and value is not None}
        hidden = {name: Secret(given[name]) for name in SECRETS if name in given}
        return cls(database_type=type_named(document["datasource_type"]), **{**given, **hidden})

    @property
    def secrets(self) -> list[Secret]:
        """Every secret there is."""
        values = (getattr(self, name) for name in SECRETS)
        return [value for value in values if value]

    @property
    def place(self) -> str:
        """Where it is, for people."""
        server = self.account or self.host
        return " on ".join(part for part in (self.database, server) if part) or "a database in memory"


def type_named(name: str) -> str:
    """Return the type of data sources that people mean.

    Raises:
        DataSourceError: there is none.
    """
    chosen = _ALSO.get(str(name).lower(), str(name).lower())
    if chosen not in TYPES:
        raise DataSourceError(
            f"{name!r} is not a type of data sources.",
            "The kit speaks to none of that name.",
            f"Choose one of {', '.join(TYPES)}.",
        )
    return chosen


def split_host(host: str | None) -> tuple[str | None, int | None]:
    """Take the port off ``host:port``; an IPv6 address with a port is in brackets."""
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+):(\d+)", host or "")
    if not found:
        return host, None
    port = found[2] or found[4]
    return found[1] or found[3], int(port) if port else None


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Take secrets out of a text: the ones given, and whatever looks like a password in an address."""
    parts = {
        part for secret in secrets for part in (secret, *secret.splitlines()) if not part.startswith("-----")
    }
    for secret in sorted(parts, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            for written in {secret, quote(secret, safe=""), repr(secret)[1:-1]}:
                text = text.replace(written, HIDDEN)
    return _NAMED.sub(rf"\1{HIDDEN}", _IN_URL.sub(HIDDEN, text))
