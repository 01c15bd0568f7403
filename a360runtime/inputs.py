"""From what callers hand in to the arrays an ONNX graph takes.

pandas is never imported: frames and series are known by their attributes, so a served model needs numpy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MISSING_TEXT = "nan"

_DTYPES: dict[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


@dataclass(frozen=True)
class GraphInput:
    """One input of a graph: its name, numpy type and shape (None where any length fits)."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, node: Any) -> "GraphInput":
        """Read it off ONNX Runtime's description of the input."""
        if node.type not in _DTYPES:
            raise ValueError(f"Input {node.name} has the type {node.type}, which cannot be fed from arrays.")
        shape = tuple(size if isinstance(size, int) else None for size in node.shape)
        return cls(node.name, np.dtype(_DTYPES[node.type]), shape)


def build_feeds(data: Any, inputs: Sequence[GraphInput], feature_names: Sequence[str]) -> dict[str, Array]:
    """Turn rows of features into one array per graph input.

    Args:
        data: 2-D array, list of rows, one row, DataFrame, Series (a row, or of a table with one column its
            rows), dict of columns or of one row, records.
        inputs: the graph's inputs; several mean one per column.
        feature_names: names in training order when known; named data is put in that order.

    Raises:
        ValueError: the data does not fit the graph; the message says what it takes.
    """
    only = inputs[0]
    if len(inputs) > 1 or _is_one_of(feature_names, only):
        return _feeds_per_column(data, inputs, feature_names)
    if type(data) is np.ndarray and _fits(data, only):
        return {only.name: np.ascontiguousarray(data, dtype=only.dtype)}
    if _holds_rows(data, only, feature_names):
        data = data.to_numpy()
    if isinstance(data, Mapping) and only.name in data and only.name not in feature_names:
        return feeds_by_name(data, inputs)
    columns = _columns_of(data)
    if columns is None:
        array = cast(data, only)
    else:
        ordered = _in_order(columns, feature_names)
        array = np.concatenate([cast(column, only).reshape(-1, 1) for column in ordered], axis=1)
    return {only.name: _as_rows(array, only)}


def _fits(data: Array, only: GraphInput) -> bool:
    """Whether an array of floats has the shape of a graph of floats: what most scripts hand over."""
    shape = only.shape
    if data.ndim != 2 or len(shape) != 2 or data.dtype.kind != "f" or only.dtype.kind != "f":
        return False
    return shape[1] in (None, data.shape[1]) and shape[0] in (None, data.shape[0])


def _is_one_of(feature_names: Sequence[str], only: GraphInput) -> bool:
    """Whether a graph's only input is one column of a table, whose other columns it does not need."""
    return len(feature_names) > 1 and only.name in feature_names and only.shape[-1:] == (1,)


def _holds_rows(data: Any, only: GraphInput, feature_names: Sequence[str]) -> bool:
    """Whether a Series holds one value a row, as of a table with one column; else it is a row itself."""
    if hasattr(data, "columns") or not (hasattr(data, "index") and hasattr(data, "to_numpy")):
        return False
    named = bool(feature_names) and all(name in data.index for name in feature_names)
    return len(only.shape) == 2 and only.shape[1] == 1 and not named


def feeds_by_name(data: Mapping[str, Any], inputs: Sequence[GraphInput]) -> dict[str, Array]:
    """Feed each graph input from the entry of its name; entries the graph does not know are left out."""
    missing = [graph_input.name for graph_input in inputs if graph_input.name not in data]
    if missing:
        raise ValueError(f"The model takes the inputs {_names(inputs)}; {', '.join(missing)} is missing.")
    return {graph_input.name: cast(data[graph_input.name], graph_input) for graph_input in inputs}


def cast(values: Any, graph_input: GraphInput) -> Array:
    """Cast values to the input's type; text to str, whatever it is."""
    dtype = graph_input.dtype
    if hasattr(values, "detach"):  # a torch tensor
        values = values.detach().cpu().numpy()
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if dtype == np.object_:
        flat = np.array([_as_text(value) for value in array.ravel()], dtype=object)
        return flat.reshape(array.shape)
    if array.dtype == np.object_ and np.issubdtype(dtype, np.floating):
        # None and pandas.NA mean "no value" in a table; floats have a value for that.
        array = np.array([_or_nan(value) for value in array.ravel()], dtype=object).reshape(array.shape)
    try:
        if np.issubdtype(dtype, np.integer) and array.dtype.kind in "fO":
            finite = np.isfinite(array.astype(np.float64))
            if not finite.all():
                raise ValueError("missing or infinite values cannot be whole numbers")
        return np.ascontiguousarray(array.astype(dtype))
    except (TypeError, ValueError) as error:
        raise ValueError(f"Input {graph_input.name} takes {dtype.name} values: {error}.") from error


def _as_text(value: Any) -> str:
    """Text as graphs know it; of a missing value, in whatever form it comes, the word NumPy has for it."""
    missing = value is None or type(value).__name__ == "NAType" or value != value
    return MISSING_TEXT if missing else str(value)


def _or_nan(value: Any) -> Any:
    return np.nan if value is None or type(value).__name__ == "NAType" else value


def _columns_of(data: Any) -> dict[str, Any] | None:
    """Named columns of frames, dicts and records; None for data without names."""
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return {str(name): data.iloc[:, position].to_numpy() for position, name in enumerate(data.columns)}
    if isinstance(data, Mapping):
        return {str(name): _as_column(values) for name, values in data.items()}
    if isinstance(data, Sequence) and len(data) and all(isinstance(row, Mapping) for row in data):
        return {str(name): _as_column([row.get(name) for row in data]) for name in data[0]}
    if hasattr(data, "index") and hasattr(data, "to_numpy"):  # a Series is one row, named by its index
        return {str(name): _as_column(value) for name, value in zip(data.index, data.to_numpy(), strict=True)}
    return None


def _as_column(values: Any) -> Array:
    if isinstance(values, str) or np.ndim(values) == 0:
        return np.array([values], dtype=object)
    return np.array(list(values), dtype=object)


def _in_order(columns: dict[str, Any], feature_names: Sequence[str]) -> list[Any]:
    if feature_names and all(name in columns for name in feature_names):
        return [columns[name] for name in feature_names]
    return list(columns.values())


def _as_rows(array: Array, graph_input: GraphInput) -> Array:
    rank = len(graph_input.shape)
    width = graph_input.shape[-1] if rank else None
    if rank == 2 and array.ndim == 1 and width == 1:
        array = array.reshape(-1, 1)  # a single feature: a flat list is its rows
    elif array.ndim == rank - 1:
        array = array[np.newaxis, ...]
    fits = array.ndim == rank and all(
        wanted is None or wanted == got for wanted, got in zip(graph_input.shape, array.shape, strict=True)
    )
    if not fits:
        wanted_shape = "(" + ", ".join("rows" if s is None else str(s) for s in graph_input.shape) + ")"
        raise ValueError(f"The model takes an array of shape {wanted_shape}; got {array.shape}.")
    return array


def _feeds_per_column(
    data: Any, inputs: Sequence[GraphInput], feature_names: Sequence[str]
) -> dict[str, Array]:
    columns = _columns_of(data)
    if columns is None:
        table = np.array(data, dtype=object)
        table = table.reshape(1, -1) if table.ndim == 1 else table
        if table.ndim == 2 and table.shape[1] == len(feature_names):
            # By the names of training, of which the graph may have dropped those that do not count.
            named = {name: table[:, position] for position, name in enumerate(feature_names)}
            return feeds_by_name({i.name: _with_rank(cast(named[i.name], i), i) for i in inputs}, inputs)
        if table.ndim != 2 or table.shape[1] != len(inputs):
            raise ValueError(
                f"The model takes {len(inputs)} columns ({_names(inputs)}); got shape {table.shape}."
            )
        return {i.name: _with_rank(cast(table[:, position], i), i) for position, i in enumerate(inputs)}
    if all(graph_input.name in columns for graph_input in inputs):
        return {i.name: _with_rank(cast(columns[i.name], i), i) for i in inputs}
    if hasattr(data, "to_numpy") and len(columns) == len(inputs):  # other names, same table: by position
        return {
            i.name: _with_rank(cast(column, i), i) for i, column in zip(inputs, columns.values(), strict=True)
        }
    return feeds_by_name(columns, inputs)


def _with_rank(array: Array, graph_input: GraphInput) -> Array:
    return array.reshape(-1, 1) if array.ndim == 1 and len(graph_input.shape) == 2 else array


def _names(inputs: Sequence[GraphInput]) -> str:
    return ", ".join(graph_input.name for graph_input in inputs)
