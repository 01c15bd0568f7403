"""Paths as notebooks write them, made real on the machine at hand."""

import os
from pathlib import Path

NOTEBOOK_HOME = "/home/jovyan"


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as a place that exists on this machine's layout.

    Notebooks name ``/home/jovyan/...``. Container workspaces have that folder; where it does not exist (local
    workspaces) such a path is read against ``HOME``. ``~`` is expanded; every other path is returned as it
    is.
    """
    text = os.path.expanduser(os.fspath(path))
    inside = text == NOTEBOOK_HOME or text.startswith(NOTEBOOK_HOME + "/")
    if inside and not os.path.isdir(NOTEBOOK_HOME):
        return Path(os.path.expanduser("~")) / text[len(NOTEBOOK_HOME) + 1 :]
    return Path(text)
