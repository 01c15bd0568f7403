"""What scripts return, as JSON that every caller can read."""

import json
import math
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any


class AnswerError(Exception):
    """The script returned something that has no JSON form."""


def to_json_value(value: Any) -> Any:
    """Return `value` in types JSON has. NaN and the infinities, which JSON lacks, become null.

    Takes what scripts return: numbers, strings, lists, dicts, numpy values, pandas tables and columns.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, Decimal)):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json_value(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    # numpy and pandas are recognised by what they can do: importing pandas here would cost every replica.
    if hasattr(value, "tolist"):
        return to_json_value(value.tolist())
    if hasattr(value, "to_dict"):
        return to_json_value(value.to_dict(orient="records"))
    raise AnswerError(f"The script returned a {type(value).__name__}, which has no JSON form.")


def encode_prediction(value: Any) -> str:
    """Return the body of an answer: one JSON object whose last member is the prediction."""
    if type(value) is float and math.isfinite(value):
        return f'{{"prediction": {value!r}}}'  # what most scripts return
    try:
        return _ENCODER.encode({"prediction": to_json_value(value)})
    except RecursionError as error:
        raise AnswerError("The script returned a value that contains itself.") from error


def read_json(text: str) -> Any:
    """Return the one JSON document `text` is. Raises `ValueError` with the reason when it is none."""
    if not text.strip():
        raise ValueError("The body is empty; send the input as JSON.")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"The body is not JSON: {error.msg} at {place}.") from error
    except RecursionError as error:
        raise ValueError("The body is nested too deeply.") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"The body holds {name}, which JSON does not have; send null.")


# Made once: json.loads and json.dumps make new ones for each call with options.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
