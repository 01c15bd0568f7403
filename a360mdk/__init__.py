"""The notebook kit of A360: data, models, experiments and runs from a notebook.

In a workspace the object ``a360ai`` is there without an import. Elsewhere::

    from a360mdk import A360AI
    a360ai = A360AI()

Everything is imported on first use: a kernel starts no slower for having the kit.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a360mdk.artifacts import Artifact
    from a360mdk.capture import Capture
    from a360mdk.datarepo import DataRepo
    from a360mdk.datasource import DataSource
    from a360mdk.experiment import Experiment
    from a360mdk.filesystem import FileSystem
    from a360mdk.main import A360AI
    from a360mdk.model import Model
    from a360mdk.run import Run

_HOMES = {
    "A360AI": "a360mdk.main",
    "Artifact": "a360mdk.artifacts",
    "Capture": "a360mdk.capture",
    "DataRepo": "a360mdk.datarepo",
    "DataSource": "a360mdk.datasource",
    "Experiment": "a360mdk.experiment",
    "FileSystem": "a360mdk.filesystem",
    "Model": "a360mdk.model",
    "Run": "a360mdk.run",
    "load_ipython_extension": "a360mdk.ipython",
    "unload_ipython_extension": "a360mdk.ipython",
}

__all__ = [
    "A360AI",
    "Artifact",
    "Capture",
    "DataRepo",
    "DataSource",
    "Experiment",
    "FileSystem",
    "Model",
    "Run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
