"""Every route, asked by everybody: who may, who is refused, and for whom there is no such thing."""

from collections.abc import Iterator

import httpx
import pytest

from a360_hub_service.api.routes import ROUTES
from a360_hub_service.api.routing import Route
from a360_hub_service.policy import POLICY, Action, Role, Verdict, judge
from tests.support.lab import ok
from tests.support.service import ServiceProcess
from tests.support.world import CAST, Person, World, make, people

# One world for all of them, so one worker.
pytestmark = pytest.mark.xdist_group("policy-routes")
EXPECTED = {Verdict.ALLOWED: 422, Verdict.FORBIDDEN: 403, Verdict.HIDDEN: 404}
NOBODY_KNOWS = "0" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    service = ServiceProcess(tmp_path_factory.mktemp("policy"), people=people()).start()
    try:
        yield make(service)
    finally:
        service.stop()


def ask(client: httpx.Client, route: Route, path: str) -> httpx.Response:
    """Ask for something that is allowed but cannot be read, so that nothing happens.

    A parameter that no route knows is refused after it is clear that the caller may, and before any work.
    """
    return client.request(route.method, path, params={"no-such-parameter": "1"})


def label(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.row(
    "C13", "F018", "F022", "F026", "F027", "F028", "F029", "F030", "F031", "F034", "F035", "F036"
)
@pytest.mark.row("F037", "F042", "F043", "F044", "F045", "F046", "F047")
@pytest.mark.parametrize("person", CAST, ids=lambda person: person.name)
def test_every_answer_follows_the_table(world: World, person: Person) -> None:
    wrong = []
    with world.service.client(person.name) as client:
        for route in ROUTES:
            in_project = POLICY[route.action].in_project
            expected = EXPECTED[judge(route.action, person.roles, person.member if in_project else None)]
            status = ask(client, route, world.path(route)).status_code
            if status != expected:
                wrong.append(f"{label(route)}: {status} instead of {expected}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.row("F028", "F047")
@pytest.mark.parametrize("route", [r for r in ROUTES if POLICY[r.action].in_project], ids=label)
def test_outsiders_cannot_tell_what_exists(world: World, route: Route) -> None:
    thing = route.parameters[0]
    hidden, missing = world.path(route), world.path(route, **{thing: NOBODY_KNOWS})
    for person in (Person(frozenset(), False), Person(frozenset(Role), False)):
        with world.service.client(person.name) as client:
            answers = [client.request(route.method, path) for path in (hidden, missing)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
        assert route.method == "HEAD" or answers[0].json()["code"] == "not-found"


def test_without_a_token_every_route_is_closed(world: World) -> None:
    with httpx.Client(base_url=world.service.api_url) as client:
        for route in ROUTES:
            answer = ask(client, route, world.path(route))
            assert answer.status_code == 401, label(route)
            assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_what_changes_things_asks_for_more_than_a_look() -> None:
    looking = {action for action in Action if action.value.endswith((":view", ":list"))}
    for route in ROUTES:
        if route.method not in ("GET", "HEAD"):
            assert route.action not in looking, label(route)


def test_every_route_of_a_project_names_what_it_is_about_first(world: World) -> None:
    for route in ROUTES:
        if POLICY[route.action].in_project:
            assert route.parameters, label(route)
            assert route.parameters[0] in world.ids, label(route)


def test_nobody_was_changed_by_all_this(world: World) -> None:
    """The questions above must not have done anything; run alone this proves the world is whole."""
    with world.service.client("scientist") as client:
        assert ok(client.get(f"/projects/{world.ids['project_id']}"))["name"]
        assert ok(client.get(f"/models/{world.ids['model_id']}"))["status"] == "Draft"
        assert ok(client.get(f"/workspaces/{world.ids['workspace_id']}"))["id"]


def test_roles_of_a_route_are_read_anew_where_it_matters() -> None:
    fresh = {route.path.rsplit("/", 1)[1] for route in ROUTES if route.fresh}
    assert {"submit", "approve", "deny", "package", "publish", "withdraw"} <= fresh
    administrative = [route for route in ROUTES if route.action is Action.CREDENTIALS_MANAGE]
    assert administrative
    assert all(route.fresh for route in administrative)
