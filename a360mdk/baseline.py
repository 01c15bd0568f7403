"""Baselines for drift: what training data looked like, per feature and for the target."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from a360mdk.exceptions import ExperimentError

if TYPE_CHECKING:
    import pandas

EXPECTED_VALUES = ("mean", "median")
_CATEGORIES = 100


def feature_names_of(train_features: Any, feature_names: Sequence[str] | None, monitored: bool) -> list[str]:
    """Return the names of features in order.

    Args:
        train_features: DataFrame, ndarray, or None.
        feature_names: names given by the user; a DataFrame brings its own.
        monitored: drift is to be monitored, so names are needed.

    Raises:
        ExperimentError: names are needed and missing, are not unique, or do not fit the columns.
    """
    if hasattr(train_features, "columns"):
        own = [str(name) for name in train_features.columns]
        if feature_names is not None and [str(name) for name in feature_names] != own:
            raise ExperimentError(
                "feature_names and the columns of train_features differ.",
                f"feature_names: {list(feature_names)}; columns: {own}.",
                "Leave feature_names out: a DataFrame brings its own names.",
            )
        return own
    names = [str(name) for name in feature_names] if feature_names is not None else []
    if len(set(names)) < len(names):
        raise ExperimentError(
            "feature_names holds a name twice.", f"Names: {names}.", "Make the names unique."
        )
    if train_features is None:
        return names
    if not names:
        if monitored:
            raise ExperimentError(
                "Drift monitoring needs the names of the features.",
                f"train_features is a {type(train_features).__name__}, which has no column names.",
                "Pass feature_names=[...], one name per column, in order.",
            )
        return []
    shape = getattr(train_features, "shape", None)
    if shape is not None and len(shape) == 2 and shape[1] != len(names):
        raise ExperimentError(
            "feature_names does not fit train_features.",
            f"There are {len(names)} names for {shape[1]} columns.",
            "Pass one name per column, in order.",
        )
    return names


def of_features(train_features: Any, names: Sequence[str], expected_value: str) -> dict[str, dict[str, Any]]:
    """Return ``{feature: {"mean": 0.1, "std": 0.9}}`` in the order of the features.

    Text features have the shares of their values instead: ``{"mean": None, "std": None, "categories":
    {...}}``.

    Args:
        train_features: DataFrame or 2-D array.
        names: one per column.
        expected_value: "mean" or "median".
    """
    import pandas

    if not hasattr(train_features, "columns"):
        if len(train_features.shape) != 2:
            raise ExperimentError(
                "Drift monitoring needs a table of features.",
                f"train_features has the shape {tuple(train_features.shape)}.",
                "Pass one row per example and one column per feature.",
            )
        train_features = pandas.DataFrame(train_features)
    return {
        name: _of_column(train_features.iloc[:, position], expected_value)
        for position, name in enumerate(names)
    }


def of_target(train_target: Any, expected_value: str) -> dict[str, dict[str, Any]]:
    """Return the baseline of the target under its name ("target" without one), of a frame per column."""
    import pandas

    if hasattr(train_target, "columns"):
        return of_features(train_target, [str(name) for name in train_target.columns], expected_value)
    name = getattr(train_target, "name", None)
    series = pandas.Series(train_target if hasattr(train_target, "index") else _flat(train_target))
    return {str(name) if name is not None else "target": _of_column(series, expected_value)}


def _flat(values: Any) -> Any:
    import numpy

    array = numpy.asarray(values)
    return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else list(array)


def _of_column(column: "pandas.Series[Any]", expected_value: str) -> dict[str, Any]:
    import pandas

    if pandas.api.types.is_bool_dtype(column.dtype):
        column = column.astype(float)
    elif column.dtype == object:
        with_numbers = pandas.to_numeric(column, errors="coerce")
        if with_numbers.notna().sum() == column.notna().sum():
            column = with_numbers
    if pandas.api.types.is_numeric_dtype(column.dtype):
        values = column.astype(float)
        expected = values.mean() if expected_value == "mean" else values.median()
        return {expected_value: _number(expected), "std": _number(values.std(ddof=0))}
    shares = column.astype(str).value_counts(normalize=True).head(_CATEGORIES)
    categories = {str(value): round(float(share), 6) for value, share in shares.items()}
    return {expected_value: None, "std": None, "categories": categories}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
