"""The main job in the steps people take: project, data, workspace, review, package, publish."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DemoError, Refused
from .people import Person

Record = dict[str, Any]
Progress = Callable[[str], None]
WORKSPACE_SECONDS = 900.0


@dataclass(frozen=True)
class Published:
    """A live endpoint and its key, which only the publisher saw."""

    endpoint: Record
    api_key: str


def quiet(text: str) -> None:
    """Progress for nobody."""


def free_name(person: Person, wanted: str) -> str:
    """The project name, or with the next free number behind it."""
    taken = {project["name"] for project in person.listing("/projects")}
    return next(name for name in _numbered(wanted) if name not in taken)


def create_project(person: Person, name: str, customer: str, goal: str, volume: str) -> Record:
    """A project with its data repo in a new folder; the volume gets a number where its name is taken."""
    account = person.api("GET", "/volume-accounts")["items"][0]
    for candidate in _numbered(volume, glue="-"):
        data_repo = {
            "name": f"{name} data",
            "description": "Raw data, prepared data and the artifacts of all runs",
            "volume_account": account["id"],
            "volume_option": "new",
            "volume_name": candidate,
        }
        try:
            project: Record = person.api(
                "POST", "/projects", name=name, customer_name=customer, goal=goal, data_repo=data_repo
            )
        except Refused as refused:
            if refused.status != 409 or "volume_name" not in refused.fields:
                raise
            continue
        return project
    raise DemoError(f"No volume name like {volume} is free.")


def _numbered(text: str, glue: str = " ") -> Iterator[str]:
    yield text
    yield from (f"{text}{glue}{number}" for number in range(2, 1000))


def add_collaborators(person: Person, project: Record, *names: str) -> None:
    """Let others work in the project."""
    for name in names:
        person.api("PUT", f"/projects/{project['id']}/collaborators/{name}")


def start_workspace(
    person: Person,
    project: Record,
    name: str,
    progress: Progress = quiet,
    made_known: Callable[[Record], None] = lambda made: None,
    memory: str = "1Gi",
    flavor: str = "",
) -> Record:
    """A new workspace, started; returns when JupyterLab answers.

    ``made_known`` gets it as soon as it exists, to be able to stop it when the start is broken off. The image
    is the platform's usual one, or that of a ``flavor``.

    Raises
    ------
    DemoError
        When it does not start, with what the platform says about it.
    """
    images = person.api("GET", "/images")["items"]
    image = next(image for image in images if flavor in ("", image["flavor"]))
    if not image["ready"]:
        progress("building the image's environment, once")
    made = person.api(
        "POST",
        f"/projects/{project['id']}/workspaces",
        name=name,
        image=image["name"],
        cpu=1,
        memory=memory,
    )
    made_known(made)
    person.api("POST", f"/workspaces/{made['id']}/start")
    deadline = time.monotonic() + WORKSPACE_SECONDS
    while time.monotonic() < deadline:
        workspace = _workspace(person, made["id"])
        if workspace["status"] == "running":
            return workspace
        if workspace["status"] in ("failed", "stopped"):
            raise DemoError(
                f"The workspace did not start: {workspace['message']}", "See log/hub.log of the state folder."
            )
        progress(workspace["message"] or workspace["status"])
        time.sleep(0.3)
    raise DemoError(f"The workspace did not start within {WORKSPACE_SECONDS:.0f} s.")


def stop_workspace(person: Person, workspace: Record) -> None:
    """Stop a workspace and wait until it is; its files stay."""
    person.api("POST", f"/workspaces/{workspace['id']}/stop")
    deadline = time.monotonic() + 60
    while _workspace(person, workspace["id"])["status"] != "stopped" and time.monotonic() < deadline:
        time.sleep(0.2)


def _workspace(person: Person, workspace_id: str) -> Record:
    found: Record = person.api("GET", f"/workspaces/{workspace_id}")
    return found


def model_of(person: Person, project: Record, name: str) -> Record:
    """The project's model of that name."""
    for model in person.listing(f"/projects/{project['id']}/models"):
        if model["model_name"] == name:
            return dict(model)
    raise DemoError(f"The project has no model {name}; did the training notebook run?")


def commit_folder(folder: Path, repository: Path) -> str:
    """Commit a folder's files to a bare git repository, made if missing; its ``file://`` address.

    Raises
    ------
    DemoError
        When git is missing or refuses.
    """
    identity = [
        "-c",
        "user.name=A360 demo",
        "-c",
        "user.email=demo@a360.invalid",
        "-c",
        "commit.gpgsign=false",
    ]
    git = ["git", *identity, "--git-dir", str(repository), "--work-tree", str(folder)]
    try:
        if not repository.exists():
            _run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository)])
        names = [path.name for path in folder.iterdir() if path.is_file()]
        _run([*git, "add", "--", *names])
        _run([*git, "commit", "--quiet", "--allow-empty", "--message", "Deployment script of the model"])
    except FileNotFoundError:
        raise DemoError(
            "git is not installed.", "Install it: packaging takes the script from a repository."
        ) from None
    return repository.absolute().as_uri()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DemoError(f"git said: {done.stderr.strip()}")


def review(scientist: Person, reviewer: Person, model: Record, comment: str) -> Record:
    """Submit a model to a reviewer who approves it."""
    scientist.api("POST", f"/models/{model['id']}/submit", reviewer=reviewer.name)
    approved: Record = reviewer.api("POST", f"/models/{model['id']}/approve", comment=comment)
    return approved


def package(person: Person, model: Record, progress: Progress = quiet, **form: Any) -> Record:
    """Package a model from its repository, following the job; the package."""
    job = person.api("POST", f"/models/{model['id']}/package", **form)
    follow(person, job, progress)
    newest: Record = next(person.listing(f"/models/{model['id']}/packages"))
    return newest


def publish(person: Person, model: Record, progress: Progress = quiet, **form: Any) -> Published:
    """Publish a packaged model, following the job; the endpoint and its key."""
    answer = person.api("POST", f"/models/{model['id']}/publish", **form)
    follow(person, answer["job"], progress)
    return Published(person.api("GET", f"/endpoints/{answer['endpoint']['id']}"), answer["api_key"])


def withdraw(person: Person, model: Record) -> None:
    """Take a model's endpoint down and wait until it is."""
    follow(person, person.api("POST", f"/models/{model['id']}/withdraw"))


def follow(person: Person, job: Record, progress: Progress = quiet) -> Record:
    """Follow a job's event stream to its end.

    Raises
    ------
    DemoError
        When the job failed, with its reason and the last lines of its log.
    """
    lines: list[str] = []
    for event in person.events(f"/jobs/{job['id']}/events"):
        told = json.loads(event.data)
        if told["message"]:
            lines.append(told["message"])
            progress(told["message"])
    ended: Record = person.api("GET", f"/jobs/{job['id']}")
    if ended["status"] != "succeeded":
        told = "\n".join(lines[-15:])
        raise DemoError(f"The {job['kind']} job failed: {ended['error']}\n{told}")
    return ended
