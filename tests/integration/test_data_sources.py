"""Credentials of databases, who may use them, and whether they work."""

import json
import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from a360_hub_service.backends.datasources import DatabaseCheck
from a360_hub_service.entities import Credential
from a360_hub_service.errors import OutsideFailure
from tests.support.postgres import Server
from tests.support.service import ROOT, ServiceProcess, free_port

SECRET = "a-secret-nobody-may-see"
INPUTS: dict[str, dict[str, Any]] = {
    "sqlite": {"database": "/data/sales.db"},
    "postgres": {"host": "db.example.org", "database": "sales", "user": "reader", "password": SECRET},
    "mysql": {"host": "10.0.0.7", "port": 3307, "user": "reader", "password": SECRET},
    "mssql": {"host": "::1", "database": "sales", "user": "reader", "password": SECRET, "schema": "dbo"},
    "snowflake": {"account": "org-acct", "user": "READER", "warehouse": "WH", "access_token": SECRET},
    "bigquery": {
        "database": "project-1",
        "schema": "sales",
        "service_account": json.dumps(
            {
                "type": "service_account",
                "project_id": "project-1",
                "private_key": SECRET,
                "client_email": "reader@example.org",
                "token_uri": "https://example.org/token",
            }
        ),
    },
}
KEYS = {"password", "private_key", "private_key_passphrase", "access_token", "oauth_token", "service_account"}


@pytest.fixture
def admin(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("admin") as client:
        yield client


@pytest.fixture
def scientist(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("scientist") as client:
        yield client


def form(service: str, inputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    shared = {
        "name": f"{service} {uuid.uuid4().hex[:12]}",
        "description": "Sales",
        "groups": ["Data Scientists"],
    }
    return {**shared, "service": service, "inputs": {**INPUTS[service], **(inputs or {})}, **more}


def create(admin: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    answer = admin.post("/credentials", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def fields(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json()["errors"]]


def key(phrase: str = "") -> str:
    """A private key in PEM format."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    lock: Any = (
        serialization.BestAvailableEncryption(phrase.encode()) if phrase else serialization.NoEncryption()
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return made.private_bytes(pem, pkcs8, lock).decode()


@pytest.mark.row("C23", "F078", "F082", "F087", "F222")
@pytest.mark.parametrize("kind", INPUTS)
def test_each_database_is_given_to_groups_without_its_secrets(
    service: ServiceProcess, admin: httpx.Client, scientist: httpx.Client, kind: str
) -> None:
    body = form(kind)
    made = create(admin, body)
    shown = {name: value for name, value in body["inputs"].items() if name not in KEYS}
    assert (made["category"], made["service"]) == ("data_source", kind)
    assert shown.items() <= made["settings"].items()
    assert not KEYS & set(made["settings"])
    path = f"/credentials/{made['id']}"
    for answer in (
        admin.get(path),
        admin.get("/credentials"),
        admin.patch(path, json={"description": "New"}),
    ):
        assert SECRET not in answer.text
    listed = scientist.get("/data-sources", params={"type": kind, "limit": 1000})
    assert SECRET not in listed.text
    (found,) = [item for item in listed.json()["items"] if item["id"] == made["id"]]
    assert found == {
        "id": made["id"], "name": body["name"], "description": "New", "datasource_type": kind,
        **{name: shown.get(name) for name in ("database", "schema", "warehouse")},
    }  # fmt: skip
    answer = scientist.post(f"/data-sources/{made['id']}/connect")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    access = answer.json()
    assert body["inputs"].items() <= access.items()
    assert (access["name"], access["datasource_type"]) == (body["name"], kind)
    assert not [name for name in KEYS - set(body["inputs"]) if access[name]]
    written = service.logged()
    assert SECRET not in written
    assert f"scientist connects to the data source {made['id']} ({kind})" in written
    database = service.database()
    with database.session(write=False) as session:
        row = session.get_one(Credential, made["id"])
        assert SECRET not in json.dumps([row.settings, row.secret])
    database.close()
    volumes = scientist.get("/volume-accounts", params={"limit": 1000}).json()["items"]
    assert made["id"] not in [account["id"] for account in volumes]


@pytest.mark.row("F029", "F092")
def test_only_members_of_its_groups_get_a_data_source(
    service: ServiceProcess, admin: httpx.Client, scientist: httpx.Client
) -> None:
    made = create(admin, form("postgres", groups=["ML Engineers"]))
    buckets = admin.post(
        "/credentials",
        json={
            "name": f"buckets {uuid.uuid4().hex}",
            "description": "x",
            "groups": ["Data Scientists"],
            "inputs": {"access_key": "k", "access_secret": "s", "region": "eu-west-1"},
        },
    ).json()
    missing = scientist.post(f"/data-sources/{uuid.uuid4().hex}/connect")
    assert missing.status_code == 404
    for other in (made, buckets):
        hidden = scientist.post(f"/data-sources/{other['id']}/connect")
        assert (hidden.status_code, hidden.content) == (404, missing.content)
    listed = scientist.get("/data-sources", params={"limit": 1000}).json()["items"]
    assert not {made["id"], buckets["id"]} & {item["id"] for item in listed}
    for user in ("admin", "engineer", "nobody"):
        with service.client(user) as client:
            assert client.get("/data-sources").status_code == 403
            assert client.post(f"/data-sources/{made['id']}/connect").status_code == 403
    change = {"groups": ["ML Engineers", "Data Scientists"]}
    assert admin.patch(f"/credentials/{made['id']}", json=change).status_code == 200
    assert scientist.post(f"/data-sources/{made['id']}/connect").json()["password"] == SECRET
    assert admin.delete(f"/credentials/{made['id']}").status_code == 204
    assert scientist.post(f"/data-sources/{made['id']}/connect").status_code == 404


@pytest.fixture
def bare_service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service of the test's own, that cannot import the drivers which only extras have."""
    shadows = tmp_path / "shadows"
    shadows.mkdir()
    for module in ("pymssql", "snowflake", "sqlalchemy_bigquery"):
        (shadows / f"{module}.py").write_text("raise ImportError")
    path = os.pathsep.join([str(shadows), str(ROOT)])
    running = ServiceProcess(tmp_path / "home", env={"PYTHONPATH": path}).start()
    yield running
    running.stop()


@pytest.mark.row("F094")
def test_a_service_of_few_drivers_and_a_scientist_who_leaves(bare_service: ServiceProcess) -> None:
    with bare_service.client("admin") as admin:
        made = {kind: create(admin, form(kind)) for kind in ("postgres", "mssql", "snowflake", "bigquery")}
        for kind in ("mssql", "snowflake", "bigquery"):
            answer = admin.post(f"/credentials/{made[kind]['id']}/test")
            assert fields(answer) == ["service"]
            assert f"a360[{kind}]" in answer.json()["hint"]
            assert SECRET not in answer.text
    connect = f"/data-sources/{made['postgres']['id']}/connect"
    with bare_service.client("scientist") as client:
        assert client.post(connect).status_code == 200
        bare_service.set_people({**bare_service.people(), "scientist": ["ML Engineers"]})
        assert client.post(connect).status_code == 403, "it counts at once"


@pytest.mark.row("M088")
def test_data_sources_come_in_pages_by_name(admin: httpx.Client, scientist: httpx.Client) -> None:
    mark = uuid.uuid4().hex
    made = [create(admin, form("sqlite", name=f"{mark} {letter}"))["name"] for letter in "bCa"]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 1, "type": "sqlite"}
    while True:
        page = scientist.get("/data-sources", params=query).json()
        found += [item["name"] for item in page["items"] if item["name"].startswith(mark)]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == sorted(made, key=str.lower)
    assert fields(scientist.get("/data-sources", params={"type": "oracle"})) == ["type"]


@pytest.mark.parametrize(
    ("kind", "inputs", "field"),
    [
        ("sqlite", {"database": "sales.db"}, "database"),
        ("postgres", {"host": "postgres://db"}, "host"),
        ("postgres", {"port": 65536}, "port"),
        ("postgres", {"port": "5432"}, "port"),
        ("postgres", {"database": None}, "database"),
        ("postgres", {"user": " reader"}, "user"),
        ("postgres", {"warehouse": "WH"}, "warehouse"),
        ("postgres", {"ssl_mode": "maybe"}, "ssl_mode"),
        ("mssql", {"ssl_mode": "verify-full"}, "ssl_mode"),
        ("snowflake", {"password": SECRET}, "password"),
        ("snowflake", {"access_token": None}, "password"),
        ("snowflake", {"access_token": None, "private_key": SECRET}, "private_key"),
        ("snowflake", {"access_token": None, "private_key": key("phrase")}, "private_key_passphrase"),
        ("snowflake", {"private_key_passphrase": SECRET}, "private_key_passphrase"),
        ("bigquery", {"service_account": SECRET}, "service_account"),
        ("bigquery", {"service_account": json.dumps({"type": "authorized_user"})}, "service_account"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    admin: httpx.Client, kind: str, inputs: dict[str, Any], field: str
) -> None:
    answer = admin.post("/credentials", json=form(kind, inputs))
    assert f"inputs.{field}" in fields(answer)
    assert SECRET not in answer.text


def test_an_unknown_service_is_named(admin: httpx.Client) -> None:
    for service in ("oracle", 5, None):
        assert fields(admin.post("/credentials", json=form("sqlite") | {"service": service})) == ["service"]


@pytest.mark.row("F095")
def test_a_change_keeps_what_it_leaves_out(admin: httpx.Client, scientist: httpx.Client) -> None:
    made = create(admin, form("snowflake", {"role": "ANALYST"}))
    path = f"/credentials/{made['id']}"

    def access() -> dict[str, Any]:
        return dict(scientist.post(f"/data-sources/{made['id']}/connect").json())

    changed = admin.patch(path, json={"inputs": {"schema": "RAW", "role": None}})
    assert (changed.json()["settings"]["schema"], changed.json()["settings"]["role"]) == ("RAW", None)
    assert access()["access_token"] == SECRET
    pem = key("phrase")
    inputs = {"private_key": pem, "private_key_passphrase": "phrase"}
    assert admin.patch(path, json={"inputs": inputs}).status_code == 200
    found = access()
    assert (found["private_key"], found["private_key_passphrase"]) == (pem.strip(), "phrase")
    assert found["access_token"] is None, "a new proof replaces the one before"
    assert admin.patch(path, json={"inputs": {"oauth_token": "t"}}).status_code == 200
    assert (access()["private_key"], access()["private_key_passphrase"], access()["oauth_token"]) == (
        None,
        None,
        "t",
    )
    assert fields(admin.patch(path, json={"inputs": {"oauth_token": None}})) != []
    assert fields(admin.patch(path, json={"inputs": {"host": "h"}})) == ["inputs.host"]
    assert fields(admin.patch(path, json={"inputs": {"user": None}})) == ["inputs.user"]
    file = create(admin, form("sqlite"))
    assert fields(admin.patch(f"/credentials/{file['id']}", json={"inputs": {"database": "x.db"}})) == [
        "inputs.database"
    ]


def outcome(admin: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    made = create(admin, body)
    answer = admin.post(f"/credentials/{made['id']}/test")
    assert answer.status_code == 200, answer.text
    assert admin.get(f"/credentials/{made['id']}").json()["last_connection"] == answer.json()
    return dict(answer.json())


@pytest.mark.row("F093", "F094")
def test_connections_are_tested(admin: httpx.Client, postgresql: Server, tmp_path: Path) -> None:
    folder, user, password = postgresql.new_login()
    right = {"host": folder, "database": "postgres", "user": user, "password": password}
    assert outcome(admin, form("postgres", right))["ok"]
    wrong = outcome(admin, form("postgres", {**right, "password": SECRET}))
    assert not wrong["ok"]
    assert "password authentication failed" in wrong["message"]
    assert SECRET not in wrong["message"]
    away = outcome(admin, form("postgres", {**right, "host": "127.0.0.1", "port": free_port()}))
    assert "refused" in away["message"]
    sqlite3.connect(tmp_path / "sales.db").execute("CREATE TABLE t (x)").connection.close()
    assert outcome(admin, form("sqlite", {"database": str(tmp_path / "sales.db")}))["ok"]
    missing = outcome(admin, form("sqlite", {"database": str(tmp_path / "none.db")}))
    assert not missing["ok"]
    assert not (tmp_path / "none.db").exists()


@pytest.mark.row("F094")
@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_server_that_says_nothing_is_given_up(kind: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        check = DatabaseCheck(
            kind, {**INPUTS[kind], "host": "127.0.0.1", "port": silent.getsockname()[1]}, seconds=0.5
        )
        began = time.monotonic()
        with pytest.raises(OutsideFailure, match="did not answer within"):
            check()
        assert time.monotonic() - began < 5
