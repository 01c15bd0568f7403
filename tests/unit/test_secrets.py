"""Secrets at rest."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from a360_hub_service.secrets import Secrets, SecretsError


def test_what_is_encrypted_comes_back_and_is_not_readable() -> None:
    secrets = Secrets([Fernet.generate_key().decode()])
    token = secrets.encrypt({"password": "hunter2"})
    assert "hunter2" not in token
    assert secrets.decrypt(token) == {"password": "hunter2"}


def test_a_new_first_key_still_reads_old_tokens() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    token = Secrets([old]).encrypt("x")
    rotated = Secrets([new, old])
    assert rotated.decrypt(token) == "x"
    with pytest.raises(SecretsError):
        Secrets([old]).decrypt(rotated.encrypt("y"))


def test_without_keys_nothing_is_stored(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="a360 up"):
        Secrets([])
    with pytest.raises(SecretsError, match="does not exist"):
        Secrets.from_file(tmp_path / "secret.keys")


def test_derived_secrets_depend_on_the_purpose() -> None:
    secrets = Secrets([Fernet.generate_key().decode()])
    assert secrets.derive("cookie") == secrets.derive("cookie")
    assert secrets.derive("cookie") != secrets.derive("other")
