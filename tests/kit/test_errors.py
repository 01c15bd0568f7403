"""Every error of the kit says what happened, why, and what to do: at each place that raises one."""

import ast
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from a360mdk import A360AI, exceptions
from tests.kit.conftest import Workspace
from tests.support.service import free_port

KIT = Path(exceptions.__file__).parent
NAMES = {
    "A360AIError": "M162", "ArtifactError": "M163", "ConfigurationError": "M164", "DataRepoError": "M165",
    "DataSourceError": "M166", "DatasetError": "M167", "ExperimentError": "M168", "FileSystemError": "M169",
    "GraphQLError": "M170", "ModelError": "M171", "RunError": "M172", "SchedulerError": "M173",
}  # fmt: skip


def made(tree: ast.AST) -> list[ast.Call]:
    """Calls that make one of the kit's errors, also through a parameter named ``error``."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and (node.func.id in NAMES or node.func.id == "error")
    ]


def says(part: ast.expr) -> bool:
    """Whether an argument is more than an empty text."""
    return not (isinstance(part, ast.Constant) and not part.value)


@pytest.mark.row(*NAMES.values())
@pytest.mark.parametrize("path", sorted(KIT.rglob("*.py")), ids=lambda path: str(path.relative_to(KIT)))
def test_each_error_is_made_of_three_parts(path: Path) -> None:
    for call in made(ast.parse(path.read_text())):
        if any(isinstance(argument, ast.Starred) for argument in call.args):
            continue  # three parts made elsewhere
        assert len(call.args) == 3, f"{path}:{call.lineno} gives {len(call.args)} parts of 3"
        assert all(map(says, call.args)), f"{path}:{call.lineno} has an empty part"


def twice(ai: A360AI) -> None:
    for _ in range(2):
        ai.write_dataset(pd.DataFrame({"a": [1]}), "twice")


def log_outside(ai: A360AI) -> None:
    experiment = ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn", [[1.0]], [1.0])
    experiment.run_experiment().log_metrics({"a": 1})


class Portal(BaseHTTPRequestHandler):
    """Answers everything with a page, as a company's proxy does before somebody has signed in to it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Sign in to the network.</html>")

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


def ask_a_portal(ai: A360AI) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as portal:
        threading.Thread(target=portal.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{portal.server_port}/services/a360/api/v1"
            A360AI(api_url=address, project_id=ai.settings.project_id).list_datasources()
        finally:
            portal.shutdown()


RAISED: dict[str, Callable[[A360AI], Any]] = {
    "A360AIError": lambda ai: A360AI(project_id="0" * 32).project_name,
    "ArtifactError": lambda ai: ai.get_or_create_model("m").get_artifact("trained_model"),
    "ConfigurationError": lambda ai: A360AI().list_datasets(),
    "DataRepoError": lambda ai: ai.get_datarepo("none of this name"),
    "DataSourceError": lambda ai: ai.connect_to_datasource("none of this name", "sqlite"),
    "DatasetError": twice,
    "ExperimentError": lambda ai: ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn"),
    "FileSystemError": lambda ai: ai.filesystem.get_object("none of this name"),
    "GraphQLError": ask_a_portal,
    "ModelError": lambda ai: ai.get_or_create_model("m", "longer than twelve"),
    "RunError": log_outside,
    "SchedulerError": lambda ai: ai.capture("none.ipynb", experiment="e"),
}
"""What raises each of them in a notebook."""


@pytest.mark.row(*NAMES.values())
@pytest.mark.parametrize("name", RAISED)
def test_each_error_is_raised_with_what_why_and_hint(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "SchedulerError":
        workspace.ai.get_or_create_model("m").get_or_create_experiment("e", "sklearn", [[1.0]], [1.0])
    if name == "ConfigurationError":
        monkeypatch.delenv("A360_PROJECT_ID")
    with pytest.raises(getattr(exceptions, name)) as raised:
        RAISED[name](workspace.ai)
    error: Any = raised.value
    assert all(part.strip() for part in (error.what, error.why, error.hint))
    assert str(error) == f"{error.what}\n{error.why}\n{error.hint}"


@pytest.mark.row(*NAMES.values())
@pytest.mark.parametrize("name", NAMES)
def test_each_error_is_a_direct_subclass_of_exception(name: str) -> None:
    kind = getattr(exceptions, name)
    assert kind.__bases__ == (Exception,)
    assert (kind.__doc__ or "").strip()
    error = kind("What.", "Why.", "Hint.", code="c", status=418)
    assert (str(error), error.args) == ("What.\nWhy.\nHint.", ("What.", "Why.", "Hint."))
    assert (error.code, error.status) == ("c", 418)
    assert str(kind("What.")) == "What."


def test_a_service_that_is_away_is_told_as_such(workspace: Workspace) -> None:
    away = A360AI(api_url=f"http://127.0.0.1:{free_port()}/services/a360/api/v1")
    with pytest.raises(exceptions.ModelError, match="did not answer") as raised:
        away.get_or_create_model("m")
    assert "Try again in a moment" in raised.value.hint
