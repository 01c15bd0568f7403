"""What every backend shares: its errors, its health and how a name becomes a class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

Log = Callable[[str], None]
"""Takes one line for the log of a job."""


class BackendError(Exception):
    """Something outside the service did not work.

    ``str(error)`` says what happened, `hint` what a person can do about it, `field` which field of the form
    it concerns; the last two may be empty.
    """

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field


@dataclass(frozen=True)
class Health:
    """May this backend be used now? `reason` says why not, or what to know when it may."""

    available: bool
    reason: str = ""


def load_class(name: str, base: type, group: str, builtin: Mapping[str, str]) -> type:
    """Return the class called `name`: a short name, an entry point of `group`, or ``package.module.Class``.

    `builtin` maps short names to dotted paths, so that a backend's libraries are imported only when it is
    chosen. Raises `ValueError` when nothing has that name, `TypeError` when the class is not a `base`.
    """
    path = builtin.get(name, "")
    if not path:
        for entry in entry_points(group=group, name=name):
            path = entry.value.replace(":", ".")
    path = path or name
    module, _, attribute = path.rpartition(".")
    if not module:
        raise ValueError(f"No {base.__name__} is called {name!r}; known are {', '.join(sorted(builtin))}.")
    found = getattr(import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{path} is not a {base.__name__}.")
    return found
