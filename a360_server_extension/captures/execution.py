"""Executing a notebook with papermill, saved after every cell so that a stop loses nothing.

Imported by the worker process only: papermill takes seconds to import.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook
from papermill.log import logger

ENGINE = "a360"
SAVE_SECONDS = 10
LONGEST_MESSAGE = 1000
DEFAULT_KERNEL = "python3"

Tell = Callable[..., None]


class Stopped(KeyboardInterrupt):
    """The worker was told to stop. A KeyboardInterrupt, which event loops let through."""


class Watched(NotebookExecutionManager):
    """Papermill's record of an execution, which tells of each cell and is saved whole or not at all.

    ``tell`` and ``origin`` are set for the one notebook a worker executes at a time.
    """

    tell: Tell = staticmethod(lambda *_, **__: None)
    origin = ""
    nb: Any
    current: int | None = None

    def notebook_start(self, **kwargs: Any) -> None:
        """Begin; the notebook names the file it came from."""
        self.nb.metadata.papermill["input_path"] = type(self).origin
        self.nb.metadata.papermill.pop("output_path", None)
        super().notebook_start(**kwargs)
        type(self).tell("begun", cells=len(self.nb.cells))

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Remember which cell is at work."""
        self.current = cell_index
        super().cell_start(cell, cell_index, **kwargs)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Tell of a cell that has ended."""
        super().cell_complete(cell, cell_index, **kwargs)
        type(self).tell("cell", done=(cell_index or 0) + 1)

    def save(self, **kwargs: Any) -> None:
        """Write the notebook beside its place, then put it there."""
        self.nb = kwargs.get("nb") or self.nb
        path = Path(self.output_path)
        written = path.with_suffix(".new")
        written.write_text(nbformat.writes(self.nb), encoding="utf-8")
        os.replace(written, path)
        self.last_save_time = self.now()

    def broken_off(self, name: str, message: str) -> None:
        """Mark the cell at work as the one that did not end, and say why below it."""
        index = self.current or 0
        cell = self.nb.cells[index]
        self.cell_exception(cell, cell_index=index)
        if cell.cell_type == "code":
            error = {"ename": name, "evalue": message, "traceback": [f"{name}: {message}"]}
            cell.outputs.append(nbformat.v4.new_output("error", **error))


class Engine(NBClientEngine):
    """Papermill's engine, whose kernel a stop ends at once."""

    client: Any = None
    output = ""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **options: Any) -> Any:
        """Execute; what ends it early stands below the cell it ended in."""
        manager = Watched(nb, output_path=cls.output, progress_bar=False, autosave_cell_every=SAVE_SECONDS)
        manager.notebook_start()
        try:
            cls.client = PapermillNotebookClient(
                manager, kernel_name=kernel_name, timeout=None, log=logger, startup_timeout=60
            )
            cls.client.execute()
        except (Stopped, DeadKernelError) as ended:
            manager.broken_off(*_why(ended))
            raise
        finally:
            cls.client = None
            manager.notebook_complete()
        return manager.nb


papermill_engines.register(ENGINE, Engine)


def execute(
    source: Path, executed: Path, parameters: dict[str, Any], origin: Path, tell: Tell
) -> dict[str, Any] | None:
    """Execute a notebook in the folder it came from.

    Args:
        source: the notebook as it is to run.
        executed: where to keep it while and after it runs.
        parameters: values by name; they go into a cell after the one tagged ``parameters``.
        origin: the file it came from, whose folder the kernel works in.
        tell: called with ``begun`` and ``cell`` events.

    Returns:
        None when every cell ended well; else name, message and cell (from one, None outside of cells).
    """
    Watched.tell, Watched.origin, Engine.output = staticmethod(tell), str(origin), str(executed)
    os.environ["JPY_SESSION_NAME"] = str(origin)  # as Jupyter does: runs in it find their notebook
    notebook = nbformat.read(source, as_version=4)
    os.chdir(executed.parent)
    last = "papermill.ipynb"
    try:
        execute_notebook(
            notebook,
            last,
            parameters=parameters,
            engine_name=ENGINE,
            kernel_name=kernel_of(notebook),
            language=notebook.metadata.get("language_info", {}).get("name") or "python",
            progress_bar=False,
            cwd=str(origin.parent),
        )
    except PapermillExecutionError as error:
        failed: dict[str, Any] | None = {
            "name": error.ename,
            "message": str(error.evalue)[:LONGEST_MESSAGE],
            "cell": error.cell_index + 1,
        }
    except (Stopped, DeadKernelError) as error:
        name, message = _why(error)
        return {"name": name, "message": message, "cell": _broken_cell(executed)}
    except Exception as error:
        return {"name": type(error).__name__, "message": str(error)[:LONGEST_MESSAGE], "cell": None}
    else:
        failed = None
    # Papermill's last word, with a mark at the cell that failed; saved whole here, unlike there.
    os.replace(last, executed)
    return failed


def kernel_of(notebook: Any) -> str:
    """Return the notebook's kernel, or Python where it names none that this workspace has."""
    name = str(notebook.metadata.get("kernelspec", {}).get("name") or DEFAULT_KERNEL)
    try:
        KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        return DEFAULT_KERNEL
    return name


def _why(ended: BaseException) -> tuple[str, str]:
    if isinstance(ended, Stopped):
        return "Stopped", "The notebook was stopped here."
    return "DeadKernelError", "The kernel died. Too little memory is the usual reason."


def _broken_cell(executed: Path) -> int | None:
    """Which cell of the saved notebook did not end."""
    notebook = nbformat.read(executed, as_version=4)
    for number, cell in enumerate(notebook.cells, 1):
        if cell.metadata.get("papermill", {}).get("status") == NotebookExecutionManager.FAILED:
            return number
    return None
