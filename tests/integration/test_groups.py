"""Users are in groups, groups have roles: what somebody may do is the sum over their groups."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.lab import ok
from tests.support.service import ServiceProcess, project_form

GROUP_ROLES = {
    "Leads": ["client_admin", "data_scientist"],
    "Team North": [],
    "Operators": ["ml_engineer"],
}
MEMBERS = {
    "lead": ["Leads"],
    "both": ["Leads", "Operators", "Team North"],
    "first": ["Operators"],
    "second": ["Operators"],
    "north": ["Team North"],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service whose groups are of an operator's own making."""
    config = f"c.A360HubService.group_roles = {GROUP_ROLES!r}"
    running = ServiceProcess(tmp_path_factory.mktemp("groups"), people=MEMBERS, config=config).start()
    yield running
    running.stop()


def me(service: ServiceProcess, user: str) -> dict[str, list[str]]:
    with service.client(user) as client:
        return dict(ok(client.get("/me")))


@pytest.mark.row("F018", "F019", "F022", "F024")
def test_a_group_gives_all_of_its_roles_to_its_members(service: ServiceProcess) -> None:
    assert me(service, "lead")["roles"] == ["client_admin", "data_scientist"]
    with service.client("lead") as client:
        assert client.get("/credentials").status_code == 200
        assert client.post("/projects", json=project_form("Led", "led-volume")).status_code == 201


@pytest.mark.row("F020")
def test_a_group_has_many_members(service: ServiceProcess) -> None:
    assert [me(service, user)["roles"] for user in ("first", "second")] == [["ml_engineer"]] * 2
    with service.client("first") as client:
        found = ok(client.get("/users", params={"group": "Operators"}))["items"]
    assert [user["name"] for user in found] == ["both", "first", "second"]


@pytest.mark.row("F021", "F025")
def test_who_is_in_several_groups_has_the_roles_of_all(service: ServiceProcess) -> None:
    both = me(service, "both")
    assert both["roles"] == ["client_admin", "data_scientist", "ml_engineer"]
    assert both["groups"] == ["Leads", "Operators", "Team North"], "one of them only says which team"
    with service.client("first") as client:
        listed = {user["name"]: user["groups"] for user in ok(client.get("/users"))["items"]}
    assert listed["both"] == both["groups"]


@pytest.mark.row("F024")
def test_a_group_without_roles_opens_nothing(service: ServiceProcess) -> None:
    assert me(service, "north")["roles"] == []
    with service.client("north") as client:
        for path in ("/projects", "/credentials", "/users"):
            answer: httpx.Response = client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path
