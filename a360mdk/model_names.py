"""Calls that name the model again, where the model itself is asked."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from a360mdk.exceptions import ExperimentError

if TYPE_CHECKING:
    from a360mdk.model import Model

Method = TypeVar("Method", bound=Callable[..., Any])
_NAMES = ("model_name", "version")


def may_name_the_model(method: Method) -> Method:
    """Let a method of :class:`Model` take ``model_name`` and ``version`` in front of its own arguments.

    Notebooks call ``get_or_create_experiment`` of ``a360ai`` and of a model with the same arguments, by place
    or by keyword. The names have to be those of the model, or the call raises an ExperimentError.

    Args:
        method: whose first argument is ``experiment_name``, and whose third one is no text.
    """

    @functools.wraps(method)
    def call(model: "Model", *given: Any, **more: Any) -> Any:
        named = {name: more.pop(name) for name in _NAMES if name in more}
        if "experiment_name" in more or (len(given) > 2 and isinstance(given[2], str)):
            missing = [name for name in _NAMES if name not in named]
            named |= dict(zip(missing, given, strict=False))
            given = given[len(missing) :]
        _require(model, named)
        return method(model, *given, **more)

    return cast(Method, call)


def _require(model: "Model", named: dict[str, Any]) -> None:
    if all(value == getattr(model, name) for name, value in named.items()):
        return
    raise ExperimentError(
        "The experiment was not loaded: another model is named than the one that is asked.",
        f"This is {model.model_name} {model.version}; named are "
        + " and ".join(f"{name} {value!r}" for name, value in named.items())
        + ".",
        "Leave the names out, or call a360ai.get_or_create_experiment(model_name, version, ...).",
    )
