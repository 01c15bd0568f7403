"""Signatures of training data, as text: what goes into a model and what comes out.

Three forms:

- table: ``name type, name type`` with the types big_integer (32 and 64 bit), small_integer (8 and 16 bit,
  bool), float, text and timestamp;
- array: ``ndarray: float64 (26,)``, the type and the shape of one row;
- tensor: ``tensor: name float32 (3, 32, 32), name int64 (128,)``, the same per named input.
"""

from collections.abc import Mapping
from typing import Any

from a360runtime.signatures import (
    BIG,
    FLOAT,
    SMALL,
    TEXT,
    TIME,
    TYPES,
    UNKNOWN,
    column_types,
    tensors,
)

__all__ = [
    "BIG",
    "FLOAT",
    "SMALL",
    "TEXT",
    "TIME",
    "TYPES",
    "UNKNOWN",
    "as_array",
    "column_type",
    "column_types",
    "infer",
    "of_width",
    "tensors",
    "train_shape",
]


def infer(data: Any, name: str = "target") -> str:
    """Return the signature of training data.

    Args:
        data: DataFrame, Series, ndarray, tensor, list, or dict of arrays by input name.
        name: stands for a Series without a name.
    """
    if hasattr(data, "columns"):
        return ", ".join(
            f"{column} {column_type(data.iloc[:, position].dtype)}"
            for position, column in enumerate(data.columns)
        )
    if hasattr(data, "to_numpy") and hasattr(data, "index"):  # a Series
        return f"{name if data.name is None else data.name} {column_type(data.dtype)}"
    if isinstance(data, Mapping):
        return "tensor: " + ", ".join(f"{key} {_tensor(value)}" for key, value in data.items())
    if hasattr(data, "detach"):  # a torch tensor
        return f"tensor: input {_tensor(data)}"
    array = as_array(data)
    return f"ndarray: {array.dtype} {array.shape[1:]}"


def of_width(width: int | None) -> str:
    """Return the signature of input of which only the number of columns is known, or not even that."""
    return UNKNOWN if width is None else f"ndarray: float64 {(width,)}"


def column_type(dtype: Any) -> str:
    """Return the signature's type of a column's numpy or pandas type."""
    import pandas.api.types as kinds

    if kinds.is_bool_dtype(dtype):
        return SMALL
    if kinds.is_integer_dtype(dtype):
        return SMALL if dtype.itemsize <= 2 else BIG
    if kinds.is_float_dtype(dtype):
        return FLOAT
    if kinds.is_datetime64_any_dtype(dtype):
        return TIME
    if isinstance(dtype, kinds.CategoricalDtype):
        return column_type(dtype.categories.dtype)
    return TEXT


def train_shape(data: Any) -> list[int]:
    """Return the shape of one row: ``[26]``; of a dict of arrays, that of its first entry."""
    if isinstance(data, Mapping):
        data = next(iter(data.values()))
    shape = data.shape if hasattr(data, "shape") else as_array(data).shape
    return [int(size) for size in shape[1:]]


def as_array(data: Any) -> Any:
    """Return data as an ndarray."""
    import numpy

    return data.to_numpy() if hasattr(data, "to_numpy") else numpy.asarray(data)


def _tensor(value: Any) -> str:
    dtype = str(getattr(value, "dtype", None) or as_array(value).dtype).removeprefix("torch.")
    shape = tuple(int(size) for size in getattr(value, "shape", as_array(value).shape)[1:])
    return f"{dtype} {shape}"
