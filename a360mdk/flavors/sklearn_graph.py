"""Looking into fitted scikit-learn objects, and preparing them for skl2onnx."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any


def uses_column_names(model: Any) -> bool:
    """Whether a ColumnTransformer inside picks its columns by name."""
    return any(
        isinstance(column, str)
        for transformer in parts(model)
        if hasattr(transformer, "transformers_")
        for _, _, columns in transformer.transformers_
        for column in columns_of(columns, _names_of(transformer))
    )


def splits_columns(model: Any) -> bool:
    """Whether the first thing a model does is to give columns to different transformers."""
    return hasattr(first_step(model), "transformers_")


def text_columns(model: Any, names: Sequence[str]) -> set[str]:
    """Names of the input columns that a fitted encoder or imputer inside has seen text in."""
    found: set[str] = set()
    first = first_step(model)
    if hasattr(first, "transformers_"):
        for _, transformer, columns in first.transformers_:
            found |= _seen_text(first_step(transformer), picked(columns, names))
    else:
        found |= _seen_text(first, list(names))
    return found


def prepared(model: Any, double: bool) -> Any:
    """Return the model in the form skl2onnx converts faithfully; the original is left as it is.

    With float64 input (``double``), trees behind other steps get a cast to float32 in front, which
    scikit-learn's trees do themselves.
    """
    model = _explicit(model)
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
    if hasattr(model, "flatten_transform"):  # it concerns transform only, and the converter refuses it
        result = copy.copy(model)
        result.flatten_transform = False
        if result.weights is not None:
            result.weights = _array(result.weights)  # the converter asks a list for its sum
        return result
    return model


def parts(model: Any) -> Iterator[Any]:
    """Yield an estimator and all estimators inside it."""
    yield model
    for attribute in ("steps", "transformer_list", "transformers_", "named_estimators_"):
        held = getattr(model, attribute, None) or []
        for entry in held.items() if hasattr(held, "items") else held:
            if hasattr(entry[1], "get_params"):
                yield from parts(entry[1])
    for attribute in ("estimator", "estimator_", "final_estimator_", "best_estimator_", "regressor_"):
        if hasattr(getattr(model, attribute, None), "get_params"):
            yield from parts(getattr(model, attribute))
    if has_trees(model):
        return  # hundreds of trees, and nothing else inside
    for attribute in ("estimators_", "calibrated_classifiers_"):
        held = getattr(model, attribute, None)
        for entry in [] if held is None else list(getattr(held, "flat", held)):
            if hasattr(entry, "get_params") or hasattr(entry, "estimator"):
                yield from parts(entry)


_SWITCHES = (
    "HistGradientBoosting",
    "KNeighbors",
    "RadiusNeighbors",
    "NearestCentroid",
    "LocalOutlier",
    "KBins",
)


def prefers_double(model: Any) -> bool:
    """Whether a model switches between answers where float32 may round a value to the other side."""
    found = list(parts(model))
    kinds = [type(part) for part in found]
    if any(kind.__name__.startswith(_SWITCHES) for kind in kinds):
        return True
    if any(kind.__module__.startswith("xgboost.") for kind in kinds):
        return True
    return not has_trees(model) and any(has_trees(part) for part in found)


def has_trees(model: Any) -> bool:
    """Whether an estimator compares float32 input with thresholds, as scikit-learn's trees and forests do."""
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting
    from sklearn.tree import BaseDecisionTree

    return isinstance(model, BaseDecisionTree | BaseForest | BaseGradientBoosting)


def _is_pipeline(model: Any) -> bool:
    from sklearn.pipeline import Pipeline

    return isinstance(model, Pipeline)


def first_step(model: Any) -> Any:
    """Return what a model does first: of a pipeline the first step."""
    while _is_pipeline(model):
        steps = [step for _, step in model.steps if step is not None and step != "passthrough"]
        if not steps:
            return model
        model = steps[0]
    return model


def _explicit(model: Any) -> Any:
    """Return a model whose columns are named one by one, and without the parts that its user dropped.

    skl2onnx knows neither masks nor slices of names, nor positions that NumPy made or that count from the
    end, and takes "drop" for an estimator.
    """
    if _is_pipeline(model):
        steps = [(name, _explicit(step)) for name, step in model.steps]
        return _copy(model, steps=steps)
    if hasattr(model, "transformers_"):
        names = _names_of(model)
        chosen = [
            (name, _explicit(transformer), _as_one(columns_of(columns, names), columns))
            for name, transformer, columns in model.transformers_
        ]
        return _copy(model, transformers_=chosen)
    if hasattr(model, "transformer_list"):
        kept = [(name, _explicit(part)) for name, part in model.transformer_list if part != "drop"]
        return _copy(model, transformer_list=kept)
    return model


def _copy(model: Any, **changed: Any) -> Any:
    result = copy.copy(model)
    for name, value in changed.items():
        setattr(result, name, value)
    return result


def _as_one(listed: list[Any], columns: Any) -> Any:
    """A single column that was given by itself: its transformer is handed texts, not a table."""
    alone = isinstance(columns, str) or getattr(columns, "ndim", None) == 0 or isinstance(columns, int)
    return listed[0] if alone else listed


def _names_of(transformer: Any) -> list[str]:
    """Names of a ColumnTransformer's input; made up where it was fitted on an array."""
    own = getattr(transformer, "feature_names_in_", None)
    return list(own) if own is not None else [f"X{n}" for n in range(transformer.n_features_in_)]


def columns_of(columns: Any, names: Sequence[str]) -> list[Any]:
    """Return what a ColumnTransformer gives to one of its transformers: names, or positions from nought.

    Args:
        columns: a name, a position, or several of them, a slice or a mask.
        names: of all columns.
    """
    if isinstance(columns, slice):
        start, stop = columns.start, columns.stop
        if isinstance(start, str) or isinstance(stop, str):  # as in pandas, with the last one
            first = 0 if start is None else names.index(start)
            last = len(names) if stop is None else names.index(stop) + 1
            return list(names[first : last : columns.step])
        return list(range(len(names)))[columns]
    listed = columns.tolist() if hasattr(columns, "tolist") else columns
    listed = [listed] if isinstance(listed, str | int) else list(listed)
    if listed and all(type(column).__name__ in ("bool", "bool_") for column in listed):
        return [position for position, chosen in enumerate(listed) if chosen]
    return [str(column) if isinstance(column, str) else int(column) % len(names) for column in listed]


def picked(columns: Any, names: Sequence[str]) -> list[str]:
    """Return the names of the columns that a ColumnTransformer gives to one of its transformers."""
    return [column if isinstance(column, str) else names[column] for column in columns_of(columns, names)]


def _seen_text(transformer: Any, columns: Sequence[str]) -> set[str]:
    if hasattr(transformer, "categories_"):
        kinds = [values.dtype.kind for values in transformer.categories_]
    elif hasattr(transformer, "statistics_"):
        kinds = ["O" if isinstance(value, str) else "f" for value in transformer.statistics_]
    elif hasattr(transformer, "vocabulary_"):
        kinds = ["O"] * len(columns)
    else:
        return set()
    return {name for name, kind in zip(columns, kinds, strict=False) if kind in "OUS"}


def _array(values: Any) -> Any:
    import numpy

    return numpy.asarray(values)


def _float32() -> Any:
    import numpy

    return numpy.float32
