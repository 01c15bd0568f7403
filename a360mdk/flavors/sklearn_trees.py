"""Trees that skl2onnx writes otherwise than scikit-learn reads them, put right while it converts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from a360mdk.exceptions import RunError
from a360mdk.flavors.sklearn_graph import parts

_WRITERS = ("decision_tree", "random_forest", "gradient_boosting", "isolation_forest")
_MISSING = "nodes_missing_value_tracks_true"
_DOUBLE = 11  # the number of float64 in ONNX
_NUMBERS = {"nodes_values", "nodes_hitrates", "class_weights", "target_weights", "base_values"}


class Thresholds:
    """The exact thresholds of the ensembles under conversion, before they are rounded to float32."""

    def __init__(self) -> None:
        self._lists: dict[int, list[float]] = {}

    def keep(self, values: list[float]) -> None:
        """Remember the list that the converter fills for one ensemble."""
        self._lists[id(values)] = values

    def of(self, rounded: Any) -> Any | None:
        """Return the exact thresholds of an ensemble, found by its rounded ones."""
        import numpy

        for values in self._lists.values():
            if len(values) == len(rounded):
                exact = numpy.array(values, dtype=numpy.float64)
                if (exact.astype(numpy.float32) == rounded).all():
                    return exact
        return None


@contextmanager
def faithful_trees(model: Any) -> Iterator[Thresholds]:
    """Let trees be converted as they are while the block runs; yields their exact thresholds.

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
    thresholds = Thresholds()
    with ExitStack() as replaced:
        if boosted:
            replaced.enter_context(_replaced("skl2onnx.common.tree_ensemble", "add_node", _plain_numbers))
            replaced.enter_context(
                _replaced(
                    "skl2onnx.operator_converters.random_forest",
                    "add_tree_to_attribute_pairs_hist_gradient_boosting",
                    partial(_kept, thresholds),
                )
            )
        for name in _WRITERS:
            module = f"skl2onnx.operator_converters.{name}"
            replaced.enter_context(
                _replaced(module, "add_tree_to_attribute_pairs", partial(_with_missing, thresholds))
            )
        module = "skl2onnx.operator_converters.decision_tree"
        replaced.enter_context(_replaced(module, "populate_tree_attributes", partial(_exact, thresholds)))
        yield thresholds


@contextmanager
def _replaced(module: str, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    held = import_module(module)
    original = getattr(held, name)
    setattr(held, name, made(original))
    try:
        yield
    finally:
        setattr(held, name, original)


def _kept(thresholds: Thresholds, original: Any) -> Any:
    def add_tree(attributes: Any, *rest: Any, **more: Any) -> None:
        thresholds.keep(attributes["nodes_values"])
        original(attributes, *rest, **more)

    return add_tree


def _with_missing(thresholds: Thresholds, original: Any) -> Any:
    def add_tree(attributes: Any, is_classifier: bool, tree: Any, *rest: Any, **more: Any) -> None:
        thresholds.keep(attributes["nodes_values"])
        start = len(attributes[_MISSING])
        original(attributes, is_classifier, tree, *rest, **more)
        attributes[_MISSING][start:] = _missing_goes_left(tree)

    return add_tree


def _exact(thresholds: Thresholds, original: Any) -> Any:
    def attributes_of(model: Any, name: str, dtype: Any) -> Any:
        import numpy
        from skl2onnx.common.tree_ensemble import sklearn_threshold

        attributes = original(model, name, dtype)
        attributes["nodes_values"] = [
            value if mode == "LEAF" else sklearn_threshold(value, dtype or numpy.float32, mode)
            for value, mode in zip(attributes["nodes_values"], attributes["nodes_modes"], strict=True)
        ]
        attributes[_MISSING] = _missing_goes_left(model.tree_)
        thresholds.keep(attributes["nodes_values"])
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


def compare_in_double(model: Any, thresholds: Thresholds) -> None:
    """Let the ensembles of a graph with float64 input compare in float64, with their exact thresholds.

    The operators of ai.onnx.ml 3 can; skl2onnx writes those of version 1, which compare with rounded
    thresholds, and takes their answers for float64, which they are not.

    Args:
        model: the ModelProto, changed in place.
        thresholds: what :func:`faithful_trees` kept of its conversion.
    """
    from onnx import helper, numpy_helper

    doubles = _doubles(model.graph)
    singles = {out.name for out in model.graph.output if out.type.tensor_type.elem_type != _DOUBLE}
    made = []
    for node in model.graph.node:
        made.append(node)
        if not node.op_type.startswith("TreeEnsemble") or node.input[0] not in doubles:
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        for name in _NUMBERS & attributes.keys():
            values: Any = _array(attributes[name].floats)
            if name == "nodes_values":
                exact = thresholds.of(values)
                values = values if exact is None else exact
            node.attribute.remove(attributes[name])
            tensor = numpy_helper.from_array(values.astype("float64"), name)
            node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))
        position = len(node.output) - 1  # of a classifier the labels come first
        wanted = node.output[position]
        if wanted in singles:
            continue
        node.output[position] = f"{wanted}_single"
        made.append(helper.make_node("Cast", [node.output[position]], [wanted], to=_DOUBLE))
    del model.graph.node[:]
    model.graph.node.extend(made)
    for entry in model.opset_import:
        if entry.domain == "ai.onnx.ml":
            entry.version = max(entry.version, 3)


def _doubles(graph: Any) -> set[str]:
    """Names of float64 values: what goes in, and what comes out of operators that keep the type."""
    types = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    types |= {entry.name: entry.data_type for entry in graph.initializer}
    for node in graph.node:
        if node.op_type == "Cast":
            found = next(attribute.i for attribute in node.attribute if attribute.name == "to")
        elif node.op_type in ("OneHotEncoder", "Scaler", "Normalizer", "Imputer", "LabelEncoder"):
            found = types.get(node.input[0], 0) if node.op_type == "Imputer" else 1
        else:
            found = types.get(node.input[0] if node.input else "", 0)
        types |= dict.fromkeys(node.output, found)
    return {name for name, kind in types.items() if kind == _DOUBLE}


def _array(floats: Any) -> Any:
    import numpy

    return numpy.array(list(floats), dtype=numpy.float32)
