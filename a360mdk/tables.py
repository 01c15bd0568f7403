"""Tables in files: parquet, csv, json (read and written) and xlsx (read)."""

import importlib
import io
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from a360mdk.exceptions import DatasetError

if TYPE_CHECKING:
    import pandas

WRITTEN = ("csv", "json", "parquet")
READ = (*WRITTEN, "xlsx")
TARGETS = ("numpy", "pandas", "torch")


def suffix_of(key: str) -> str:
    """Return the suffix of a key as a format name: lower case, no dot, empty when it is no suffix.

    What follows the last dot counts as a suffix only when it starts with a letter: ``v1.2`` has none.
    """
    suffix = PurePosixPath(key).suffix.lower().lstrip(".")
    return suffix if re.fullmatch(r"[a-z]\w{0,7}", suffix) else ""


def target_of(file_key: str, target_format: str | None) -> tuple[str, str]:
    """Decide key and format of a data set to write.

    The suffix decides when no format is given; none of both means parquet; a disagreement is refused.

    Returns:
        The key with its suffix, and the format.

    Raises:
        DatasetError: the two disagree, or the format is not one that is written.
    """
    suffix = suffix_of(file_key)
    wanted = (target_format or "").lower().lstrip(".")
    if wanted and suffix and wanted != suffix:
        raise DatasetError(
            f"{file_key} was not written.",
            f"Its suffix says {suffix}, target_format says {target_format}.",
            "Leave target_format out, or let both say the same.",
        )
    chosen = wanted or suffix or "parquet"
    if chosen not in WRITTEN:
        raise DatasetError(
            f"{file_key} was not written.",
            f"{chosen!r} is not a format of data sets.",
            f"Choose one of {', '.join(WRITTEN)}.",
        )
    return (file_key if suffix else f"{file_key}.{chosen}"), chosen


def to_frame(data: Any) -> "pandas.DataFrame":
    """Turn an array, tensor, Series or DataFrame into a DataFrame with text column names.

    Raises:
        DatasetError: anything else, or an array of more than two dimensions.
    """
    import numpy
    import pandas

    if hasattr(data, "detach"):  # a torch tensor
        data = _array(data.detach().cpu())
    if isinstance(data, pandas.DataFrame):
        frame = data
    elif isinstance(data, pandas.Series):
        frame = data.to_frame(name="0" if data.name is None else data.name)
    elif isinstance(data, numpy.ndarray) and data.ndim in (1, 2):
        frame = pandas.DataFrame(data)
    else:
        shape = f" of shape {data.shape}" if isinstance(data, numpy.ndarray) else ""
        raise DatasetError(
            f"A {type(data).__name__}{shape} cannot be written as a data set.",
            "A data set is a table.",
            "Pass a DataFrame, a Series, or an ndarray or tensor of one or two dimensions.",
        )
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DatasetError(
            "The data set was not written.",
            f"Several columns have the name {', '.join(twice)}.",
            "Rename them first.",
        )
    return frame if names == list(frame.columns) else frame.set_axis(names, axis="columns")


def _array(tensor: Any) -> Any:
    try:
        return tensor.numpy()
    except TypeError:  # a type that numpy does not have, such as bfloat16
        return tensor.float().numpy()


def write(frame: "pandas.DataFrame", sink: Any, target_format: str) -> None:
    """Write a frame. csv and json keep a named index as a column and drop an unnamed one."""
    if target_format == "parquet":
        try:
            frame.to_parquet(sink, engine="pyarrow")
        except (TypeError, ValueError) as error:  # pyarrow's errors derive from these
            raise DatasetError(
                "The data set was not written as parquet.",
                str(error),
                "Give every column one type (for example df[col].astype(str)), or write csv.",
            ) from error
        return
    flat = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    if target_format == "csv":
        flat.to_csv(sink, index=False)
    elif target_format == "json":
        flat.to_json(sink, orient="records", date_format="iso")
    else:
        raise DatasetError(
            f"The data set was not written as {target_format}.",
            "That is not a format of data sets.",
            f"Choose one of {', '.join(WRITTEN)}.",
        )


def source_format_of(key: str, source_format: str | None) -> str:
    """Decide the format to read a key in.

    Raises:
        DatasetError: neither the argument nor the suffix names a format that is read.
    """
    chosen = (source_format or suffix_of(key)).lower().lstrip(".")
    if chosen not in READ:
        named = f"{chosen!r} is not a format it reads." if chosen else "The key has no suffix."
        raise DatasetError(
            f"load_dataset cannot tell how to read {key}.",
            named,
            f"Pass source_format as one of {', '.join(READ)}; for other files use get_file({key!r}).",
        )
    return chosen


def read(
    source: Any,
    source_format: str,
    *,
    header: Any = "infer",
    names: Sequence[str] | None = None,
    separator: str = ",",
) -> "pandas.DataFrame":
    """Read a table.

    Args:
        source: readable and seekable file object.
        source_format: csv, json, parquet or xlsx.
        header: row of the column names, for csv and xlsx, as in pandas: "infer" is the first row, or none
            where names are given.
        names: column names to use instead.
        separator: between the columns of a csv; blanks count as one.
    """
    import pandas

    wanted = None if names is None else list(names)
    if source_format == "parquet":
        return _renamed(pandas.read_parquet(source, engine="pyarrow"), wanted)
    if source_format == "csv":
        blanks = separator == " "
        return pandas.read_csv(source, header=header, names=wanted, sep=r"\s+" if blanks else separator)
    if source_format == "json":
        return _renamed(_read_json(source), wanted)
    try:
        importlib.import_module("openpyxl")  # pandas imports it by name; asked here for a clear error
    except ImportError as error:
        raise DatasetError(
            "xlsx files cannot be read in this environment.",
            "The package openpyxl is not installed.",
            "Run !pip install openpyxl in a cell and try again.",
        ) from error
    first = (0 if wanted is None else None) if header == "infer" else header
    return pandas.read_excel(io.BytesIO(source.read()), header=first, names=wanted, engine="openpyxl")


def _renamed(frame: "pandas.DataFrame", names: list[str] | None) -> "pandas.DataFrame":
    if names is None:
        return frame
    if len(names) != frame.shape[1]:
        raise DatasetError(
            "The columns could not be named.",
            f"There are {frame.shape[1]} columns and {len(names)} names.",
            "Pass one name for each column, or leave names out.",
        )
    return frame.set_axis(names, axis="columns")


def _read_json(source: Any) -> "pandas.DataFrame":
    import pandas

    text = source.read()
    try:
        return pandas.read_json(io.BytesIO(text))
    except ValueError as error:
        if "Trailing data" not in str(error):
            raise
        return pandas.read_json(io.BytesIO(text), lines=True)


def to_target(frame: "pandas.DataFrame", target_format: str) -> Any:
    """Return the frame as "pandas", "numpy" or "torch".

    Raises:
        DatasetError: unknown target, torch not installed, or text columns for a tensor.
    """
    if target_format == "pandas":
        return frame
    if target_format == "numpy":
        return frame.to_numpy()
    if target_format not in ("torch", "tensor", "pytorch"):
        raise DatasetError(
            f"The data set was not loaded: target_format {target_format!r} is unknown.",
            "It names what comes back: a DataFrame, an array or a tensor.",
            f"Use one of {', '.join(TARGETS)}.",
        )
    try:
        import torch
    except ImportError as error:
        raise DatasetError(
            "The data set was not loaded as a tensor.",
            "The package torch is not installed in this environment.",
            'Use target_format="numpy", or a workspace of the pytorch flavor.',
        ) from error
    try:
        array = frame.to_numpy()
        numbers = [kind for kind in frame.dtypes if getattr(kind, "kind", "O") in "biuf"]
        if array.dtype == object and len(numbers) == frame.shape[1]:  # such as true and false beside floats
            array = frame.astype("float64").to_numpy()
        return torch.tensor(array)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            "The data set was not loaded as a tensor.",
            f"A tensor holds numbers only: {error}",
            "Turn text columns into numbers first.",
        ) from error
