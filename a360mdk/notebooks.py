"""The notebooks that belong to a run."""

import os
from pathlib import Path

from a360mdk.exceptions import ExperimentError
from a360runtime.paths import resolve


def current_notebook() -> Path | None:
    """Return the notebook this kernel runs, None when it runs none (a script, a console)."""
    name = os.environ.get("JPY_SESSION_NAME", "")
    path = Path(name)
    return path if path.suffix == ".ipynb" and path.is_file() else None


def locate(file: str | os.PathLike[str]) -> Path | None:
    """Find a file a user named: as it is, beside the current notebook, or below the home."""
    path = resolve(file)
    places = [path]
    if not path.is_absolute():
        notebook = os.environ.get("JPY_SESSION_NAME", "")
        places += [Path(notebook).parent / path] if notebook else []
        places.append(Path.home() / path)
    return next((place for place in places if place.is_file()), None)


def require(field: str, file: str | os.PathLike[str] | None) -> None:
    """Refuse a file that is not there, before any training begins.

    Raises:
        ExperimentError: no such file.
    """
    if file is not None and locate(file) is None:
        raise ExperimentError(
            f"{field} names a file that is not there.",
            f"Looked for {file} in {Path.cwd()} and in {Path.home()}.",
            f"Correct the name, or do without: leave {field} out, or set experiment.{field} = None.",
        )
