"""What each database asks for; how a person proves who asks, in one way of several."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...errors import FieldError, Invalid

_SERVER = ("host", "port", "database", "user", "ssl_mode")
_ACCOUNT_FIELDS = ("type", "project_id", "private_key", "client_email", "token_uri")


@dataclass(frozen=True, slots=True)
class Kind:
    """The inputs of a type of databases.

    Attributes
    ----------
    shown, secret
        Names of what may be shown, and of what is encrypted.
    needed
        What cannot be left out.
    proofs
        Secrets that prove who asks. One excludes the others; where there are several, one is needed.
    """

    shown: tuple[str, ...]
    secret: tuple[str, ...] = ("password",)
    needed: tuple[str, ...] = ("database",)
    proofs: tuple[str, ...] = ("password",)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "sqlite": Kind(("database",), secret=(), proofs=()),
        "postgres": Kind((*_SERVER, "schema"), needed=("host", "database", "user")),
        "mysql": Kind(_SERVER, needed=("host", "user")),
        "mssql": Kind((*_SERVER, "schema"), needed=("host", "database", "user")),
        "snowflake": Kind(
            ("account", "user", "database", "schema", "warehouse", "role"),
            secret=("password", "private_key", "private_key_passphrase", "access_token", "oauth_token"),
            needed=("account", "user"),
            proofs=("password", "private_key", "access_token", "oauth_token"),
        ),
        "bigquery": Kind(
            ("database", "schema"),
            secret=("service_account",),
            needed=("database", "service_account"),
            proofs=("service_account",),
        ),
    }
)


def check_inputs(kind: Kind, inputs: Mapping[str, Any]) -> None:
    """See that inputs are complete, and that keys are keys.

    Raises
    ------
    Invalid
        Naming the fields that are wrong; secrets are in no message.
    """
    found = [FieldError(f"inputs.{name}", "is needed") for name in kind.needed if not inputs.get(name)]
    proofs = [name for name in kind.proofs if inputs.get(name)]
    if len(kind.proofs) > 1 and len(proofs) != 1:
        names = ", ".join(kind.proofs)
        found += [
            FieldError(f"inputs.{name}", f"give exactly one of {names}") for name in proofs or kind.proofs
        ]
    if kind is KINDS["sqlite"] and not str(inputs.get("database") or "/").startswith("/"):
        found.append(FieldError("inputs.database", "is a path from the root on"))
    if kind is KINDS["mssql"] and inputs.get("ssl_mode") == "verify-full":
        found.append(FieldError("inputs.ssl_mode", "its driver checks no certificates"))
    if inputs.get("private_key") and (wrong := _wrong_key(inputs)):
        found.append(wrong)
    if inputs.get("private_key_passphrase") and not inputs.get("private_key"):
        found.append(FieldError("inputs.private_key_passphrase", "there is no private key that it opens"))
    if inputs.get("service_account") and not _is_service_account(inputs["service_account"]):
        names = ", ".join(_ACCOUNT_FIELDS)
        found.append(FieldError("inputs.service_account", f"is no key file of a service account ({names})"))
    if found:
        detail = "; ".join(f"{error.field}: {error.message}" for error in found[:5])
        raise Invalid(detail, hint="Correct these fields of the credential.", errors=found)


def _wrong_key(inputs: Mapping[str, Any]) -> FieldError | None:
    phrase = inputs.get("private_key_passphrase")
    try:
        load_pem_private_key(inputs["private_key"].encode(), phrase.encode() if phrase else None)
    except TypeError:  # a phrase is missing, or one too many
        why = "is not encrypted" if phrase else "is needed to open the private key"
        return FieldError("inputs.private_key_passphrase", why)
    except Exception:  # the library has many ways to say so
        why = "is no private key in PEM format" + (" that the passphrase opens" if phrase else "")
        return FieldError("inputs.private_key", why)
    return None


def _is_service_account(text: str) -> bool:
    try:
        content = json.loads(text)
    except ValueError:
        return False
    if not isinstance(content, dict) or content.get("type") != "service_account":
        return False
    return all(isinstance(content.get(name), str) for name in _ACCOUNT_FIELDS)
