"""Looking into fitted scikit-learn objects, and preparing them for skl2onnx."""

import copy
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from a360mdk.exceptions import RunError


def uses_column_names(model: Any) -> bool:
    """Whether a ColumnTransformer inside picks its columns by name."""
    return any(
        isinstance(column, str)
        for transformer in _column_transformers(model)
        for _, _, columns in transformer.transformers_
        for column in ([columns] if isinstance(columns, str) else _listed(columns))
    )


def text_columns(model: Any, names: Sequence[str]) -> set[str]:
    """Names of the input columns that a fitted encoder or imputer inside has seen text in."""
    found: set[str] = set()
    first = _first_step(model)
    if hasattr(first, "transformers_"):
        for _, transformer, columns in first.transformers_:
            picked = _picked(columns, names)
            found |= _seen_text(_first_step(transformer), picked)
    else:
        found |= _seen_text(first, list(names))
    return found


def prepared(model: Any, double: bool) -> Any:
    """Return the model in the form skl2onnx converts faithfully; the original is left as it is.

    - Histogram gradient boosting keeps its trees in records of numpy types that ONNX attributes do not take.
    - With float64 input, trees behind other steps get a cast to float32, which scikit-learn's trees do
      themselves.
    """
    if _is_pipeline(model):
        steps = [(name, step) for name, step in model.steps if step is not None and step != "passthrough"]
        name, last = steps[-1]
        steps[-1] = (name, prepared(last, double=False))
        if double and has_trees(last) and len(steps) > 1:
            from skl2onnx.sklapi import CastTransformer

            cast = CastTransformer(dtype=_float32())
            cast.n_features_in_ = getattr(last, "n_features_in_", None)
            steps.insert(-1, ("cast_for_trees", cast))
        result = copy.copy(model)
        result.steps = steps
        return result
    if hasattr(model, "_predictors") and type(model).__name__.startswith("HistGradientBoosting"):
        return _plain_histogram_trees(model)
    return model


def has_trees(model: Any) -> bool:
    """Whether an estimator compares float32 input with thresholds, as scikit-learn's trees and forests do."""
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting
    from sklearn.tree import BaseDecisionTree

    return isinstance(model, BaseDecisionTree | BaseForest | BaseGradientBoosting)


def _plain_histogram_trees(model: Any) -> Any:
    result = copy.copy(model)
    result._predictors = [
        [SimpleNamespace(nodes=[_plain_node(node) for node in tree.nodes]) for tree in stage]
        for stage in model._predictors
    ]
    return result


def _plain_node(node: Any) -> dict[str, Any]:
    plain = {name: node[name].item() for name in node.dtype.names}
    if plain.get("is_categorical"):
        raise RunError(
            "No converter to ONNX knows histogram gradient boosting with categorical features.",
            "",
            "Encode the categories first (OrdinalEncoder or OneHotEncoder) and train without "
            "categorical_features.",
        )
    plain["threshold"] = plain.get("threshold", plain.get("num_threshold"))
    return plain


def _is_pipeline(model: Any) -> bool:
    from sklearn.pipeline import Pipeline

    return isinstance(model, Pipeline)


def _first_step(model: Any) -> Any:
    while _is_pipeline(model):
        steps = [step for _, step in model.steps if step is not None and step != "passthrough"]
        if not steps:
            return model
        model = steps[0]
    return model


def _column_transformers(model: Any) -> Iterator[Any]:
    if hasattr(model, "transformers_"):
        yield model
        for _, transformer, _ in model.transformers_:
            yield from _column_transformers(transformer)
    for attribute in ("steps", "transformer_list"):
        for _, step in getattr(model, attribute, None) or []:
            yield from _column_transformers(step)


def _listed(columns: Any) -> list[Any]:
    if isinstance(columns, list | tuple):
        return list(columns)
    return list(columns) if hasattr(columns, "tolist") or hasattr(columns, "__iter__") else []


def _picked(columns: Any, names: Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        return [columns]
    if isinstance(columns, slice):
        return list(names[columns])
    if isinstance(columns, int):
        return [names[columns]]
    listed = _listed(columns)
    if listed and all(isinstance(column, bool) or type(column).__name__ == "bool" for column in listed):
        return [name for name, chosen in zip(names, listed, strict=False) if chosen]
    return [column if isinstance(column, str) else names[int(column)] for column in listed]


def _seen_text(transformer: Any, columns: Sequence[str]) -> set[str]:
    if hasattr(transformer, "categories_"):
        kinds = [values.dtype.kind for values in transformer.categories_]
    elif hasattr(transformer, "statistics_"):
        kinds = ["O" if isinstance(value, str) else "f" for value in transformer.statistics_]
    else:
        return set()
    return {name for name, kind in zip(columns, kinds, strict=False) if kind in "OUS"}


def _float32() -> Any:
    import numpy

    return numpy.float32
