"""Rows for a scikit-learn model without training data, made up from what it learnt."""

from collections.abc import Iterator, Sequence
from typing import Any

from a360mdk.flavors.sklearn_graph import first_step, parts, picked

ROWS = 60
_PER_COLUMN = ("mean_", "center_", "data_min_", "data_max_", "statistics_", "offset_")
_TABLES = ("cluster_centers_", "support_vectors_", "_fit_X", "means_", "theta_", "components_", "X_train_")


def made_rows(model: Any, names: Sequence[str], texts: set[str]) -> Any:
    """Return rows of values that the model tells apart, always the same ones.

    Args:
        model: the fitted estimator.
        names: of its columns.
        texts: those that hold text.
    """
    import numpy
    import pandas

    random = numpy.random.default_rng(0)
    known: dict[int, list[Any]] = {position: [] for position in range(len(names))}
    _learn(model, list(range(len(names))), list(names), known)
    columns = [
        _texts(random, known[position]) if name in texts else _numbers(random, known[position])
        for position, name in enumerate(names)
    ]
    if texts or hasattr(model, "feature_names_in_"):
        frame = pandas.DataFrame(dict(enumerate(columns)))
        frame.columns = pandas.Index(list(names))
        return frame
    return numpy.column_stack(columns)


def _texts(random: Any, known: Sequence[Any]) -> Any:
    import numpy

    values = [value for value in known if isinstance(value, str)] or ["a", "b"]
    return numpy.array(values, dtype=object)[random.integers(0, len(values), ROWS)]


def _numbers(random: Any, known: Sequence[Any]) -> Any:
    """Values that were learnt, and others around them; without any, values around nought."""
    import numpy

    values = numpy.array([value for value in known if isinstance(value, int | float)], dtype=float)
    values = values[numpy.isfinite(values)]
    if not values.size:
        return random.normal(size=ROWS) * random.choice([0.1, 1.0, 10.0], ROWS)
    spread = values.std() or abs(values[0]) or 1.0
    around = values[random.integers(0, values.size, ROWS)] + random.normal(size=ROWS) * spread
    # Categories coded as numbers are taken as they are.
    whole = bool((values == values.round()).all())
    return values[random.integers(0, values.size, ROWS)] if whole else around


def _learn(model: Any, columns: Sequence[int], names: Sequence[str], known: dict[int, list[Any]]) -> None:
    """Collect, by column, the values that the first thing a model does knows."""
    first = first_step(model)
    if hasattr(first, "transformers_"):
        for _, transformer, chosen in first.transformers_:
            if hasattr(transformer, "get_params"):
                inside = [columns[names.index(name)] for name in picked(chosen, names)]
                _learn(transformer, inside, [names[columns.index(c)] for c in inside], known)
        return
    for part in parts(first):
        for position, values in _values(part, len(columns)):
            known[columns[position]].extend(values)


def _values(part: Any, width: int) -> Iterator[tuple[int, list[Any]]]:
    for position, categories in enumerate(getattr(part, "categories_", ())):
        if position < width:
            yield position, list(categories.tolist())
    for name in _PER_COLUMN:
        found: Any = getattr(part, name, None)
        if getattr(found, "shape", None) == (width,):
            yield from ((position, [value]) for position, value in enumerate(found.tolist()))
    for name in _TABLES:
        found = getattr(part, name, None)
        if getattr(found, "ndim", 0) == 2 and found.shape[1] == width and hasattr(found, "tolist"):
            yield from ((position, found[:200, position].tolist()) for position in range(width))
    for tree in _trees(part):
        inner = tree.children_left >= 0
        for position, threshold in zip(tree.feature[inner], tree.threshold[inner], strict=True):
            yield int(position), [float(threshold)]


def _trees(part: Any) -> Iterator[Any]:
    if hasattr(part, "tree_"):
        yield part.tree_
    held = getattr(part, "estimators_", None)
    for entry in [] if held is None else list(getattr(held, "ravel", lambda: held)())[:20]:
        if hasattr(entry, "tree_"):
            yield entry.tree_
