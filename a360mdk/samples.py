"""Rows on which a model and its ONNX form are compared: sampled from the training data, and at its edges."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from a360mdk.signature import as_array

COLUMNS = 16
"""Most columns whose extremes and gaps get rows of their own; of a wider table every n-th one."""
UNSEEN = "never seen in training"


@dataclass(frozen=True)
class Rows:
    """Rows and where they come from.

    Attributes:
        data: as the model takes them: a DataFrame, an array, or arrays by input name.
        places: of each row, in words: "training row 17", "training row 3 without tenure".
        edges: how many of them, the last ones, were picked or made for lying at an edge.
        made: whether all of them were made up, for want of training data.
    """

    data: Any
    places: tuple[str, ...]
    edges: int = 0
    made: bool = False


def sampled(features: Any, count: int = 100) -> Rows | None:
    """Pick rows, spread evenly over the training data; None when there is none.

    Args:
        features: DataFrame, array, tensor, list, or dict of arrays by input name.
        count: most rows.
    """
    import numpy

    total = length(features)
    if not total:
        return None
    positions = sorted({int(position) for position in numpy.linspace(0, total - 1, min(count, total))})
    return at(features, positions)


def at(features: Any, positions: Sequence[int]) -> Rows:
    """Return the rows at these positions of the training data."""
    return Rows(_picked(features, positions), tuple(f"training row {position}" for position in positions))


def length(features: Any) -> int:
    """Number of rows; 0 of None and of what has none."""
    if features is None:
        return 0
    if isinstance(features, Mapping):
        return min((length(column) for column in features.values()), default=0)
    return len(features)


def made(rows: Any) -> Rows:
    """Wrap made-up rows."""
    return Rows(rows, tuple(f"made-up row {number}" for number in range(length(rows))), made=True)


def edges(features: Any, taken: Rows, missing: bool) -> Iterator[Rows]:
    """Yield groups of rows at the edges: column extremes, zeros, unknown categories, missing values.

    A model may refuse a group, or single rows of it; those say nothing about its ONNX form.

    Args:
        features: the training data.
        taken: rows sampled from it; edges are made from its first row.
        missing: whether the framework's models take missing values at all.
    """
    if isinstance(features, Mapping):
        return
    shape = getattr(taken.data, "shape", ())
    if len(shape) == 1 and taken.data.dtype.kind in "OUT":
        yield Rows(
            as_array(["", UNSEEN]).astype(taken.data.dtype), ("an empty text", "a text of other words")
        )
        return
    if len(shape) != 2:
        yield from _edges_of_tensors(features, taken)
        return
    if hasattr(taken.data, "columns"):
        yield from _edges_of_frame(features, taken, missing)
    elif taken.data.dtype.kind in "fiub":
        yield from _edges_of_array(features, taken, missing)


def joined(groups: Sequence[Rows]) -> Rows:
    """Put groups one behind the other; the first one holds the training rows."""
    import numpy

    if len(groups) == 1:
        return groups[0]
    parts = [group.data for group in groups]
    if hasattr(parts[0], "columns"):
        import pandas

        data: Any = pandas.concat(parts, ignore_index=True)
    elif isinstance(parts[0], Mapping):
        data = {name: numpy.concatenate([part[name] for part in parts]) for name in parts[0]}
    else:
        data = numpy.concatenate(parts)
    places = tuple(place for group in groups for place in group.places)
    edge_rows = groups[0].edges + sum(len(group.places) for group in groups[1:])
    return Rows(data, places, edge_rows, groups[0].made)


def only(rows: Rows, positions: Sequence[int]) -> Rows:
    """Return some of the rows, in order."""
    first_edge = len(rows.places) - rows.edges
    return Rows(
        _picked(rows.data, positions),
        tuple(rows.places[position] for position in positions),
        sum(position >= first_edge for position in positions),
        rows.made,
    )


def _picked(features: Any, positions: Sequence[int]) -> Any:
    if isinstance(features, Mapping):
        return {name: _picked(column, positions) for name, column in features.items()}
    if hasattr(features, "columns"):
        return features.iloc[list(positions)]
    if hasattr(features, "detach"):
        features = features.detach().cpu().numpy()
    return as_array(features)[list(positions)]


def _edges_of_array(features: Any, taken: Rows, missing: bool) -> Iterator[Rows]:
    import numpy

    table = as_array(features)
    columns = _spread(table.shape[1])
    yield _with_extremes(features, {f"column {c}": table[:, c] for c in columns})
    yield Rows(numpy.zeros_like(taken.data[:1]), ("a row of zeros",))
    if not missing:
        return
    base = numpy.repeat(taken.data[:1].astype(float), len(columns) + 1, axis=0)
    for number, column in enumerate(columns):
        base[number, column] = numpy.nan
    base[-1] = numpy.nan
    yield Rows(base, (*_without(taken, [f"column {c}" for c in columns]), "a row of missing values"))


def _edges_of_frame(features: Any, taken: Rows, missing: bool) -> Iterator[Rows]:
    import pandas
    import pandas.api.types as kinds

    frame = taken.data
    types = list(frame.dtypes)
    numbers = [c for c, t in enumerate(types) if kinds.is_numeric_dtype(t) and not kinds.is_bool_dtype(t)]
    texts = [c for c, t in enumerate(types) if kinds.is_object_dtype(t) or isinstance(t, pandas.StringDtype)]
    names = [str(name) for name in frame.columns]
    shown = [numbers[position] for position in _spread(len(numbers))]
    yield _with_extremes(features, {names[c]: features.iloc[:, c].to_numpy() for c in shown})
    if numbers:
        yield Rows(_changed(frame, [(numbers, 0)]), ("a row of zeros",))
    texts_shown = [texts[position] for position in _spread(len(texts))]
    if texts_shown:
        yield Rows(
            _changed(frame, [([column], UNSEEN) for column in texts_shown]),
            tuple(f"{taken.places[0]} with an unknown {names[c]}" for c in texts_shown),
        )
    if missing:
        gaps = [*shown, *texts_shown]
        every = [column for column, t in enumerate(types) if not kinds.is_bool_dtype(t)]
        yield Rows(
            _changed(frame, [*(([column], None) for column in gaps), (every, None)]),
            (*_without(taken, [names[column] for column in gaps]), "a row of missing values"),
        )


def _edges_of_tensors(features: Any, taken: Rows) -> Iterator[Rows]:
    """Images, series, token numbers: the rows with the lowest and the highest content, and one of zeros."""
    import numpy

    if getattr(getattr(taken.data, "dtype", None), "kind", "") not in tuple("fiub"):
        return
    sums = taken.data.reshape(len(taken.data), -1).astype(float).sum(axis=1)
    positions = sorted({int(numpy.argmin(sums)), int(numpy.argmax(sums))})
    yield Rows(taken.data[positions], tuple(f"{taken.places[p]} (an extreme)" for p in positions))
    yield Rows(numpy.zeros_like(taken.data[:1]), ("a row of zeros",))


def _with_extremes(features: Any, columns: Mapping[str, Any]) -> Rows:
    """The training rows with the lowest and the highest value of each column."""
    import numpy

    found: dict[int, str] = {}
    for name, values in columns.items():
        numbers = numpy.asarray(values, dtype=float)
        known = numpy.flatnonzero(~numpy.isnan(numbers))
        if known.size:
            found.setdefault(int(known[numpy.argmin(numbers[known])]), f"the lowest {name}")
            found.setdefault(int(known[numpy.argmax(numbers[known])]), f"the highest {name}")
    return Rows(
        _picked(features, list(found)),
        tuple(f"training row {position} ({why})" for position, why in found.items()),
    )


def _changed(frame: Any, changes: Sequence[tuple[Sequence[int], Any]]) -> Any:
    """Copies of the first row, each with a value put into some columns; None stands for missing."""
    import numpy
    import pandas
    import pandas.api.types as kinds

    columns = []
    for position in range(frame.shape[1]):
        column = frame.iloc[:1, position]
        values = [
            column.iloc[0] if position not in where else numpy.nan if value is None else value
            for where, value in changes
        ]
        numeric = kinds.is_numeric_dtype(column.dtype)
        if not any(position in where for where, _ in changes):
            dtype: Any = column.dtype
        elif numeric:
            dtype = float if any(value is None for _, value in changes) else column.dtype
        else:
            dtype = object
        columns.append(pandas.Series(values, dtype=dtype))
    changed = pandas.concat(columns, axis=1)
    changed.columns = frame.columns
    return changed


def _without(taken: Rows, names: Sequence[str]) -> list[str]:
    return [f"{taken.places[0]} without {name}" for name in names]


def _spread(total: int) -> list[int]:
    """At most COLUMNS positions, spread evenly."""
    import numpy

    return sorted({int(position) for position in numpy.linspace(0, total - 1, min(total, COLUMNS))})
