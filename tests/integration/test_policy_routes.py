"""Every route, asked by everybody: who may, who is refused, and for whom there is no such thing."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from a360_hub_service.api.routes import ROUTES
from a360_hub_service.api.routing import Route
from a360_hub_service.entities import Collaborator, Credential, Endpoint, Job, Package, Workspace
from a360_hub_service.policy import POLICY, Action, Role, Verdict, judge
from tests.support.lab import Lab, ok
from tests.support.service import PEOPLE, ServiceProcess

GROUPS = {
    Role.CLIENT_ADMIN: "Administrator",
    Role.DATA_SCIENTIST: "Data Scientists",
    Role.ML_ENGINEER: "ML Engineers",
}
EXPECTED = {Verdict.ALLOWED: 422, Verdict.FORBIDDEN: 403, Verdict.HIDDEN: 404}
NOBODY_KNOWS = "0" * 32


@dataclass(frozen=True)
class Person:
    """Somebody with these roles, on the project or not."""

    roles: frozenset[Role]
    member: bool

    @property
    def name(self) -> str:
        """What the Hub calls them."""
        return "-".join([*sorted(self.roles), "in" if self.member else "out"])


CAST = [
    Person(frozenset(roles), member)
    for count in range(len(Role) + 1)
    for roles in itertools.combinations(Role, count)
    for member in (True, False)
]


@dataclass(frozen=True)
class World:
    """A project with one of everything in it."""

    service: ServiceProcess
    ids: dict[str, str]

    def path(self, route: Route, **other: str) -> str:
        """The route's path, naming what there is."""
        path = route.path.replace(":path}", "}")
        return path.format(**{**self.ids, **other})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    people = {person.name: [GROUPS[role] for role in person.roles] for person in CAST}
    service = ServiceProcess(tmp_path_factory.mktemp("policy"), people={**PEOPLE, **people}).start()
    try:
        with Lab(service) as lab:
            yield World(service, make(lab))
    finally:
        service.stop()


def make(lab: Lab) -> dict[str, str]:
    """One of everything; the identifiers by the names of paths."""
    model = lab.chosen_model()
    run = ok(lab.scientist.get(f"/runs/{model['best_run_id']}"))
    project_id = lab.project["id"]
    for person in CAST:
        if person.member and person.roles & {Role.DATA_SCIENTIST, Role.ML_ENGINEER}:
            ok(lab.scientist.put(f"/projects/{project_id}/collaborators/{person.name}"))
    by = {"model_id": model["id"], "created_by": "scientist"}
    package = Package(run_id=run["id"], builder="bundle", **by)
    job = Job(kind="package", subject_id="x", status="succeeded", **by)
    workspace = Workspace(
        project_id=project_id,
        name="w",
        owner="scientist",
        server_name="w",
        image="sklearn",
        cpu=1,
        memory="1Gi",
    )
    credential = Credential(name="c", category="storage", service="s3", secret="", created_by="admin")
    database = lab.service.database()
    with database.session() as session:
        session.add_all([package, job, workspace, credential])
        session.flush()
        endpoint = Endpoint(package_id=package.id, slug="slug", target="process", desired="stopped", **by)
        session.add(endpoint)
        # Without a role nobody can be added; who lost theirs is a member still.
        for person in CAST:
            if person.member and not person.roles & {Role.DATA_SCIENTIST, Role.ML_ENGINEER}:
                session.add(Collaborator(project_id=project_id, user_name=person.name, added_by="scientist"))
        session.flush()
        ids = {
            "package_id": package.id,
            "job_id": job.id,
            "workspace_id": workspace.id,
            "credential_id": credential.id,
            "endpoint_id": endpoint.id,
        }
    database.close()
    return ids | {
        "project_id": project_id,
        "user_name": "engineer",
        "data_repo_id": lab.project["default_data_repo_id"],
        "key": run["artifacts"][0]["file_key"],
        "model_id": model["id"],
        "experiment_id": run["experiment_id"],
        "run_id": run["id"],
        "artifact_id": run["artifacts"][0]["id"],
    }


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
    for person in CAST:
        if person.member:
            continue
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
