"""Trees that skl2onnx writes otherwise than scikit-learn reads them, put right while it converts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.sklearn_graph import parts

_WRITERS = ("decision_tree", "random_forest", "gradient_boosting", "isolation_forest")
_MISSING = "nodes_missing_value_tracks_true"


@contextmanager
def faithful_trees(model: Any) -> Iterator[None]:
    """Let trees be converted as they are while the block runs.

    What skl2onnx 1.20 does otherwise:

    - where a missing value goes in a tree is left out: it would always go right;
    - trees of several classification targets keep thresholds rounded to float32, which moves rows that lie
      between the exact and the rounded one;
    - histogram gradient boosting gets node ids as numpy integers and flags as booleans, which attributes of
      ONNX nodes do not take any more.

    Raises:
        RunError: histogram gradient boosting splits on categories, which the converter would take for
            thresholds.
    """
    boosted = [part for part in parts(model) if type(part).__name__.startswith("HistGradientBoosting")]
    if any(getattr(part, "is_categorical_", None) is not None for part in boosted):
        raise RunError(
            "No converter to ONNX knows histogram gradient boosting with categorical features.",
            "It would take the categories for numbers and answer otherwise than the model.",
            "Encode the categories first (OrdinalEncoder, OneHotEncoder) and leave categorical_features out.",
        )
    with ExitStack() as replaced:
        if boosted:
            replaced.enter_context(_replaced("skl2onnx.common.tree_ensemble", "add_node", _plain_numbers))
        for name in _WRITERS:
            module = f"skl2onnx.operator_converters.{name}"
            replaced.enter_context(_replaced(module, "add_tree_to_attribute_pairs", _with_missing))
        module = "skl2onnx.operator_converters.decision_tree"
        replaced.enter_context(_replaced(module, "populate_tree_attributes", _exact))
        yield


@contextmanager
def _replaced(module: str, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    held = import_module(module)
    original = getattr(held, name)
    setattr(held, name, made(original))
    try:
        yield
    finally:
        setattr(held, name, original)


def _with_missing(original: Any) -> Any:
    def add_tree(attributes: Any, is_classifier: bool, tree: Any, *rest: Any, **more: Any) -> None:
        start = len(attributes[_MISSING])
        original(attributes, is_classifier, tree, *rest, **more)
        attributes[_MISSING][start:] = _missing_goes_left(tree)

    return add_tree


def _exact(original: Any) -> Any:
    def attributes_of(model: Any, name: str, dtype: Any) -> Any:
        import numpy
        from skl2onnx.common.tree_ensemble import sklearn_threshold

        attributes = original(model, name, dtype)
        attributes["nodes_values"] = [
            value if mode == "LEAF" else sklearn_threshold(value, dtype or numpy.float32, mode)
            for value, mode in zip(attributes["nodes_values"], attributes["nodes_modes"], strict=True)
        ]
        attributes[_MISSING] = _missing_goes_left(model.tree_)
        return attributes

    return attributes_of


def _missing_goes_left(tree: Any) -> list[int]:
    inner = tree.children_left >= 0
    found: list[int] = (tree.missing_go_to_left.astype(bool) & inner).astype(int).tolist()
    return found


def _plain_numbers(original: Any) -> Any:
    def add_node(attributes: Any, is_classifier: bool, *numbers: Any, **more: Any) -> None:
        plain = {name: _plain(value) for name, value in more.items() if name != "dtype"}
        kept = {"dtype": more["dtype"]} if "dtype" in more else {}
        if _MISSING in plain:
            plain[_MISSING] = int(plain[_MISSING])
        original(attributes, is_classifier, *map(_plain, numbers), **plain, **kept)

    return add_node


def _plain(value: Any) -> Any:
    import numpy

    return int(value) if isinstance(value, numpy.integer) else value
