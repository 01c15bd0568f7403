"""A project with one of everything in it, and people with every set of roles."""

import itertools
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from a360_hub_service.api.routing import Route
from a360_hub_service.entities import (
    Collaborator,
    Endpoint,
    EndpointKey,
    Job,
    JobEvent,
    Package,
    PackageScan,
    ScanFinding,
    Waiver,
    Workspace,
)
from a360_hub_service.policy import Role
from tests.support.lab import Lab, ok
from tests.support.service import PEOPLE, ServiceProcess, project_form

GROUPS = {
    Role.CLIENT_ADMIN: "Administrator",
    Role.DATA_SCIENTIST: "Data Scientists",
    Role.ML_ENGINEER: "ML Engineers",
}
WORKING = {Role.DATA_SCIENTIST, Role.ML_ENGINEER}
PUBLISH_FORM = {
    "replicas": 1,
    "cpu_request": 0.1,
    "cpu_limit": 1,
    "memory_request": 0.1,
    "memory_limit": 1,
}


CREDENTIAL: dict[str, Any] = {
    "name": "Buckets that do not answer",
    "description": "For tests.",
    "groups": ["Data Scientists"],
    "inputs": {
        "access_key": "key",
        "access_secret": "secret",
        "region": "eu-central-1",
        "endpoint_url": "http://127.0.0.1:9",
    },
}


DATA_SOURCE: dict[str, Any] = {
    "name": "A database that does not answer",
    "description": "For tests.",
    "service": "postgres",
    "groups": list(GROUPS.values()),
    "inputs": {"host": "127.0.0.1", "port": 9, "database": "sales", "user": "reader", "password": "secret"},
}
SPARES = {
    "/projects/{project_id}": "project_id",
    "/data-repos/{data_repo_id}": "data_repo_id",
    "/credentials/{credential_id}": "credential_id",
    "/workspaces/{workspace_id}": "workspace_id",
}
"""What is there twice, for deleting one of them."""
SPARE_FILE = "spare.csv"
KEPT_FILE = "kept.csv"
"""A file with versions, whose content stays."""
KEPT_CONTENT = b"a,b\n1,2\n"


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


def people() -> dict[str, list[str]]:
    """User -> groups of everybody."""
    return {**PEOPLE, **{person.name: [GROUPS[role] for role in person.roles] for person in CAST}}


@dataclass(frozen=True)
class World:
    """A service and what is in it.

    Attributes
    ----------
    ids
        Identifiers by the names that paths give them.
    instead
        Other identifiers for some operations (``POST /models/{model_id}/deny``), whose success would spoil
        the rest, or needs another state.
    """

    service: ServiceProcess
    ids: dict[str, str]
    instead: dict[str, dict[str, str]] = field(default_factory=dict)

    def path(self, route: Route, **other: str) -> str:
        """The route's path, naming what there is."""
        path = route.path.replace(":path}", "}")
        return path.format(**{**self.ids, **other})


def make(service: ServiceProcess, *, account: dict[str, Any] | None = None) -> World:
    """One of everything, in a service whose people are :func:`people`.

    ``account`` are the inputs of the credential, of an S3 server that answers; else it is one that does not.
    """
    credential = {**CREDENTIAL, "inputs": account or CREDENTIAL["inputs"]}
    with Lab(service) as lab:
        model = lab.chosen_model()
        run = ok(lab.scientist.get(f"/runs/{model['best_run_id']}"))
        running, ending = (lab.run({"id": run["experiment_id"]}) for _ in range(2))
        project_id = lab.project["id"]
        for person in CAST:
            if person.member and person.roles & WORKING:
                ok(lab.scientist.put(f"/projects/{project_id}/collaborators/{person.name}"))
        ids = _insert(service, project_id, model["id"], run["id"])
        reviewed, given_up, approved = (
            lab.submitted_model("reviewed"),
            lab.model("given up"),
            lab.approved_model("approved"),
        )
        denied, candidate = lab.submitted_model("denied"), lab.chosen_model("candidate")
        revised = lab.approved_model("revised")
        ids |= {
            "credential_id": ok(lab.admin.post("/credentials", json=credential))["id"],
            "data_source_id": ok(lab.admin.post("/credentials", json=DATA_SOURCE))["id"],
            "project_id": project_id,
            "user_name": "engineer",
            "data_repo_id": lab.project["default_data_repo_id"],
            "key": run["artifacts"][0]["file_key"],
            "model_id": model["id"],
            "experiment_id": run["experiment_id"],
            "run_id": run["id"],
            "artifact_id": run["artifacts"][0]["id"],
            "commit_id": _versions(lab),
            "name": "spare",
        }
        spare = _spares(lab)
    instead = {
        **{f"DELETE {path}": {name: spare[name]} for path, name in SPARES.items()},
        "DELETE /data-repos/{data_repo_id}/files/{key}": {"key": SPARE_FILE},
        "PUT /data-repos/{data_repo_id}/files/{key}": {"key": "new.csv"},
        "POST /models/{model_id}/approve": {"model_id": reviewed["id"]},
        "POST /models/{model_id}/deny": {"model_id": denied["id"]},
        "POST /models/{model_id}/revise": {"model_id": revised["id"]},
        "POST /models/{model_id}/submit": {"model_id": candidate["id"]},
        "POST /models/{model_id}/terminate": {"model_id": given_up["id"]},
        "POST /models/{model_id}/package": {"model_id": approved["id"]},
        "PATCH /runs/{run_id}": {"run_id": running["id"]},
        "POST /runs/{run_id}/heartbeat": {"run_id": running["id"]},
        "POST /runs/{run_id}/finish": {"run_id": ending["id"]},
        "DELETE /data-repos/{data_repo_id}/tags/{name}": {"name": "spare-tag"},
    }
    return World(service, ids, instead)


def _versions(lab: Lab) -> str:
    """A file with a commit, whose identifier this is, and a branch and a tag to delete."""
    repo = f"/data-repos/{lab.project['default_data_repo_id']}"
    ok(lab.scientist.put(f"{repo}/files/{KEPT_FILE}", content=KEPT_CONTENT))
    ok(lab.scientist.post(f"{repo}/branches", json={"name": "spare"}))
    ok(lab.scientist.post(f"{repo}/tags", json={"name": "spare-tag"}))
    return str(ok(lab.scientist.get(f"{repo}/commits"))["items"][0]["id"])


def _spares(lab: Lab) -> dict[str, str]:
    """Identifiers of what may be deleted."""
    project_id = lab.project["id"]
    form = project_form("Spare", f"spare-{project_id[-12:]}")
    repo = {**form["data_repo"], "volume_name": f"second-{project_id[-12:]}"}
    workspace = {"name": "spare", "image": "sklearn", "cpu": 1, "memory": "1Gi"}
    ok(
        lab.scientist.put(
            f"/data-repos/{lab.project['default_data_repo_id']}/files/{SPARE_FILE}", content=b"x"
        )
    )
    return {
        "project_id": ok(lab.scientist.post("/projects", json=form))["id"],
        "data_repo_id": ok(lab.scientist.post(f"/projects/{project_id}/data-repos", json=repo))["id"],
        "credential_id": ok(lab.admin.post("/credentials", json={**CREDENTIAL, "name": "Spare"}))["id"],
        "workspace_id": ok(lab.scientist.post(f"/projects/{project_id}/workspaces", json=workspace))["id"],
    }


def _insert(service: ServiceProcess, project_id: str, model_id: str, run_id: str) -> dict[str, str]:
    """What takes long to come by honestly: packages, endpoints, jobs, and members who lost their roles."""
    of_model = {"model_id": model_id, "created_by": "scientist"}
    package = Package(run_id=run_id, builder="bundle", status="ready", **of_model)
    job = Job(kind="package", subject_id="x", status="succeeded", **of_model)
    workspace = Workspace(
        project_id=project_id,
        name="w",
        owner="scientist",
        server_name="w",
        image="sklearn",
        cpu=1,
        memory="1Gi",
    )
    database = service.database()
    with database.session() as session:
        session.add_all([package, job, workspace])
        session.flush()
        key = EndpointKey(sha256="0" * 64, prefix="a360_", created_by="scientist")
        endpoint = Endpoint(
            package_id=package.id,
            slug=f"slug-{model_id[-8:]}",
            target="process",
            desired="stopped",
            form=PUBLISH_FORM,
            keys=[key],
            **of_model,
        )
        events = [JobEvent(job_id=job.id, kind="log", step="build", message=f"line {n}") for n in range(3)]
        session.add_all([endpoint, *events])
        waiver = _scan(session, package.id)
        for person in CAST:
            if person.member and not person.roles & WORKING:
                session.add(Collaborator(project_id=project_id, user_name=person.name, added_by="scientist"))
        session.flush()
        ids = {
            "package_id": package.id,
            "job_id": job.id,
            "waiver_id": waiver.id,
            "workspace_id": workspace.id,
            "endpoint_id": endpoint.id,
            "key_id": key.id,
        }
    database.close()
    return ids


def _scan(session: Session, package_id: str) -> Waiver:
    """A scan with a finding, and a waiver that accepts it."""
    waiver = Waiver(advisory="CVE-2026-1", reason="For tests.", until=date.max, created_by="admin")
    session.add(waiver)
    session.flush()
    counts = {"critical": 0, "high": 0, "medium": 0, "low": 0, "unknown": 0}
    scan = PackageScan(
        package_id=package_id, scanner="embedded", status="vulnerable", allowed=True, counts=counts, sbom="{}"
    )
    finding = ScanFinding(
        package_id=package_id,
        component="flask",
        version="1",
        ecosystem="PyPI",
        advisory="CVE-2026-1",
        severity="high",
        score=7.5,
        waiver_id=waiver.id,
    )
    session.add_all([scan, finding])
    return waiver
