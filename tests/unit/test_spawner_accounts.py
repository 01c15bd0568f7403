"""The embedded sign-in's accounts and secrets."""

import json
import stat
from pathlib import Path

import pytest

from hub_config.accounts import ACCOUNTS, Accounts
from hub_config.embedded import Embedded


def test_password_is_kept_only_as_salted_hashes(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "hub" / "accounts.json")
    password = accounts.reset()
    text = accounts.path.read_text()
    assert password not in text
    assert len({entry["scrypt"] for entry in json.loads(text).values()}) == len(ACCOUNTS)
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600


def test_only_the_right_password_of_an_account_opens(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.json")
    first = accounts.reset()
    assert accounts.check("scientist", first)
    assert not accounts.check("scientist", first + "x")
    assert not accounts.check("nobody", first)
    assert not accounts.check("scientist", "")
    second = accounts.reset()
    assert not accounts.check("scientist", first)
    assert accounts.check("scientist", second)


def test_first_run_makes_secrets_once_and_closed(tmp_path: Path) -> None:
    platform = Embedded(tmp_path / "home")
    assert platform.prepare()
    kept = {path: path.read_bytes() for path in platform.home.rglob("*") if path.is_file()}
    secret = [path for path in kept if path.suffix != ".py"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (platform.home, platform.hub)} == {0o700}
    assert platform.prepare() is None
    assert {path: path.read_bytes() for path in kept} == kept


def test_internal_ports_stay_where_they_were(tmp_path: Path) -> None:
    platform = Embedded(tmp_path)
    platform.prepare()
    ports = platform.choose_ports()
    assert len(set(ports.values())) == 3
    assert platform.choose_ports() == ports


@pytest.mark.row("F066")
def test_starting_groups_are_those_of_the_roles(tmp_path: Path) -> None:
    platform = Embedded(tmp_path)
    platform.prepare()
    assert platform.groups_to_load() == {
        "Administrator": {"users": ["admin"]},
        "Data Scientists": {"users": ["scientist", "reviewer"]},
        "ML Engineers": {"users": ["engineer"]},
    }


def test_service_gets_no_more_of_the_environment_than_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEBODYS_TOKEN", "secret")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example.org/simple")
    environment = Embedded(tmp_path).service_environment()
    assert "SOMEBODYS_TOKEN" not in environment
    assert environment["PIP_INDEX_URL"] == "https://mirror.example.org/simple"
    assert environment["A360_HOME"] == str(tmp_path)
