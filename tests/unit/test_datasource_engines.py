"""Addresses and arguments of drivers, and texts without secrets."""

import json
import logging
import pickle
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from IPython.core.ultratb import VerboseTB
from sqlalchemy import create_engine
from sqlalchemy.dialects.mssql import pymssql

from a360mdk.datasource import DataSource
from a360mdk.datasources import engines
from a360mdk.datasources.login import Login, Secret, scrub, split_host, type_named
from a360mdk.exceptions import DataSourceError

WORD = "correct horse/battery@staple"


def login(database_type: str, **given: Any) -> Login:
    return Login.from_document({"datasource_type": database_type, **given})


SERVER = {"host": "db.example.org", "port": 1234, "database": "sales", "user": "reader", "password": WORD}
CASES = [
    ("postgres", SERVER, "postgresql+psycopg://reader@db.example.org:1234/sales"),
    ("mysql", SERVER, "mysql+pymysql://reader@db.example.org:1234/sales?charset=utf8mb4"),
    ("mssql", SERVER, "mssql+pymssql://reader@db.example.org:1234/sales"),
    ("postgres", {"host": "/run/pg", "user": "me"}, "postgresql+psycopg://me@?host=%2Frun%2Fpg"),
    ("mysql", {"host": "/run/my"}, "mysql+pymysql://?charset=utf8mb4&unix_socket=%2Frun%2Fmy"),
    (
        "snowflake",
        {
            "account": "ab-cd",
            "user": "u",
            "database": "D",
            "schema": "S",
            "warehouse": "W",
            "role": "R",
            "password": WORD,
        },
        "snowflake://u@ab-cd/D?role=R&schema=S&warehouse=W",
    ),
    ("bigquery", {"database": "project", "schema": "set"}, "bigquery://project/set"),
    ("sqlite", {}, "sqlite://"),
    ("sqlite", {"database": "/data/a b?.db"}, "sqlite:///file%3A/data/a%2520b%253F.db?mode=ro&uri=true"),
]


@pytest.mark.row("C23", "M111")
@pytest.mark.parametrize(("database_type", "given", "address"), CASES)
def test_addresses_hold_no_secret(database_type: str, given: dict[str, Any], address: str) -> None:
    found = engines.url(login(database_type, **given))
    assert found.render_as_string(hide_password=False) == address
    assert found.password is None


@pytest.mark.row("C23")
def test_sql_server_is_told_where_as_its_dialect_tells_it() -> None:
    given = login("mssql", **SERVER, ssl_mode="require")
    _, told = pymssql.dialect().create_connect_args(engines.url(given))
    assert told == {"host": "db.example.org:1234", "database": "sales", "user": "reader"}
    assert engines.driver_arguments(given) == {
        "password": WORD, "login_timeout": 10, "appname": "a360", "encryption": "require",
    }  # fmt: skip


@pytest.mark.row("C23")
def test_snowflake_is_shown_one_proof() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    der, pem = serialization.Encoding.DER, serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    locked = key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"phrase")).decode()
    waits = {"login_timeout": 10, "validate_default_parameters": True}
    for given, proof in [
        ({"password": WORD}, {"password": WORD}),
        ({"access_token": "pat"}, {"authenticator": "PROGRAMMATIC_ACCESS_TOKEN", "token": "pat"}),
        ({"oauth_token": "jwt"}, {"authenticator": "oauth", "token": "jwt"}),
        (
            {"private_key": locked, "private_key_passphrase": "phrase"},
            {"authenticator": "SNOWFLAKE_JWT", "private_key": key.private_bytes(der, pkcs8, plain)},
        ),
    ]:
        told = engines.driver_arguments(login("snowflake", account="a", **given))
        assert told == {**waits, **proof}
        assert repr(told).count("***") == 1, "drivers' frames show what they are called with"


def test_encryption_is_asked_for_in_each_drivers_way() -> None:
    postgres = engines.driver_arguments(login("postgres", ssl_mode="verify-full"))
    assert (postgres["sslmode"], postgres["sslrootcert"]) == ("verify-full", "system")
    assert "ssl" not in engines.driver_arguments(login("mysql"))
    assert engines.driver_arguments(login("mysql", ssl_mode="require"))["ssl"].verify_mode is ssl.CERT_NONE
    checked = engines.driver_arguments(login("mysql", ssl_mode="verify-full"))["ssl"]
    assert (checked.verify_mode, checked.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.row("C23")
@pytest.mark.parametrize("database_type", ["postgres", "mysql", "mssql", "snowflake", "bigquery"])
def test_a_missing_driver_names_its_extra(database_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = engines.DRIVERS[database_type]
    monkeypatch.setitem(sys.modules, driver.module, None)
    with pytest.raises(DataSourceError, match=f"extra “{database_type}”") as caught:
        DataSource(database_type=database_type).query("SELECT 1")
    assert driver.package in caught.value.hint
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(DataSourceError, match="extra “datasources”"):
        engines.need_driver(database_type)


@pytest.mark.row("M112")
def test_nothing_that_is_printed_holds_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = DataSource("sales", "reader", WORD, "127.0.0.1:9", database_type="postgres")
    assert source.password == WORD
    with pytest.raises(DataSourceError) as caught:
        source.query(f"SELECT '{WORD}'")
    assert caught.value.__context__ is caught.value.__cause__ is None
    shown = [
        repr(source),
        repr(source.password),
        str(vars(source)),
        str(source.connection),
        str(caught.value),
    ]
    assert not [text for text in (*shown, caplog.text) if WORD in text]
    with pytest.raises(DataSourceError, match="not copied or stored"):
        pickle.dumps(source)


@pytest.mark.parametrize("database_type", ["postgres", "mysql"])
def test_tracebacks_with_all_variables_hold_no_secret(database_type: str) -> None:
    source = DataSource("sales", "reader", WORD, "127.0.0.1:9", database_type=database_type)
    for call in (lambda: source.query("SELECT 1"), lambda: source.connection.connect()):
        with pytest.raises(DataSourceError) as caught:
            call()
        shown = VerboseTB().text(caught.type, caught.value, caught.tb)
        assert "There is no connection" in shown
        assert WORD not in shown


def test_texts_are_scrubbed() -> None:
    secrets = [Secret(WORD), Secret("-----BEGIN KEY-----\nline-one\nline-two\n-----END KEY-----")]
    told = scrub(
        f"at {WORD}, correct%20horse%2Fbattery%40staple; line-two; postgresql://u:other@h/d pwd=hunter2 x",
        secrets,
    )
    assert told == "at ***, ***; ***; postgresql://***@h/d pwd=*** x"
    assert scrub("a b", [Secret("a")]) == "a b"


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("db", ("db", None)),
        ("db:5432", ("db", 5432)),
        ("[::1]:5432", ("::1", 5432)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        ("/run/pg", ("/run/pg", None)),
        (None, (None, None)),
    ],
)
def test_hosts_come_with_ports(host: str | None, parts: tuple[str | None, int | None]) -> None:
    assert split_host(host) == parts


@pytest.mark.row("M113")
def test_types_have_other_names() -> None:
    assert [type_named(name) for name in ("PostgreSQL", "mariadb", "sqlserver", "snowflake")] == [
        "postgres", "mysql", "mssql", "snowflake",
    ]  # fmt: skip
    with pytest.raises(DataSourceError, match="not a type"):
        DataSource(database_type="oracle")


def test_a_key_file_that_is_none_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "need_driver", lambda database_type: None)
    with pytest.raises(DataSourceError) as caught:
        engines.make_engine(login("bigquery", database="p", service_account=json.dumps({"a": WORD})[:-1]))
    assert WORD not in str(caught.value)
    assert caught.value.__context__ is None


def test_other_engines_are_left_alone() -> None:
    with create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
