"""Does a body fit the model's signature? What does not is named by its field."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from a360runtime.serving.answers import read_json
from a360runtime.signatures import BIG, FLOAT, SMALL, TEXT, TIME, column_types, tensors

MOST_ERRORS = 20
"""Errors one answer names."""

ENFORCE, EXPLAIN, OFF = "enforce", "explain", "off"
"""Modes of a package, see :func:`mode_of`."""

_INTEGERS = {BIG: 64, SMALL: 16}
_WORDS = {BIG: "a whole number", SMALL: "a whole number", FLOAT: "a number", TEXT: "text", TIME: "a time"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `row` counts from 1 and is None for a body of one row."""

    field: str
    message: str
    row: int | None = None

    def __str__(self) -> str:
        return f"{self.field}{f' (row {self.row})' if self.row else ''} {self.message}"


class InputCheck:
    """Checks documents against the fields of a signature.

    Takes a row as an object or a list in the order of the features, several of them, columns, and pandas'
    form "split"; fields beyond those of the signature are the script's business.

    Parameters
    ----------
    fields
        The signature's type of each feature, in the order of training.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        # A row that is an object of plain numbers is what most callers send, and needs no more than this.
        self._plain = tuple(self.fields.items())

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "InputCheck | None":
        """Return the check of a package; None where its signature names no fields."""
        fields = fields_of(manifest)
        return cls(fields) if fields else None

    def errors(self, document: Any) -> list[FieldError]:
        """Return what does not fit, at most `MOST_ERRORS`; empty for a document that does."""
        if type(document) is dict and self._fits_plainly(document):
            return []
        found: list[FieldError] = []
        for error in self._look(document):
            found.append(error)
            if len(found) == MOST_ERRORS:
                break
        return found

    def _fits_plainly(self, row: dict[str, Any]) -> bool:
        get = row.get
        for name, kind in self._plain:
            value = get(name)
            if type(value) is float:
                if kind != FLOAT:
                    return False
            elif type(value) is not int or kind not in (FLOAT, BIG) or not -(2**63) <= value < 2**63:
                return False
        return True

    def _look(self, document: Any) -> Iterator[FieldError]:
        if isinstance(document, dict):
            columns, rows = document.get("columns"), document.get("data")
            if isinstance(columns, list) and isinstance(rows, list) and not self.fields.keys() & document:
                yield from self._rows([_zipped(columns, row) for row in rows])
            elif any(isinstance(document.get(name), (list, dict)) for name in self.fields):
                yield from self._columns(document)
            else:
                yield from self._row(document, None)
        elif isinstance(document, list):
            nested = any(isinstance(item, (list, dict)) for item in document)
            if nested or (len(self.fields) == 1 and len(document) != 1):
                yield from self._rows(document)
            else:
                yield from self._row(document, None)
        else:
            yield FieldError(next(iter(self.fields)), "is missing: the body is no row")

    def _rows(self, rows: Sequence[Any]) -> Iterator[FieldError]:
        for number, row in enumerate(rows, 1):
            yield from self._row(row, number)

    def _row(self, row: Any, number: int | None) -> Iterator[FieldError]:
        names = list(self.fields)
        if isinstance(row, list):
            if len(row) > len(names):
                message = f"is the last field, but there are {len(row)} values for {len(names)} fields"
                yield FieldError(names[-1], message, number)
                return
            row = _zipped(names, row)
        elif not isinstance(row, dict):
            if len(names) != 1:
                yield FieldError(names[0], f"is missing: the row is {_word(row)}", number)
                return
            row = {names[0]: row}
        for name, kind in self.fields.items():
            message = _problem(row[name], kind) if name in row else f"is missing; it takes {_WORDS[kind]}"
            if message:
                yield FieldError(name, message, number)

    def _columns(self, document: dict[str, Any]) -> Iterator[FieldError]:
        for name, kind in self.fields.items():
            column = document.get(name)
            if not isinstance(column, (list, dict)):
                message = f"takes a column as the others are, got {_word(column)}"
                yield FieldError(name, message if name in document else "is missing")
                continue
            values = column.values() if isinstance(column, dict) else column
            for number, value in enumerate(values, 1):
                if message := _problem(value, kind):
                    yield FieldError(name, message, number)


def fields_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the type of each feature a package's signature names; empty where it names none."""
    names = [str(name) for name in manifest.get("feature_names") or []]
    text = str(manifest.get("input_signature") or "")
    if fields := column_types(text, names):
        return fields
    arrays = tensors(text)
    dtype, shape = arrays.get("", ("", ()))
    if set(arrays) != {""} or shape != (len(names),):
        return {}
    return dict.fromkeys(names, _KINDS.get(dtype.rstrip("0123456789"), TEXT))


_KINDS = {"float": FLOAT, "int": BIG, "uint": BIG, "bool": SMALL}


def mode_of(manifest: Mapping[str, Any], json_input: bool, validation_input: str) -> tuple[str, str]:
    """Say when a package's input is checked against its signature, and why.

    Scripts may take something else than the model does (raw values they encode, a customer's number), so
    only an example tells: where the form's validation input fits the signature, everything else is refused
    before the script sees it; where it does not fit, nothing is checked; where there is none, a body the
    script failed on is checked afterwards.

    Returns
    -------
    mode, reason
        One of `ENFORCE`, `EXPLAIN` and `OFF`, and a sentence for the log.
    """
    check = InputCheck.of(manifest) if json_input else None
    if check is None:
        return OFF, "Input is not checked: the signature names no fields, or the input is not JSON."
    if not validation_input:
        why = "there is no validation input to tell whether the script takes what the signature names"
        return EXPLAIN, f"Input is checked when the script fails: {why}."
    try:
        errors = check.errors(read_json(validation_input))
    except ValueError:
        errors = [FieldError("The validation input", "is not JSON")]
    if errors:
        return (
            OFF,
            f"Input is not checked: the validation input is not what the signature names ({errors[0]}).",
        )
    return ENFORCE, "Input is checked before the script sees it: the validation input fits the signature."


def _zipped(names: Sequence[Any], row: Any) -> Any:
    return dict(zip(map(str, names), row, strict=False)) if isinstance(row, list) else row


def _problem(value: Any, kind: str) -> str:
    """Return what is wrong with a value, "" if nothing is."""
    if isinstance(value, (list, dict)):
        return f"takes {_WORDS[kind]}, got {_word(value)}"
    return _CHECKS[kind](value, kind)


def _scalar_problem(value: Any, kind: str) -> str:
    return ""


def _time_problem(value: Any, kind: str) -> str:
    return f"takes {_WORDS[kind]}, got {_word(value)}" if isinstance(value, bool) else ""


def _number_problem(value: Any, kind: str) -> str:
    if value is None and kind == FLOAT:
        return ""  # JSON has no NaN: a missing value is null
    try:
        # Text of a number counts: callers take rows out of CSV files.
        number = None if value is None else float(value)
    except ValueError:
        number = None
    except OverflowError:
        return "is out of range"
    if number is None or math.isnan(number):
        return f"takes {_WORDS[kind]}, got {_word(value)}"
    if kind == FLOAT:
        return ""
    if not number.is_integer():
        return (
            f"takes {_WORDS[kind]}, got one with a fraction" if math.isfinite(number) else "is out of range"
        )
    half = 2.0 ** (_INTEGERS[kind] - 1)
    # Unsigned types reach twice as far.
    return "" if -half <= number < 2 * half else "is out of range"


_CHECKS: dict[str, Callable[[Any, str], str]] = {
    BIG: _number_problem,
    SMALL: _number_problem,
    FLOAT: _number_problem,
    TEXT: _scalar_problem,
    TIME: _time_problem,
}


def _word(value: Any) -> str:
    """Name the kind of a JSON value; never the value, which may be personal."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    words = ((str, "text"), (dict, "an object"), (list, "a list"))
    return next((word for kind, word in words if isinstance(value, kind)), "a number")
