"""What the kit raises. Every error says what happened, why, and what to do about it.

Each class is a direct subclass of :class:`Exception`, as notebooks that catch them one by one expect; they
share their construction and text, not an ancestor.
"""

from typing import TYPE_CHECKING, Any, TypeVar

Kind = TypeVar("Kind", bound=type[Exception])

if TYPE_CHECKING:

    class _Explained(Exception):
        what: str
        why: str
        hint: str
        code: str
        status: int

        def __init__(
            self, what: str, why: str = "", hint: str = "", *, code: str = "", status: int = 0
        ) -> None: ...
else:
    _Explained = Exception


def _init(self: Any, what: str, why: str = "", hint: str = "", *, code: str = "", status: int = 0) -> None:
    """Keep what happened, why, and what to do; and code and status of the service's answer, if any."""
    Exception.__init__(self, what, why, hint)
    self.what, self.why, self.hint, self.code, self.status = what, why, hint, code, status


def _text(self: Any) -> str:
    return "\n".join(part for part in (self.what, self.why, self.hint) if part)


def _explained(kind: Kind) -> Kind:
    members: Any = kind
    members.__init__, members.__str__ = _init, _text
    return kind


@_explained
class A360AIError(_Explained):
    """The interface object `a360ai`: no connection, no project, a refused call."""


@_explained
class ArtifactError(_Explained):
    """An artifact is missing, damaged or cannot be loaded."""


@_explained
class ConfigurationError(_Explained):
    """The environment lacks something the kit needs, or holds a value it cannot use."""


@_explained
class DataRepoError(_Explained):
    """A data repo is missing or cannot be reached."""


@_explained
class DataSourceError(_Explained):
    """A data source is unknown or refuses a statement."""


@_explained
class DatasetError(_Explained):
    """A data set cannot be read or written, or would be overwritten."""


@_explained
class ExperimentError(_Explained):
    """An experiment cannot be created, loaded or changed."""


@_explained
class FileSystemError(_Explained):
    """Storage refuses: wrong credentials (core 15), missing path or wrong region (code 100)."""


@_explained
class GraphQLError(_Explained):
    """What answered does not speak the service's protocol (which was GraphQL in the first release)."""


@_explained
class ModelError(_Explained):
    """A model cannot be created, loaded or changed."""


@_explained
class RunError(_Explained):
    """A run could not be started, logged or closed."""


@_explained
class SchedulerError(_Explained):
    """A scheduled run cannot be planned or carried out."""
