"""Secrets at rest: Fernet tokens under a list of keys, the first of which encrypts (rotation)."""

import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SecretsError(Exception):
    """The keys do not fit the stored secret, or there are none."""


class Secrets:
    """Encrypts and decrypts JSON values.

    Parameters
    ----------
    keys
        URL-safe base64 Fernet keys; the first encrypts, all decrypt.
    """

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise SecretsError("there is no encryption key; make one with “a360 up” or set secret_keys")
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        self._first = keys[0].encode()

    @classmethod
    def from_file(cls, path: Path) -> "Secrets":
        """Read one key a line."""
        try:
            lines = path.read_text().split()
        except FileNotFoundError:
            raise SecretsError(f"the key file {path} does not exist") from None
        return cls(lines)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose, the same as long as the first key is."""
        return hmac.digest(self._first, purpose.encode(), "sha256")

    def encrypt(self, value: Any) -> str:
        """A token over the JSON of ``value``."""
        return self._fernet.encrypt(json.dumps(value).encode()).decode()

    def decrypt(self, token: str) -> Any:
        """The value back.

        Raises
        ------
        SecretsError
            If no key fits.
        """
        try:
            return json.loads(self._fernet.decrypt(token.encode()))
        except InvalidToken:
            raise SecretsError("a stored secret cannot be read with the keys at hand") from None
