"""The client of the Hub's REST API, against the real Hub."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from a360_hub_service.errors import Conflict, Forbidden, NotFound, Unavailable
from a360_hub_service.hub.client import HubClient
from a360_hub_service.hub.workspaces import FAILED, Status, condition, free_server_name
from tests.support.hub import Platform
from tests.support.service import free_port

pytestmark = pytest.mark.xdist_group("hub")


@pytest.fixture(scope="module")
def running(hub_platform: Platform) -> Platform:
    return hub_platform


def with_hub(running: Platform, work: Callable[[HubClient], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        token = (running.home / "hub" / "service.token").read_text().strip()
        client = HubClient(f"{running.url}/hub/api", token)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(main())


def test_users_and_groups(running: Platform) -> None:
    async def work(hub: HubClient) -> None:
        users = {user.name: user.groups for user in await hub.list_users()}
        assert users["scientist"] == ("Data Scientists",)
        assert set(users) == {"admin", "engineer", "reviewer", "scientist"}
        assert await hub.get_user("nobody") is None
        await hub.create_group("New/Ways ü")
        with pytest.raises(Conflict):
            await hub.create_group("New/Ways ü")
        await hub.add_members("New/Ways ü", ["scientist", "engineer"])
        await hub.remove_members("New/Ways ü", ["engineer"])
        groups = {group.name: group.users for group in await hub.list_groups()}
        assert groups["New/Ways ü"] == ("scientist",)
        found = await hub.get_user("scientist")
        assert found
        assert set(found.groups) == {"Data Scientists", "New/Ways ü"}
        await hub.delete_group("New/Ways ü")
        with pytest.raises(NotFound):
            await hub.delete_group("New/Ways ü")

    with_hub(running, work)


def test_servers_that_are_not_there(running: Platform) -> None:
    async def work(hub: HubClient) -> None:
        assert await hub.get_server("scientist", "none") is None
        assert await hub.servers("nobody") == {}
        await hub.stop_server("scientist", "none", remove=True)
        # The service itself may not start servers: that takes the user's own token.
        with pytest.raises(Forbidden, match="Hub refused"):
            await hub.start_server("scientist", "mine", {}, display_name="Mine", token="")
        token = running.token("scientist")
        with pytest.raises(Forbidden, match="open A360"):
            await hub.start_server("scientist", "mine", {}, display_name="Mine", token=token)
        with pytest.raises(NotFound):
            await hub.start_server("reviewer", "mine", {}, display_name="Mine", token=token)

    with_hub(running, work)


def test_a_hub_that_is_away_is_said_to_be() -> None:
    async def main() -> None:
        client = HubClient(f"http://127.0.0.1:{free_port()}/hub/api", "token")
        with pytest.raises(Unavailable, match="does not answer"):
            await client.list_users()
        with pytest.raises(Unavailable, match="does not answer"):
            await client.start_server("ann", "ws", {}, display_name="x", token="t")
        with pytest.raises(Unavailable, match="does not answer"):
            _ = [event async for event in client.progress("ann", "ws")]
        await client.close()

    asyncio.run(main())


def test_server_names_are_short_and_free() -> None:
    assert free_server_name("my-work", []) == "my-work"
    assert free_server_name("my-work", ["my-work", "my-work-2"]) == "my-work-3"
    long = free_server_name("a" * 60, ["a" * 30])
    assert len(long) == 30
    assert long.endswith("-2")
    assert free_server_name("", []) == "workspace"


def test_a_failed_start_is_told_until_the_next_one() -> None:
    failed = condition(None, FAILED + "no disk", None)
    assert (failed.status, failed.message) == (Status.FAILED, FAILED + "no disk")
    assert condition(None, "Building image", None).status is Status.STOPPED
