"""Captures: notebooks that the workspace's server runs headless, as runs of experiments."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from a360mdk import notebooks, values
from a360mdk.cards import card
from a360mdk.client import Client, Unreachable, refusal, unreachable_text
from a360mdk.exceptions import SchedulerError
from a360mdk.progress import Meter
from a360mdk.writing import replacing
from a360runtime.paths import resolve

if TYPE_CHECKING:
    import pandas

    from a360mdk.experiment import Experiment
    from a360mdk.main import A360AI

ENDED = ("finished", "failed", "cancelled", "interrupted")
_POLL_SECONDS = 20
_COLUMNS = (
    "id", "notebook", "state", "done", "cells", "run_id", "created_at", "started_at", "ended_at", "error",
)  # fmt: skip


class Capture:
    """A notebook that runs without a browser; made by ``a360ai.capture``.

    It goes on when this kernel or the browser is closed. ``a360ai.list_captures()`` finds it again.

    Args:
        client: connection to the workspace's server.
        document: what the server says of it.

    Attributes:
        id: identifier in this workspace.
        run_id: its run on the platform, whose artifacts are the executed notebook, its parameters and the
            environment's packages.
        notebook: path of the notebook.
        parameters, time_limit: as they were given.
        state: queued, running, closing, and in the end finished, failed, cancelled or interrupted.
        cells, done: how many cells there are, and how many have ended.
        error: None, or why it did not finish: name, message and number of the cell.
        detail: more to know, such as that the platform does not answer.
        created_at, started_at, ended_at: when, in UTC.
    """

    id: str
    run_id: str
    notebook: str
    parameters: dict[str, Any]
    time_limit: float | None
    state: str
    cells: int
    done: int
    error: dict[str, Any] | None
    detail: str
    created_at: str
    started_at: str | None
    ended_at: str | None

    def __init__(self, client: Client, document: dict[str, Any]) -> None:
        self._client = client
        self._load(document)

    def __repr__(self) -> str:
        why = f", {self.reason}" if self.error else ""
        return f"<Capture {Path(self.notebook).name}: {self.state}, {self.done} of {self.cells} cells{why}>"

    def _repr_html_(self) -> str:
        facts = {
            "State": self.state,
            "Cells": f"{self.done} of {self.cells}",
            "Reason": self.reason or None,
            "Parameters": self.parameters,
            "Run": self.run_id,
            "Note": self.detail or None,
        }
        return card(f"Capture of {Path(self.notebook).name}", facts)

    @property
    def reason(self) -> str:
        """Why it did not finish, as text; empty if it did, or has not ended."""
        if not self.error:
            return ""
        where = f" (cell {self.error['cell']})" if self.error.get("cell") else ""
        return f"{self.error['name']}: {self.error['message']}{where}"

    def refresh(self) -> "Capture":
        """Ask how far it is; return itself."""
        self._load(self._client.get(f"/a360/captures/{self.id}", SchedulerError))
        return self

    def wait(self) -> "Capture":
        """Wait for its end with a bar of its cells; return itself. Interrupting the wait stops nothing.

        Raises:
            SchedulerError: it did not finish.
        """
        with Meter(Path(self.notebook).name, self.cells or None, " cells") as meter:
            meter.advance(self.done)
            for more in self._progress():
                meter.expect(self.cells or None)  # none are known of one that waits for its turn
                meter.advance(more)
        if self.state != "finished":
            raise SchedulerError(
                f"The capture of {Path(self.notebook).name} is {self.state}.",
                self.reason or self.detail or "It gave no reason.",
                f"capture.save_notebook() fetches what came out so far; its run is {self.run_id}.",
            )
        return self

    def cancel(self) -> None:
        """Stop it; what came out so far is kept with its run, which fails.

        Raises:
            SchedulerError: it has ended, or is being closed.
        """
        self.refresh()
        if self.state in ENDED:
            raise SchedulerError(
                "The capture was not cancelled.", f"It is {self.state}.", "There is nothing left to stop."
            )
        self._load(self._client.call("DELETE", f"/a360/captures/{self.id}", SchedulerError))

    def save_notebook(self, path: str | os.PathLike[str] | None = None) -> str:
        """Write the executed notebook, as far as it came, into a file; return its path.

        Args:
            path: file or folder to write to; beside the notebook, if left out. In a folder it is named
                ``<name>-executed.ipynb``.

        Raises:
            SchedulerError: there is none yet, it is forgotten, or the workspace's server does not answer.
        """
        source = Path(self.notebook)
        target = resolve(path) if path is not None else source.parent
        if target.is_dir():
            target = target / f"{source.stem}-executed.ipynb"
        self.refresh()
        where = f"/a360/captures/{self.id}/notebook"
        try:
            response = self._client.send("GET", where, repeatable=True)
        except Unreachable as lost:
            raise SchedulerError(*unreachable_text(self._client.base_url, lost)) from lost
        if response.status_code == 404:
            raise SchedulerError(
                "The executed notebook was not saved.",
                "There is none yet: no cell has begun.",
                "Wait for it: capture.wait().",
            )
        if not response.ok:
            raise refusal(response, SchedulerError)
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as sink:
            sink.write(response.content)
        return str(target)

    def _progress(self) -> Iterator[int]:
        """Yield how many more cells have ended, each time some have, until it has ended itself."""
        while self.state not in ENDED:
            before = self.done
            query = {"after": before, "wait": _POLL_SECONDS}
            self._load(self._client.get(f"/a360/captures/{self.id}", SchedulerError, query))
            yield self.done - before

    def _load(self, document: dict[str, Any]) -> None:
        for name in self.__annotations__:
            setattr(self, name, document[name])


class Captures:
    """What ``a360ai`` does with captures."""

    def capture(
        self,
        notebook: str | os.PathLike[str],
        parameters: Mapping[str, Any] | None = None,
        time_limit: float | None = None,
        experiment: "Experiment | str | None" = None,
        wait: bool = False,
    ) -> Capture:
        """Run a notebook headless as a run of an experiment; it goes on when the browser is closed.

        The executed notebook, its parameters and the list of installed packages become artifacts of the run.
        If a cell fails, the run is a failed run that keeps the notebook up to that cell.

        Args:
            notebook: the file, as it is now.
            parameters: values by name; they replace those of the cell tagged ``parameters``.
            time_limit: seconds after which it is stopped; None for no limit.
            experiment: an experiment, or its name in the current model; the current one if left out.
            wait: return when it has ended, and raise if it did not finish.

        Raises:
            SchedulerError: no such notebook, no workspace, or a refusal; or, waiting, why it did not finish.
            ExperimentError: no such experiment.
        """
        from a360mdk.experiment import Experiment
        from a360mdk.magics import subjects

        if not isinstance(experiment, Experiment):
            experiment = subjects.experiment_of(cast("A360AI", self), {}, experiment)
        begun = begin(experiment, notebook, parameters, time_limit)
        return begun.wait() if wait else begun

    def list_captures(self) -> "pandas.DataFrame":
        """List this workspace's captures, newest first: notebook, state, cells, run, times and error."""
        return listing()

    def get_capture(self, capture_id: str) -> Capture:
        """Return a capture of this workspace, to wait for it, cancel it or fetch its notebook.

        Args:
            capture_id: as ``list_captures`` shows it.

        Raises:
            SchedulerError: there is none.
        """
        client = connect()
        return Capture(client, client.get(f"/a360/captures/{capture_id}", SchedulerError))


def connect() -> Client:
    """Return a connection to the workspace's own server.

    Raises:
        SchedulerError: this process is in no workspace.
    """
    url = os.environ.get("A360_SERVER_URL")
    token = os.environ.get("A360_SERVER_TOKEN") or os.environ.get("JUPYTERHUB_API_TOKEN")
    if not url or not token:
        raise SchedulerError(
            "Notebooks are captured by a workspace.",
            "This Python process has no Jupyter server of A360 around it: A360_SERVER_URL is not set.",
            "Call this in a notebook of a workspace.",
        )
    return Client(url, token)


def begin(
    experiment: "Experiment",
    notebook: str | os.PathLike[str],
    parameters: Mapping[str, Any] | None,
    time_limit: float | None,
) -> Capture:
    """Have the workspace's server run a notebook; see ``A360AI.capture``."""
    path = notebooks.locate(notebook)
    if path is None:
        raise SchedulerError(
            f"The notebook {notebook} was not captured: it is not there.",
            f"Looked for it in {Path.cwd()} and in {Path.home()}.",
            "Correct the name.",
        )
    if parameters is not None and not isinstance(parameters, Mapping):
        raise SchedulerError(
            "The notebook was not captured.",
            f"parameters is a {type(parameters).__name__}, not a dict of values by name.",
            'Pass parameters={"name": value}.',
        )
    body = {
        "notebook": str(path.resolve()),
        "experiment_id": experiment.id,
        "parameters": values.logged("parameters", parameters or {}, SchedulerError),
        "time_limit": time_limit,
    }
    client = connect()
    return Capture(client, client.post("/a360/captures", SchedulerError, body))


def listing() -> "pandas.DataFrame":
    """Return the captures of this workspace as ``A360AI.list_captures`` shows them."""
    import pandas

    client = connect()
    documents = client.get("/a360/captures", SchedulerError)["captures"]
    rows = [
        {**{name: document[name] for name in _COLUMNS}, "error": Capture(client, document).reason or None}
        for document in documents
    ]
    return pandas.DataFrame(rows, columns=list(_COLUMNS))
