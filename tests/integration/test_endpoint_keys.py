"""The keys of endpoints, through the API of a real service: shown once, several, rotated and revoked."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.delivery import Delivery, call, delivery_service, ok
from tests.support.service import ServiceProcess, wait_for

SECRET = "fish-4d1c7a90-soup"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    config = "c.A360HubService.key_use_seconds = 0.3\n"
    with delivery_service(tmp_path_factory.mktemp("service"), config) as service:
        yield service


@pytest.mark.row("F314", "F315", "F327")
def test_keys_rotate_with_an_overlap_and_are_stored_nowhere(plain: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(plain, tmp_path).approve()
    assert delivery.package()["status"] == "succeeded"
    job, answer = delivery.publish(environment={"PASSWORD": SECRET})
    assert job["status"] == "succeeded", delivery.log(job["id"])
    seen, first = delivery.endpoint(), answer["api_key"]
    assert [key["expires_at"] for key in seen["keys"]] == [None]
    with plain.client("engineer") as client:
        path = f"/endpoints/{seen['id']}/keys"
        second = ok(client.post(path, json={"overlap_seconds": 60}))["api_key"]
        assert call(seen["url"], first).status_code == 200
        assert call(seen["url"], second).status_code == 200
        third = ok(client.post(path, json={"overlap_seconds": 0}))["api_key"]
    wait_for(lambda: call(seen["url"], first).status_code == 401, seconds=10)
    assert call(seen["url"], second).status_code == 401
    assert call(seen["url"], third).status_code == 200
    keys = delivery.endpoint()["keys"]
    assert [key["expires_at"] is None for key in keys].count(True) == 1
    assert keys[-1]["prefix"] == third[: len(keys[-1]["prefix"])]

    told = [each.text for each in tell_everything(plain, delivery)]
    files = [
        p
        for p in plain.home.rglob("*")
        if p.is_file() and "packages" not in p.parts and "cache" not in p.parts
    ]
    texts = [path.read_bytes() for path in files] + [text.encode() for text in told]
    for key in (first, second, third):
        assert not any(key.encode() in text for text in texts)
    assert not processes_that_hold(first, second, third)
    inside = [path for path in files if SECRET.encode() in path.read_bytes()]
    # The replicas have to be given their environment; nobody else gets it.
    assert all("endpoints" in path.parts and path.stat().st_mode & 0o077 == 0 for path in inside), inside
    assert not any(SECRET in text for text in told)

    assert delivery.withdraw()["status"] == "succeeded"
    with plain.client("engineer") as client:
        answer = client.post(path, json={"overlap_seconds": 0})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.row("C14", "F314")
def test_keys_have_names_end_and_are_revoked_one_by_one(plain: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(plain, tmp_path).approve()
    assert delivery.package()["status"] == "succeeded"
    job, answer = delivery.publish()
    assert job["status"] == "succeeded", delivery.log(job["id"])
    seen, first = delivery.endpoint(), answer["api_key"]
    path = f"/endpoints/{seen['id']}/keys"

    def opens(key: str) -> bool:
        return call(seen["url"], key).status_code == 200

    with plain.client("engineer") as client:
        shop = ok(client.post(path, json={"name": "shop", "overlap_seconds": 0}))
        assert (shop["key"]["name"], shop["key"]["expires_at"]) == ("shop", None)
        app = ok(client.post(path, json={"name": "app", "valid_seconds": 3600}))
        assert app["key"]["expires_at"]
        # A rotated key takes the place of the one of its name, and of no other.
        again = ok(client.post(path, json={"name": "shop", "overlap_seconds": 0}))
        wait_for(lambda: not opens(shop["api_key"]), seconds=5)
        assert all(opens(key) for key in (first, app["api_key"], again["api_key"]))
        assert sorted(key["name"] for key in delivery.endpoint()["keys"])[:2] == ["app", "default"]
        revoked = f"{path}/{again['key']['id']}"
        assert client.delete(revoked).status_code == 204
        wait_for(lambda: not opens(again["api_key"]), seconds=5)
        assert all(opens(key) for key in (first, app["api_key"]))
        assert client.delete(revoked).status_code == 404
        for wrong in ({"name": "  "}, {"name": "x" * 65}, {"valid_seconds": 5}):
            assert client.post(path, json=wrong).status_code == 422
        for key in delivery.endpoint()["keys"]:
            ok(client.delete(f"{path}/{key['id']}"))
        wait_for(lambda: not opens(first) and not opens(app["api_key"]), seconds=5)
        assert delivery.withdraw()["status"] == "succeeded"
        assert client.delete(f"{path}/{app['key']['id']}").status_code == 409


@pytest.mark.row("C14", "F327")
def test_the_list_of_keys_shows_when_each_was_last_used(plain: ServiceProcess, tmp_path: Path) -> None:
    delivery = Delivery(plain, tmp_path).approve()
    assert delivery.package(wrapper="asgi")["status"] == "succeeded"
    job, answer = delivery.publish(replicas=2)
    assert job["status"] == "succeeded", delivery.log(job["id"])
    seen = delivery.endpoint()
    with plain.client("engineer") as client:
        ok(client.post(f"/endpoints/{seen['id']}/keys", json={"name": "idle"}))
    assert [key["last_used_at"] for key in delivery.endpoint()["keys"]] == [None, None]

    def used() -> dict[str, datetime | None]:
        keys = delivery.endpoint()["keys"]
        return {
            key["name"]: key["last_used_at"] and datetime.fromisoformat(key["last_used_at"]) for key in keys
        }

    before = datetime.now(UTC)
    assert call(seen["url"], answer["api_key"]).status_code == 200
    first = wait_for(lambda: used()["default"], seconds=10)
    assert abs(first - before) < timedelta(seconds=10)
    for _ in range(4):  # the replicas take turns
        assert call(seen["url"], answer["api_key"]).status_code == 200
    assert call(seen["url"], "wrong").status_code == 401
    wait_for(lambda: (used()["default"] or first) > first, seconds=10)
    assert used()["idle"] is None
    # What the endpoint takes is told to those who may call it; its numbers stay inside.
    described = httpx.get(f"{seen['url']}openapi.json", headers={"apikey": answer["api_key"]}).json()
    assert list(described["components"]["schemas"]["Input"]["properties"]) == ["a", "b"]
    assert httpx.get(f"{seen['url']}openapi.json").status_code == 401
    assert httpx.get(f"{seen['url']}metrics").status_code == 404


def processes_that_hold(*keys: str) -> list[str]:
    """Processes with one of the keys in their environment or arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                content = (path / name).read_bytes()
                found += [f"{path / name}" for key in keys if key.encode() in content]
    return found


def tell_everything(service: ServiceProcess, delivery: Delivery) -> list[httpx.Response]:
    """All the API says about a model, and the service's log."""
    paths = [
        f"/models/{delivery.model_id}{more}" for more in ("", "/packages", "/endpoint", "/jobs", "/history")
    ]
    with service.client("engineer") as client:
        jobs = ok(client.get(f"/models/{delivery.model_id}/jobs"))["items"]
        return [client.get(path) for path in [*paths, *(f"/jobs/{job['id']}/events" for job in jobs)]]
