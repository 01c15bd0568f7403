"""Types of bodies that carry values of the user's own."""

import math
from typing import Annotated

from pydantic import AfterValidator, JsonValue


def _finite(value: JsonValue) -> JsonValue:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError("JSON has no word for NaN and infinity; send null")
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return value


FiniteJSON = Annotated[JsonValue, AfterValidator(_finite)]
"""Any JSON value. Parsers take the words ``NaN`` and ``Infinity``; databases and browsers do not: refused."""

Values = dict[str, FiniteJSON]
"""Named values, such as a run's metrics. Not a number is ``null``."""
