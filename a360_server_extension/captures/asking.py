"""What callers may ask for: checked, and the run begun on the platform. Blocking: for threads."""

import keyword
import math
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat

from a360_server_extension.captures.record import Capture, Store
from a360mdk.client import Client
from a360mdk.exceptions import ConfigurationError, GraphQLError, RunError, SchedulerError
from a360mdk.settings import Settings
from a360runtime.paths import resolve

LARGEST = 100_000_000
"""Bytes of a notebook that is executed."""
LONGEST_LIMIT = 30 * 24 * 3600.0
RUN = ("id", "data_repo_id", "artifact_prefix", "started_at", "alive_until")
"""What is kept of a run."""
FIELDS = ("notebook", "experiment_id", "parameters", "time_limit")


@dataclass(frozen=True)
class Wanted:
    """A valid request."""

    notebook: Path
    content: bytes
    experiment_id: str
    parameters: dict[str, Any]
    time_limit: float | None


def read(body: Any, root: str) -> Wanted:
    """Check a request and read its notebook.

    Args:
        body: the decoded JSON of the request.
        root: folder that relative paths begin at.

    Raises:
        SchedulerError: what is wrong with it.
    """
    if not isinstance(body, dict):
        raise _wrong("The body is no JSON object.")
    unknown = sorted(set(body) - set(FIELDS))
    if unknown:
        raise _wrong(f"Unknown: {', '.join(unknown)}.")
    experiment_id = body.get("experiment_id")
    if not isinstance(experiment_id, str) or not experiment_id.isalnum():
        raise _wrong("experiment_id is no identifier of an experiment.")
    path = _notebook(body.get("notebook"), root)
    return Wanted(
        path,
        _content(path),
        experiment_id,
        _parameters(body.get("parameters")),
        _time_limit(body.get("time_limit")),
    )


def require_papermill() -> None:
    """See that this environment can execute notebooks.

    Raises:
        ConfigurationError: papermill is missing.
    """
    if find_spec("papermill") is None:
        raise ConfigurationError(
            "The notebook was not captured.",
            "The image of this workspace has no papermill, which executes notebooks.",
            "Install it beside the server, a360[lab], or choose another image.",
        )


def begin(wanted: Wanted, store: Store) -> Capture:
    """Keep the notebook as it is now, and begin the run.

    Raises:
        RunError: the service refuses, or does not answer.
        ConfigurationError: this server is no workspace of a project, or its home takes no files.
    """
    try:
        capture_id = store.create(wanted.content)
    except OSError as error:
        raise ConfigurationError(
            "The notebook was not captured.",
            f"A copy of it cannot be kept in {store.root}: {error.strerror}.",
            "Make room in the workspace's home, and call again.",
        ) from error
    try:
        settings = Settings.from_environment()
        client = Client(settings.api_url, settings.token)
        try:
            body = {
                "lease": True,  # a workspace may be deleted in the middle
                "hyperparameters": {name: _plain(value) for name, value in wanted.parameters.items()},
                "metadata": {"captured_notebook": str(wanted.notebook)},
            }
            run = client.post(f"/experiments/{wanted.experiment_id}/runs", RunError, body)
        finally:
            client.close()
    except (RunError, ConfigurationError, GraphQLError):
        store.remove(capture_id)
        raise
    return Capture(
        capture_id,
        str(wanted.notebook),
        wanted.experiment_id,
        {name: run.get(name) for name in RUN},
        wanted.parameters,
        wanted.time_limit,
    )


def _wrong(why: str) -> SchedulerError:
    return SchedulerError("The notebook was not captured.", why, "Put right what it names, and call again.")


def _notebook(given: Any, root: str) -> Path:
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise _wrong("notebook is no path.")
    path = resolve(os.path.expanduser(given))
    path = path if path.is_absolute() else Path(root).expanduser() / path
    if path.suffix != ".ipynb":
        raise _wrong(f"{path.name} is no notebook: its name does not end in .ipynb.")
    try:
        there = path.is_file()
    except OSError as error:  # a name that is too long, for one
        raise _wrong(f"The notebook cannot be looked for: {error.strerror}.") from None
    if not there:
        raise _wrong(f"There is no notebook {path}.")
    return path.resolve()


def _content(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise _wrong(f"{path.name} is larger than {LARGEST:,} bytes. Clear its outputs first.")
    try:
        content = path.read_bytes()
        nbformat.validate(nbformat.reads(content.decode("utf-8"), as_version=4))
    except Exception as error:  # what a file holds can fail in any way
        reason = "".join(str(error).splitlines()[:1]) or type(error).__name__
        raise _wrong(f"{path.name} cannot be read as a notebook: {reason}.") from None
    return content


def _parameters(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong("parameters is no object of values by name.")
    for name in given:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise _wrong(f"The parameter {name!r} cannot be the name of a variable.")
    return given


def _time_limit(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given <= LONGEST_LIMIT:
        raise _wrong(f"time_limit is no number of seconds above 0 and up to {LONGEST_LIMIT:,.0f}.")
    return float(given)


def _plain(value: Any) -> Any:
    """What JSON has no word for is null in the run; the notebook itself gets the value."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value
