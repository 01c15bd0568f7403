"""Results as frames, fetched in pieces."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    from sqlalchemy import Connection

ROWS = 50_000
"""Rows fetched at once: their Python objects take many times the room of the columns they become."""


def read(connection: "Connection", statement: str, *, stream: bool = True) -> "pandas.DataFrame":
    """Run a statement and return all its rows.

    Args:
        connection: of a data source.
        statement: as the database shall get it: percent signs and colons mean nothing here.
        stream: have the server send the rows as they are fetched, where it can.
    """
    import pandas

    # Without this the driver would look for places of parameters in the statement.
    options = {"no_parameters": True, "stream_results": stream, "max_row_buffer": ROWS}
    result = connection.execution_options(**options).exec_driver_sql(statement)
    if not result.returns_rows:
        return pandas.DataFrame()
    names = list(result.keys())
    parts = [
        pandas.DataFrame.from_records([tuple(row) for row in rows], columns=names, coerce_float=True)
        for rows in result.partitions(ROWS)
    ]
    if not parts:
        return pandas.DataFrame(columns=names)
    if len(parts) == 1:
        return parts[0]
    _agree(parts)
    return pandas.concat(parts, ignore_index=True)


def _agree(parts: "list[pandas.DataFrame]") -> None:
    """Give a column of nothing but nulls the type it has in other pieces, as if all had been read at once."""
    for position in range(parts[0].shape[1]):
        columns: list[Any] = [part.iloc[:, position] for part in parts]
        kinds = {column.dtype.kind for column in columns}
        if kinds == {"O"} or "O" not in kinds:
            continue
        typed = next(column.dtype for column in columns if column.dtype.kind != "O")
        wanted: Any = {"i": "float64", "f": "float64", "M": typed}.get(typed.kind)
        for part, column in zip(parts, columns, strict=True):
            if wanted is not None and column.dtype.kind == "O" and column.isna().all():
                part.isetitem(position, column.astype(wanted))
