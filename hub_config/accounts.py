"""The accounts of the embedded sign-in: one first-run password, kept only as salted scrypt hashes."""

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

ACCOUNTS = {
    "admin": "Administrator",
    "scientist": "Data Scientists",
    "reviewer": "Data Scientists",
    "engineer": "ML Engineers",
}
"""Demo accounts and the group each starts in."""

# 64 MiB and about 0.1 s for one guess.
SCRYPT = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**27}
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class Accounts:
    """The accounts file, read again whenever it changed, so that a reset holds without a restart.

    Parameters
    ----------
    path : Path
        ``hub/accounts.json`` of the state folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hashes: dict[str, dict[str, str]] = {}
        self._stamp: tuple[int, int] | None = None

    def names(self) -> list[str]:
        """All account names."""
        return sorted(self._load())

    def check(self, name: str, password: str) -> bool:
        """Whether this is the password of this account; takes as long for names that do not exist."""
        entry = self._load().get(name)
        salt = bytes.fromhex(entry["salt"]) if entry else b"\0" * 16
        digest = _scrypt(password, salt)
        return entry is not None and hmac.compare_digest(digest, entry["scrypt"])

    def reset(self) -> str:
        """Make one new password for all accounts, store its hashes (mode 0600) and return it."""
        password = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
        entries = {}
        for name in ACCOUNTS:
            salt = secrets.token_bytes(16)
            entries[name] = {"salt": salt.hex(), "scrypt": _scrypt(password, salt)}
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_secret(self.path, json.dumps(entries, indent=1))
        return password

    def _load(self) -> dict[str, dict[str, str]]:
        stat = self.path.stat()
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._hashes, self._stamp = json.loads(self.path.read_text()), stamp
        return self._hashes


def _scrypt(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, **SCRYPT).hex()


def write_secret(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    os.replace(temporary, path)


def secret_file(path: Path, size: int = 32) -> str:
    """The hex secret in this file; made at the first call, mode 0600."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_secret(path, secrets.token_hex(size))
    return path.read_text().strip()
