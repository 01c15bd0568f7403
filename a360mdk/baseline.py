"""Baselines for drift: what training data looked like, per feature and for the target.

An entry holds the expected value ("mean" or "median") and the standard deviation ("std"), and for comparing
distributions later (PSI) one of these:

- numbers: ``bins``, the edges from the smallest to the largest value, and ``frequencies``, the share of the
  values in each bin from an edge up to the next one, the last one with both ends;
- all else: ``categories``, the share of each value, and ``other``, the share of the rarer ones.

``missing`` is the share of rows without a value, where there are any; shares are of the rows with one.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from a360mdk.exceptions import ExperimentError

if TYPE_CHECKING:
    import numpy
    import pandas

EXPECTED_VALUES = ("mean", "median")
_DETAIL = ((10, 100), (5, 20), (0, 0))
"""Bins and categories of a feature: fewer where there are too many features for the platform to take."""
_MOST_BYTES, _MOST_VALUES, _MOST_CONTAINERS = 900_000, 45_000, 15_000
_LONGEST = 200
"""Characters of a category; longer text is no category, it counts among the others."""


def feature_names_of(train_features: Any, feature_names: Sequence[str] | None, monitored: bool) -> list[str]:
    """Return the names of features in order.

    Args:
        train_features: DataFrame, ndarray, list of rows, dict of columns, or None.
        feature_names: names given by the user; a DataFrame brings its own.
        monitored: drift is to be monitored, so names are needed.

    Raises:
        ExperimentError: names are needed and missing, are not unique, or do not fit the columns.
    """
    own = _own_names(train_features) if hasattr(train_features, "columns") or monitored else None
    if own is not None:
        if feature_names is not None and [str(name) for name in feature_names] != own:
            raise ExperimentError(
                "feature_names and the columns of train_features differ.",
                f"feature_names: {list(feature_names)}; columns: {own}.",
                "Leave feature_names out: a DataFrame brings its own names.",
            )
        if monitored:
            _require_unique(own, "train_features has two columns of one name.")
        return own
    names = [str(name) for name in feature_names] if feature_names is not None else []
    _require_unique(names, "feature_names holds a name twice.")
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
    width = _width(train_features)
    if width is not None and width != len(names):
        raise ExperimentError(
            "feature_names does not fit train_features.",
            f"There are {len(names)} names for {width} columns.",
            "Pass one name per column, in order.",
        )
    return names


def of_features(train_features: Any, names: Sequence[str], expected_value: str) -> dict[str, dict[str, Any]]:
    """Return ``{feature: {"mean": 0.1, "std": 0.9, ...}}`` in the order of the features.

    Args:
        train_features: DataFrame, 2-D array, list of rows, or dict of columns.
        names: one per column.
        expected_value: "mean" or "median".

    Raises:
        ExperimentError: it is no table.
    """
    table = _table(train_features)
    columns = [(name, table.iloc[:, position]) for position, name in enumerate(names)]
    found: dict[str, dict[str, Any]] = {}
    for bins, categories in _DETAIL:
        found = {name: _of_column(column, expected_value, bins, categories) for name, column in columns}
        if _fits(found):
            break
    return found


def of_target(train_target: Any, expected_value: str) -> dict[str, dict[str, Any]]:
    """Return the baseline of the target under its name ("target" without one), of a frame per column.

    Args:
        train_target: Series, array, list, or a frame of several targets.
        expected_value: "mean" or "median".
    """
    import numpy
    import pandas

    if hasattr(train_target, "columns"):
        return of_features(train_target, [str(name) for name in train_target.columns], expected_value)
    if hasattr(train_target, "index") and hasattr(train_target, "to_numpy"):
        name, series = train_target.name, train_target
    else:
        array = numpy.asarray(_on_cpu(train_target))
        if array.ndim == 2 and array.shape[1] > 1:
            return of_features(array, [f"target_{n}" for n in range(array.shape[1])], expected_value)
        if array.ndim > 2:
            raise ExperimentError(
                "Drift monitoring needs one target a row.",
                f"train_target has the shape {array.shape}.",
                "Pass a Series or an array of one value per example.",
            )
        name, series = None, pandas.Series(array.ravel())
    return of_features(series.to_frame(), [str(name) if name is not None else "target"], expected_value)


def shown(baseline: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]] | None:
    """Return a baseline as lists show it: expected value and standard deviation of each feature."""
    if baseline is None:
        return None
    return {
        name: {key: entry[key] for key in _of_lists(entry) if key in entry}
        for name, entry in baseline.items()
    }


def _of_lists(entry: Mapping[str, Any]) -> tuple[str, str]:
    return ("median" if "median" in entry else "mean"), "std"


def _require_unique(names: Sequence[str], what: str) -> None:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise ExperimentError(what, f"Twice: {', '.join(twice[:10])}.", "Make the names unique.")


def _own_names(features: Any) -> list[str] | None:
    """Names that features bring along: a frame, a Series with a name, columns or rows by name."""
    if hasattr(features, "columns"):
        return [str(name) for name in features.columns]
    if hasattr(features, "index") and hasattr(features, "to_frame"):
        return None if features.name is None else [str(features.name)]
    if isinstance(features, Mapping):
        return [str(name) for name in features]
    if isinstance(features, list) and features and all(isinstance(row, Mapping) for row in features):
        return [str(name) for name in dict.fromkeys(name for row in features for name in row)]
    return None


def _width(features: Any) -> int | None:
    """How many columns there are, where that can be told."""
    shape = getattr(features, "shape", None)
    if shape is None and isinstance(features, (list, tuple)) and features:
        return len(features[0]) if isinstance(features[0], (list, tuple)) else 1
    if shape is None or len(shape) > 2:
        return None
    return int(shape[1]) if len(shape) == 2 else 1


def _table(features: Any) -> "pandas.DataFrame":
    """Return features as a frame.

    Raises:
        ExperimentError: they are no table.
    """
    import numpy
    import pandas

    if hasattr(features, "columns"):
        return pandas.DataFrame(features)
    if hasattr(features, "index") and hasattr(features, "to_frame"):
        return pandas.DataFrame(features.to_frame())
    named = _own_names(features)
    try:
        if named is not None:
            return pandas.DataFrame(features, columns=list(named))
        values = features if isinstance(features, list) else numpy.asarray(_on_cpu(features))
        table = pandas.DataFrame(values)
        whole = getattr(values, "ndim", 2) <= 2
    except (ValueError, TypeError):
        table, whole = pandas.DataFrame(), False
    if not whole:
        raise ExperimentError(
            "Drift monitoring needs a table of features.",
            f"train_features has the shape {tuple(getattr(features, 'shape', ()))}."
            if hasattr(features, "shape")
            else f"train_features is a {type(features).__name__} that makes no table.",
            "Pass one row per example and one column per feature.",
        )
    return table


def _on_cpu(values: Any) -> Any:
    """Tensors and sparse matrices as arrays."""
    if hasattr(values, "detach"):
        return values.detach().cpu().numpy()
    return values.toarray() if hasattr(values, "toarray") else values


def _fits(found: Mapping[str, Any]) -> bool:
    """Whether the platform takes it in one call."""
    text = json.dumps(found)
    return (
        len(text) <= _MOST_BYTES
        and text.count(",") <= _MOST_VALUES
        and text.count("[") + text.count("{") <= _MOST_CONTAINERS
    )


def _of_column(
    column: "pandas.Series[Any]", expected_value: str, bins: int, categories: int
) -> dict[str, Any]:
    values = _numbers(column)
    missing = round(float(column.isna().mean()), 6) if len(column) else 0.0
    lacking = {"missing": missing} if missing else {}
    if values is None:
        return {expected_value: None, "std": None, **_categories(column, categories), **lacking}
    import numpy

    known = values[~numpy.isnan(values)]
    entry: dict[str, Any] = {expected_value: None, "std": None}
    if known.size:
        with numpy.errstate(all="ignore"):  # infinite values have no mean
            mean, median = known.mean(), numpy.median(known)
            entry[expected_value] = _number(mean if expected_value == "mean" else median)
            entry["std"] = _number(known.std())
        if expected_value != "mean":
            entry["mean"] = _number(mean)  # outliers are counted from the mean, whatever is expected
    return {**entry, **_distribution(known, bins), **lacking}


def _numbers(column: "pandas.Series[Any]") -> "numpy.ndarray[Any, Any] | None":
    """Return a column as floats, NaN where it holds nothing; None when it holds no numbers."""
    import numpy
    import pandas

    kinds = pandas.api.types
    if column.dtype == object:
        if column.map(lambda value: isinstance(value, str | bytes)).any():
            return None  # texts of digits are texts: an endpoint is sent them as such
        converted = pandas.to_numeric(column, errors="coerce")
        if converted.notna().sum() != column.notna().sum():
            return None
        column = converted
    if kinds.is_complex_dtype(column.dtype):
        return None
    if kinds.is_bool_dtype(column.dtype) or kinds.is_numeric_dtype(column.dtype):
        return numpy.asarray(column.to_numpy(dtype=float, na_value=numpy.nan))
    return None


def _distribution(known: "numpy.ndarray[Any, Any]", most: int) -> dict[str, Any]:
    """Return edges and shares: a bin for each of a few values, else about as many values in each."""
    import numpy

    finite = known[numpy.isfinite(known)]
    if not finite.size or not most:
        return {}
    different = numpy.unique(finite)
    if different.size <= most:
        between = (different[:-1] + different[1:]) / 2
        edges = numpy.concatenate([different[:1], between, different[-1:]])
    else:
        edges = numpy.unique(numpy.quantile(finite, numpy.linspace(0, 1, most + 1)))
    inner = numpy.searchsorted(edges[1:-1], finite, side="right")
    counts = numpy.bincount(inner, minlength=max(1, edges.size - 1))
    return {
        "bins": [float(edge) for edge in edges],
        "frequencies": [round(float(count / finite.size), 6) for count in counts],
    }


def _categories(column: "pandas.Series[Any]", most: int) -> dict[str, Any]:
    known = column.dropna().astype(str)
    shares = known[known.str.len() <= _LONGEST].value_counts() / max(1, len(known))
    kept = {str(value): round(float(share), 6) for value, share in shares.head(most).items()}
    other = round(max(0.0, 1 - float(shares.head(most).sum())), 6) if len(known) else 0.0
    return {"categories": kept, **({"other": other} if other else {})}


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
