"""The end of a capture's run: what came out goes to the data repo, and the service is told.

Runs in the worker process; doing it twice is the same as once.
"""

import json
from pathlib import Path
from typing import Any

import nbformat

from a360_server_extension.captures import environment
from a360_server_extension.captures.execution import kernel_of
from a360mdk import artifacts
from a360mdk.client import Unreachable, refusal
from a360mdk.closing import Writer
from a360mdk.exceptions import DataRepoError, FileSystemError, RunError
from a360mdk.main import A360AI


def register(capture: dict[str, Any], executed: Path, seconds: float) -> dict[str, Any]:
    """Close the run of a capture.

    A notebook that failed keeps what it printed: it is an artifact of the failed run. Where the data repo
    takes nothing, the run fails with that reason, and the notebook stays in the workspace.

    Args:
        capture: the record, with the ``outcome``.
        executed: the executed notebook, as far as it came.
        seconds: how long it ran.

    Returns:
        ``{"stored": bool, "detail": text}``.

    Raises:
        Unreachable: the service does not answer, or cannot now; try again later.
        RunError: it refuses.
    """
    a360ai = A360AI()
    run = capture["run"]
    error = None if capture["outcome"] == "finished" else text_of(capture["error"])
    detail = ""
    writer = None
    try:
        writer = Writer(a360ai.data_repo(run["data_repo_id"]), run["artifact_prefix"])
        _write(writer, capture, executed)
    except (FileSystemError, DataRepoError) as refused:
        if isinstance(refused, DataRepoError) and _later(refused.status):
            raise Unreachable(str(refused), maybe_done=False) from refused
        if writer is not None:
            writer.discard()
        detail = f"What came out could not be stored: {refused.what} {refused.why}"
        error = f"{error}\n{detail}" if error else detail
    stored = writer.written if writer is not None and not detail else []
    body = {
        "status": "failed" if error else "finished",
        "metadata": {"run_time": round(seconds, 3), "captured_notebook": capture["notebook"]},
        "artifacts": [artifact.document() for artifact in stored],
        **({"error": error[:2000]} if error else {}),
    }
    response = a360ai.client.send("POST", f"/runs/{run['id']}/finish", body=body, repeatable=True)
    if not response.ok:
        refused_close = refusal(response, RunError)
        if _later(response.status_code):
            raise Unreachable(str(refused_close), maybe_done=False)
        if writer is not None:
            writer.discard()
        raise refused_close
    return {"stored": bool(stored), "detail": detail}


def _later(status: int) -> bool:
    """Whether an answer may be another one later: none at all, too many calls, or the Hub is away."""
    return status in (0, 429) or status >= 500


def text_of(error: dict[str, Any] | None) -> str:
    """Say in one line why a capture did not finish."""
    error = error or {"name": "Error", "message": "It did not finish.", "cell": None}
    where = f" (cell {error['cell']})" if error.get("cell") else ""
    return f"{error['name']}: {error['message']}{where}"


def _write(writer: Writer, capture: dict[str, Any], executed: Path) -> None:
    notebook = executed.read_bytes() if executed.exists() else executed.with_name("input.ipynb").read_bytes()
    with writer.open(artifacts.EXECUTED, ".ipynb") as sink:
        sink.write(notebook)
    with writer.open(artifacts.PARAMETERS, ".json") as sink:
        sink.write(json.dumps(capture["parameters"], indent=1).encode())
    kernel = kernel_of(nbformat.reads(notebook.decode(), as_version=4))
    with writer.open(artifacts.ENVIRONMENT, ".txt") as sink:
        sink.write(environment.lock(kernel).encode())
