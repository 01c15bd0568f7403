"""Frameworks the kit can store models of, one module each behind the interface in ``base``."""

from importlib import import_module

from a360mdk.exceptions import ExperimentError
from a360mdk.flavors.base import Flavor

_MODULES = {
    name: f"a360mdk.flavors.{name}" for name in ("sklearn", "xgboost", "pytorch", "tensorflow", "huggingface")
}


def get(name: str | None) -> Flavor:
    """Return the flavor of a name.

    Raises:
        ExperimentError: this kit does not know it.
    """
    module = _MODULES.get(name or "")
    if module is None:
        raise ExperimentError(
            f"The model flavor {name!r} is unknown." if name else "An experiment needs a model flavor.",
            f"This kit stores models of: {', '.join(_MODULES)}.",
            'Pass model_flavor="sklearn", for example; os.environ["A360_IMAGE"] ends in the workspace\'s.',
        )
    flavor: Flavor = import_module(module).FLAVOR
    return flavor
