"""What all parts of a kubeconfig are checked by."""

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any

FLATTEN = "Put its content in: kubectl config view --minify --flatten --raw."


class KubeconfigError(ValueError):
    """A kubeconfig that is not accepted: `field` is the place in it, the words say why, `hint` what to do."""

    def __init__(self, place: str, words: str, hint: str = "") -> None:
        super().__init__(f"{place}: {words}" if place else words)
        self.place, self.words, self.hint = place, words, hint


def known(found: Any, place: str, names: Collection[str], refused: Mapping[str, str] | None = None) -> None:
    """See that a mapping holds no other names; `refused` says of some why (``words|hint``)."""
    if not isinstance(found, dict):
        raise KubeconfigError(place, "is not a mapping")
    for name in found:
        if refused and name in refused:
            raise KubeconfigError(f"{place}.{name}".lstrip("."), *refused[name].split("|"))
        if name not in names:
            raise KubeconfigError(f"{place}.{name}".lstrip("."), "is not known here", "Leave it out.")


def text(found: dict[str, Any], name: str, place: str) -> str:
    """Return a text without blanks around it, "" when there is none."""
    value = found.get(name, "")
    if not isinstance(value, str):
        raise KubeconfigError(f"{place}.{name}", "is no text")
    return value.strip()


def pem(found: dict[str, Any], name: str, place: str, kind: str) -> str:
    """Return what base64 holds, "" when there is nothing."""
    value = "".join(text(found, name, place).split())
    if not value:
        return ""
    try:
        decoded = base64.b64decode(value, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{place}.{name}", "is not base64 of a PEM file", FLATTEN) from error
    if "-----BEGIN" not in decoded or kind not in decoded:
        raise KubeconfigError(f"{place}.{name}", f"holds no {kind.lower()} in PEM", FLATTEN)
    return decoded
