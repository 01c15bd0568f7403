"""The platform's login in a registry of images, kept as a credential."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.endpoints import free_port
from tests.support.lab import ok
from tests.support.registry import PASSWORD, USER, RegistryServer
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.xdist_group("oci")

NAME = "Registry of the company"


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, registry_running: RegistryServer
) -> Iterator[ServiceProcess]:
    """A service that is told the name of a credential."""
    config = f"c.Registry.url = {registry_running.url!r}\nc.Registry.credential = {NAME.lower()!r}\n"
    running = ServiceProcess(tmp_path_factory.mktemp("registry-credentials"), config=config).start()
    yield running
    running.stop()


@pytest.fixture
def admin(service: ServiceProcess) -> Iterator[httpx.Client]:
    with service.client("admin") as client:
        yield client


def form(url: str, **changes: Any) -> dict[str, Any]:
    inputs = {"registry_url": url, "username": USER, "password": PASSWORD} | changes.pop("inputs", {})
    shared = {"name": NAME, "description": "Images of models", "groups": ["Data Scientists"]}
    return shared | {"category": "api_token", "service": "oci_registry", "inputs": inputs} | changes


def builder(service: ServiceProcess) -> dict[str, Any]:
    with service.client("engineer") as client:
        return next(each for each in ok(client.get("/builders"))["items"] if each["name"] == "oci")


@pytest.mark.row("F082", "F087")
def test_the_login_of_the_registry_is_a_credential(
    admin: httpx.Client, service: ServiceProcess, registry_running: RegistryServer
) -> None:
    assert f"There is no credential “{NAME.lower()}”" in builder(service)["reason"]
    answer = admin.post("/credentials", json=form(registry_running.url, inputs={"password": "wrong-word"}))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["settings"] == {"registry_url": registry_running.url, "username": USER, "prefix": None}
    assert "does not accept the user name and password" in builder(service)["reason"]
    path = f"/credentials/{made['id']}"
    assert not ok(admin.post(f"{path}/test"))["ok"]

    # A changed password counts at once.
    assert admin.patch(path, json={"inputs": {"password": PASSWORD}}).status_code == 200
    tested = ok(admin.post(f"{path}/test"))
    assert tested["ok"], tested
    assert builder(service)["available"]
    listed = ok(admin.get("/credentials", params={"category": "api_token"}))["items"]
    assert [each["id"] for each in listed] == [made["id"]]
    for text in (admin.get(path).text, admin.get("/credentials").text, service.logged()):
        assert PASSWORD not in text
        assert "wrong-word" not in text
    with service.client("scientist") as scientist:
        assert scientist.get(path).status_code in (403, 404)
        assert ok(scientist.get("/data-sources"))["items"] == []

    # A password goes only where it belongs.
    other = f"http://127.0.0.1:{free_port()}"
    assert admin.patch(path, json={"inputs": {"registry_url": other}}).status_code == 200
    assert f"is for {other}, not for" in builder(service)["reason"]
    tested = ok(admin.post(f"{path}/test"))
    assert "does not answer" in tested["message"]
    assert admin.delete(path).status_code == 204


@pytest.mark.row("F082")
@pytest.mark.parametrize(
    "url",
    ["http://registry.example.org", "https://registry.example.org/v2", "registry.example.org", "https://"],
)
def test_addresses_to_which_no_password_may_go_are_refused(admin: httpx.Client, url: str) -> None:
    answer = admin.post("/credentials", json=form(url, name=f"Registry {len(url)}"))
    assert answer.status_code == 422, answer.text
    assert "inputs.registry_url" in [error["field"] for error in answer.json()["errors"]]
    assert ok(admin.get("/credentials", params={"category": "api_token"}))["items"] == []
